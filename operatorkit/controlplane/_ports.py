"""Ports that stay reserved between choosing them and the server's own bind.

What belongs here: reserving a port of the loopback interface. What does not: listening.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from operatorkit.serving import listen_error

__all__ = ["ReservedPort"]


class ReservedPort:
    """A TCP port of 127.0.0.1 that no other program can take while this is open.

    The socket is bound and never listens; a server that asks for SO_REUSEPORT (kube-apiserver's
    `--permit-port-sharing`) binds beside it and gets every connection. This one asks for sharing only
    after its bind, so that a port in use is rejected rather than shared.

    Raises InputError when `port` is in use; 0 lets the operating system choose.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Reuse of the address lets us have a port with old connections in TIME_WAIT; kept on, it would let others
            # bind beside a socket that does not listen.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", port))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            self._socket.close()
            raise listen_error(f"port {port} of 127.0.0.1", error) from error
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
