"""The kubeconfig that a control plane in the foreground leaves for other terminals, for as long as it runs.

What belongs here: whose file may be written over, and its removal. What does not: what stands in it
(`operatorkit.controlplane`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from operatorkit.errors import InputError

if TYPE_CHECKING:
    from operatorkit.controlplane.backend import ControlPlane

__all__ = ["kept", "require_replaceable"]

_CONNECT_SECONDS = 0.5


def require_replaceable(path: Path) -> None:
    """Raise InputError rather than overwrite a kubeconfig that another program needs.

    A file that an earlier control plane left behind may be replaced; not while that one still
    answers.
    """
    if not path.exists():
        return
    try:
        content = yaml.safe_load(path.read_text())
        servers = {cluster["name"]: cluster["cluster"]["server"] for cluster in content["clusters"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        servers = {}
    if [*servers] != ["operatorkit"]:
        raise InputError(
            f"{path} exists and was not written by operatorkit: name another file with --kubeconfig"
        )
    if _answers(servers["operatorkit"]):
        raise InputError(
            f"{path} belongs to a control plane that still runs at {servers['operatorkit']}: stop that one, or name "
            "another file with --kubeconfig"
        )


@contextlib.contextmanager
def kept(plane: ControlPlane, path: Path) -> Iterator[Path]:
    """Write the kubeconfig of an administrator; remove it at the end, unless another program has replaced it.

    Yields the path as every terminal can use it. Raises InputError when it cannot be written.
    """
    try:
        plane.write_kubeconfig(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.filename}: {error.strerror}): name another file with --kubeconfig"
        ) from error
    written = path.read_bytes()
    try:
        yield path.absolute()
    finally:
        with contextlib.suppress(OSError):
            if path.read_bytes() == written:
                path.unlink()


def _answers(server: Any) -> bool:
    """Whether something listens where a kubeconfig says."""
    with contextlib.suppress(OSError, ValueError):
        address = urlsplit(str(server))
        with socket.create_connection(
            (address.hostname or "", address.port or 443), timeout=_CONNECT_SECONDS
        ):
            return True
    return False
