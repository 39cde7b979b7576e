from __future__ import annotations

import socket

import pytest

from operatorkit.controlplane._ports import ReservedPort
from operatorkit.errors import InputError


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(InputError, match=rf"^port {port} of 127\.0\.0\.1 is in use: .*--port"):
            ReservedPort(port)


def test_a_server_that_shares_ports_is_in_use_too() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server, pytest.raises(InputError):
        ReservedPort(server.getsockname()[1])


def test_a_reserved_port_is_rejected_to_others_but_not_to_the_server_it_is_kept_for() -> None:
    with ReservedPort() as port:
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", port.number))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", port.number))
            server.listen()
            with socket.create_connection(("127.0.0.1", port.number)) as client, server.accept()[0] as accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"


def test_a_closed_reservation_gives_the_port_back(free_port: int) -> None:
    with ReservedPort(free_port) as port:
        pass

    with socket.create_server(("127.0.0.1", port.number)) as server:
        assert server.getsockname()[1] == port.number
