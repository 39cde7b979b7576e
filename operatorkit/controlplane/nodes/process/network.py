"""The network of a pod: its own loopback and wildcard address, and partitions, by programs of its control group.

What belongs here: small BPF programs, and attaching them to a control group (Linux, root). What does
not: addresses (`addresses`). Without root, pods share the machine's loopback interface as it is: a
program that binds 0.0.0.0 or 127.0.0.1 takes that port from all others.

    bind 0.0.0.0, 127.0.0.1     becomes  bind POD
    connect to 127.0.0.1        becomes  connect to POD    (not the API server's port)
    connect to 127.0.0.0/8      comes from POD
    a socket of IPv6            does not exist, as in a cluster of IPv4 only

Source: https://docs.kernel.org/bpf/ and include/uapi/linux/bpf.h
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Partition", "isolate"]

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH, _LINK_CREATE = 5, 8, 28
_SKB, _SOCK, _SOCK_ADDR = 8, 9, 18  # types of programs
_INGRESS, _EGRESS, _CREATE, _BIND4, _CONNECT4 = 0, 1, 2, 8, 10
_ALLOW_MULTI = 2
_IP4, _PORT = 4, 24  # offsets in struct bpf_sock_addr
_FAMILY = 4  # offset in struct bpf_sock
_SADDR, _DADDR = 12, 16  # offsets in an IPv4 header
_LOAD_BYTES, _BIND, _SET_RESULT = 26, 64, 187  # helper functions
_CONTEXT, _STACK = 6, 10  # registers: the context is kept in r6

_LOAD, _STORE, _STORE_IMMEDIATE = 0x61, 0x63, 0x62
_MOVE, _COPY, _MOVE32, _AND32, _ADD = 0xB7, 0xBF, 0xB4, 0x54, 0x07
_IF_EQUAL, _IF_DIFFERENT, _GO, _CALL, _EXIT = 0x16, 0x56, 0x05, 0x85, 0x95


class Program:
    """Instructions with labels, which become jumps."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}
        self.add(_COPY, _CONTEXT, 1)

    def add(
        self, operation: int, to: int = 0, source: int = 0, offset: int | str = 0, value: int = 0
    ) -> None:
        """Append an instruction; a jump's `offset` is a label."""
        self._code.append((operation, to, source, offset, value))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._code)

    def end(self, value: int) -> None:
        """Return a value: 1 lets the operation happen, 0 does not."""
        self.add(_MOVE, 0, value=value)
        self.add(_EXIT)

    def encoded(self) -> bytes:
        """Return the instructions as the kernel takes them."""
        packed = []
        for position, (operation, to, source, offset, value) in enumerate(self._code):
            if isinstance(offset, str):
                offset = self._labels[offset] - position - 1  # noqa: PLW2901 - resolved
            signed = value - (1 << 32) if value >= 1 << 31 else value
            packed.append(struct.pack("<BBhi", operation, source << 4 | to, offset, signed))
        return b"".join(packed)


def _number(address: str) -> int:
    """Return an address as a program finds it in memory."""
    return int.from_bytes(socket.inet_aton(address), "little")


_LOOPBACK = _number("127.0.0.1")


def _bind4(address: str) -> Program:
    program = Program()
    program.add(_LOAD, 2, _CONTEXT, _IP4)
    program.add(_IF_EQUAL, 2, offset="own", value=0)
    program.add(_IF_DIFFERENT, 2, offset="out", value=_LOOPBACK)
    program.label("own")
    program.add(_MOVE32, 2, value=_number(address))
    program.add(_STORE, _CONTEXT, 2, _IP4)
    program.label("out")
    program.end(1)
    return program


def _create() -> Program:
    program = Program()
    program.add(_LOAD, 2, _CONTEXT, _FAMILY)
    program.add(_IF_DIFFERENT, 2, offset="out", value=socket.AF_INET6)
    program.add(_MOVE, 1, value=(1 << 32) - errno.EAFNOSUPPORT)
    program.add(_CALL, value=_SET_RESULT)
    program.end(0)
    program.label("out")
    program.end(1)
    return program


def _connect4(address: str, api_port: int) -> Program:
    program = Program()
    program.add(_LOAD, 2, _CONTEXT, _IP4)
    program.add(_IF_EQUAL, 2, offset="own", value=0)
    program.add(_IF_DIFFERENT, 2, offset="other", value=_LOOPBACK)
    program.add(_LOAD, 3, _CONTEXT, _PORT)
    program.add(_IF_EQUAL, 3, offset="source", value=socket.htons(api_port))
    program.label("own")
    program.add(_MOVE32, 2, value=_number(address))
    program.add(_STORE, _CONTEXT, 2, _IP4)
    program.label("other")
    program.add(_AND32, 2, value=0xFF)
    program.add(_IF_DIFFERENT, 2, offset="out", value=127)
    program.label("source")
    for position, value in ((-16, socket.AF_INET), (-12, _number(address)), (-8, 0), (-4, 0)):
        program.add(_STORE_IMMEDIATE, _STACK, offset=position, value=value)
    program.add(_COPY, 1, _CONTEXT)
    program.add(_COPY, 2, _STACK)
    program.add(_ADD, 2, value=(1 << 32) - 16)
    program.add(_MOVE, 3, value=16)
    program.add(_CALL, value=_BIND)
    program.label("out")
    program.end(1)
    return program


def _drop(offset: int, peers: Iterable[str] | None) -> Program:
    """Drop packets from or to some addresses, or all of them."""
    program = Program()
    if peers is None:
        program.end(0)
        return program
    program.add(_COPY, 1, _CONTEXT)
    program.add(_MOVE, 2, value=offset)
    program.add(_COPY, 3, _STACK)
    program.add(_ADD, 3, value=(1 << 32) - 4)
    program.add(_MOVE, 4, value=4)
    program.add(_STORE_IMMEDIATE, _STACK, offset=-4, value=0)
    program.add(_CALL, value=_LOAD_BYTES)
    program.add(_LOAD, 2, _STACK, -4)
    for peer in peers:
        program.add(_IF_EQUAL, 2, offset="drop", value=_number(peer))
    program.end(1)
    program.label("drop")
    program.end(0)
    return program


def _call(command: int, attributes: bytes) -> int:
    """Make the system call bpf. Raises OSError."""
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(f"no BPF programs on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, command, buffer, len(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf: {os.strerror(code)}")
    return result


def _load(program: Program, type_: int, attach_type: int) -> int:
    code = program.encoded()
    instructions = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(instructions), ctypes.addressof(license_)
    head = struct.pack("<IIQQ", type_, len(code) // 8, *addresses)
    rest = struct.pack("<IIQII16sII", 0, 0, 0, 0, 0, b"operatorkit", 0, attach_type)
    return _call(_PROG_LOAD, head + rest)


def isolate(group: Path, address: str, api_port: int) -> bool:
    """Give the processes of a control group a loopback address of their own; False where that is not possible."""
    programs = (
        (_SOCK, _CREATE, _create()),
        (_SOCK_ADDR, _BIND4, _bind4(address)),
        (_SOCK_ADDR, _CONNECT4, _connect4(address, api_port)),
    )
    directory = os.open(group, os.O_RDONLY)
    try:
        for type_, attach_type, program in programs:
            loaded = _load(program, type_, attach_type)
            try:
                _call(
                    _PROG_ATTACH, struct.pack("<IIII", directory, loaded, attach_type, _ALLOW_MULTI)
                )
            finally:
                os.close(loaded)  # the group keeps it until it is removed
    except OSError:
        return False
    finally:
        os.close(directory)
    return True


class Partition:
    """Drops what a control group sends and receives, to and from `peers` or everything, until `heal`.

    It ends with this process, too. Raises OSError where the kernel does not let us.
    """

    def __init__(self, group: Path, peers: Iterable[str] | None) -> None:
        listed = None if peers is None else list(peers)
        self._links: list[int] = []
        directory = os.open(group, os.O_RDONLY)
        try:
            for attach_type, offset in ((_INGRESS, _SADDR), (_EGRESS, _DADDR)):
                loaded = _load(_drop(offset, listed), _SKB, attach_type)
                try:
                    made = _call(
                        _LINK_CREATE, struct.pack("<IIII", loaded, directory, attach_type, 0)
                    )
                    self._links.append(made)
                finally:
                    os.close(loaded)
        except OSError:
            self.heal()
            raise
        finally:
            os.close(directory)

    def heal(self) -> None:
        """Let packets pass again."""
        for link in self._links:
            os.close(link)
        self._links.clear()
