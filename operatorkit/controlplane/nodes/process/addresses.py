"""Addresses of nodes and pods: a block of 127.0.0.0/8 for each launcher on the machine.

What belongs here: reserving a block, and the addresses in it. What does not: which pod has which
address (`agent`).

    127.B.n.1          node n, with its kubelet endpoint on port 10250
    127.B.n.2 - .254   pods of node n

The bound port of the first node is what reserves B: another launcher, in whatever process, moves on
to the next block.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from operatorkit.controlplane.nodes.status import Host
from operatorkit.errors import InputError

__all__ = ["KUBELET_PORT", "PODS_PER_NODE", "AddressBlock"]

KUBELET_PORT = 10250
PODS_PER_NODE = 253
_FIRST, _LAST = 2, 254  # 127.0 and 127.1 are in use by others on many machines


class AddressBlock:
    """The addresses of `count` nodes and their pods, reserved until `close`.

    `listeners` are the bound sockets of the kubelet endpoints, one for each node, in order. Raises
    InputError where no block is free.
    """

    def __init__(self, count: int) -> None:
        self.listeners: list[socket.socket] = []
        self._block = self._reserve(count)
        self._next: dict[int, int] = {}

    def _reserve(self, count: int) -> int:
        size = _LAST - _FIRST + 1
        for shift in range(size):
            block = _FIRST + (os.getpid() * 31 + shift) % size
            if self._bind(block, count):
                return block
        raise InputError(
            f"process nodes need {count} free addresses such as 127.{_FIRST}.1.1 with port "
            f"{KUBELET_PORT}, and every block of 127.0.0.0/8 is in use: stop other launchers"
        )

    def _bind(self, block: int, count: int) -> bool:
        for number in range(1, count + 1):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((f"127.{block}.{number}.1", KUBELET_PORT))
                listener.listen()
            except OSError as error:
                listener.close()
                self.close()
                if error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                    return False
                raise
            self.listeners.append(listener)
        return True

    def node(self, number: int) -> Host:
        """Return the n-th node, counted from 1."""
        return Host(name=f"process-{number}", ip=f"127.{self._block}.{number}.1")

    def pod_addresses(self, number: int) -> Iterator[str]:
        """Yield the pod addresses of a node, those that were unused for longest first."""
        start = self._next.get(number, 0)
        for shift in range(PODS_PER_NODE):
            position = (start + shift) % PODS_PER_NODE
            self._next[number] = position + 1
            yield f"127.{self._block}.{number}.{2 + position}"

    def close(self) -> None:
        """Release the block."""
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
