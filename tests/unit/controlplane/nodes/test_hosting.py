from __future__ import annotations

import socket

import pytest

from operatorkit.controlplane._credentials import kubeconfig
from operatorkit.controlplane.nodes import NodesThread


class _BrokenError(Exception):
    pass


def test_a_control_plane_that_breaks_while_its_nodes_wait_for_it_is_reported() -> None:
    def check() -> None:
        raise _BrokenError

    # It accepts connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = kubeconfig(f"http://127.0.0.1:{server.getsockname()[1]}", ca_pem=None, user="nodes", token="x")
        nodes = NodesThread(config, count=1, check=check)

        with pytest.raises(_BrokenError):
            nodes.__enter__()

    assert not nodes._thread.is_alive()
