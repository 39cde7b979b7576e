"""HTTP ports whose connections are bounded: how many there are, and how long each may take.

What belongs here: accepting connections, their deadlines, and which one is closed when there are
too many. What does not: what is served there (`operatorkit.webhooks.server`, and the probes of
`operatorkit._runtime.health`).

aiohttp limits lines, headers and bodies; it neither limits connections nor closes one that sends
nothing. A TLS connection of asyncio costs 270 KB of memory, so 3,000 silent ones would end a
process that may have 512 MiB.

    accepted ── TLS handshake ──> waiting ── first byte ──> receiving ── body is there ──> answering ──┐
                                     ^                                                                 │
                                     └─────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from aiohttp import web

from operatorkit.errors import InputError

__all__ = ["ClientErrors", "Limits", "Listener", "bind", "listen_error"]

_log = logging.getLogger("operatorkit.serving")

_BACKLOG = 1024
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ACCEPT_PAUSE_SECONDS = 1.0
_SHUTDOWN_SECONDS = 2.0  # of TLS: a peer that does not answer close_notify is cut off

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many connections a port has at once, and after how many seconds one is closed.

    `handshake_seconds` are for TLS, `first_request_seconds` from then to the first byte of a
    request, `receive_seconds` from the first byte to the last of its head, and `idle_seconds` from
    one request to the next. The last exceed the 90 s after which Go's clients, and so API servers,
    close an idle connection themselves: a server that closes first may do so while a request is on
    its way.
    """

    connections: int = 256
    handshake_seconds: float = 10.0
    first_request_seconds: float = 30.0
    receive_seconds: float = 10.0
    idle_seconds: float = 120.0


class _Phase(Enum):
    HANDSHAKE = auto()
    WAITING = auto()
    RECEIVING = auto()
    ANSWERING = auto()


class Listener:
    """Accepts connections, with TLS where there is a context, and gives each to a protocol of an aiohttp server.

    `middleware` must be one of the application's.

    Guarantees: no more than `limits.connections` are open. When another one comes, the one that has
    waited longest is closed for it: first of those that were never answered, then of those that
    wait for their next request. While all are being answered, new ones wait in the backlog of the
    socket. So clients that only hold connections do not keep others out.
    """

    def __init__(self, *, limits: Limits, ssl_context: ssl.SSLContext | None = None) -> None:
        self.limits = limits
        self._ssl_context = ssl_context
        self._open: set[_Connection] = set()
        self._by_protocol: dict[Any, _Connection] = {}
        self._free = asyncio.Event()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def open_connections(self) -> int:
        """How many connections there are, handshakes included."""
        return len(self._open)

    def start(self, server: web.Server, listener: socket.socket) -> None:
        """Accept on `listener`, which is closed by `stop`."""
        listener.setblocking(False)
        accepting = self._accept(server, listener)
        self._accepting = asyncio.create_task(accepting, name="accepting connections")
        self._accepting.add_done_callback(lambda _: listener.close())

    async def stop(self) -> None:
        """Accept no more, and give up handshakes; connections that are established stay."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
            self._accepting = None
        handshakes = {
            one.handshake
            for one in self._open
            if one.handshake is not None and not one.handshake.done()
        }
        for task in handshakes:
            task.cancel()
        if handshakes:
            await asyncio.wait(handshakes)

    async def close_connections(self) -> None:
        """Close those that are left without waiting for their peers."""
        for connection in list(self._open):
            self._drop(connection)
        await asyncio.sleep(0)  # transports call their protocols back

    def connection(self, request: web.BaseRequest) -> _Connection | None:
        """Return the connection of a request; None when it was closed meanwhile."""
        return self._by_protocol.get(request.protocol)

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Note that a request is handled, and when it was answered."""
        connection = self.connection(request)
        if connection is None:
            return await handler(request)
        connection.head_is_read()
        answered = False
        try:
            response = await handler(request)
            answered = response.status < 400
            return response
        finally:
            connection.wait(answered=answered)
            self._free.set()

    def answering(self, request: web.BaseRequest) -> None:
        """Say that a request has been received as a whole: its connection is not closed for another one now."""
        connection = self.connection(request)
        if connection is not None:
            connection.answer()

    async def _accept(self, server: web.Server, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    _log.warning("no connection can be accepted: %s", error.strerror)
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            try:
                await self._make_space()
            except BaseException:
                accepted.close()
                raise
            self._admit(server, accepted)

    async def _make_space(self) -> None:
        while len(self._open) >= self.limits.connections:
            evictable = [one for one in self._open if one.phase is not _Phase.ANSWERING]
            if evictable:
                self._drop(min(evictable, key=lambda one: (one.was_answered, one.since)))
            else:
                self._free.clear()
                await self._free.wait()

    def _admit(self, server: web.Server, accepted: socket.socket) -> None:
        connection = _Connection(self, server())
        self._open.add(connection)
        self._by_protocol[connection.inner] = connection

        def established(handshake: asyncio.Task[None]) -> None:
            if not handshake.cancelled() and handshake.exception() is None:
                return
            accepted.close()  # a task that is cancelled before its first step has not touched it
            self.forget(connection)

        connection.handshake = asyncio.create_task(
            self._establish(connection, accepted), name="TLS handshake"
        )
        connection.handshake.add_done_callback(established)

    async def _establish(self, connection: _Connection, accepted: socket.socket) -> None:
        tls: dict[str, Any] = {}
        if self._ssl_context is not None:
            tls = {
                "ssl": self._ssl_context,
                "ssl_handshake_timeout": self.limits.handshake_seconds,
                "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
            }
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: connection, accepted, **tls)

    def _drop(self, connection: _Connection) -> None:
        self.forget(connection)
        connection.abort()

    def forget(self, connection: _Connection) -> None:
        """Count a connection no more: it is closed."""
        self._open.discard(connection)
        self._by_protocol.pop(connection.inner, None)
        connection.forget()
        self._free.set()


class _Connection(asyncio.Protocol):
    """One connection: passes everything on to the protocol of aiohttp, and keeps the time."""

    def __init__(self, listener: Listener, inner: Any) -> None:
        self.inner = inner
        self.handshake: asyncio.Task[None] | None = None
        self.phase: _Phase = _Phase.HANDSHAKE
        self.was_answered: bool = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.since: float = self._loop.time()
        self._listener = listener
        self._limits = listener.limits
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.inner.connection_made(transport)
        self._enter(_Phase.WAITING, self._limits.first_request_seconds)

    def data_received(self, data: bytes) -> None:
        if self.phase is _Phase.WAITING:
            self._enter(_Phase.RECEIVING, self._limits.receive_seconds)
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        result: bool | None = self.inner.eof_received()
        return result

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.forget(self)
        self._transport = self.handshake = (
            None  # with the buffers of TLS: what refers to us may be collected late
        )
        self.inner.connection_lost(exc)

    def head_is_read(self) -> None:
        """Leave the deadline of the body to its reader."""
        self._enter(_Phase.RECEIVING, None)

    def answer(self) -> None:
        """Be kept: a request is being answered."""
        self._enter(_Phase.ANSWERING, None)

    def wait(self, *, answered: bool) -> None:
        """Begin the time until the next request."""
        self.was_answered = self.was_answered or answered
        self._enter(_Phase.WAITING, self._limits.idle_seconds)

    def forget(self) -> None:
        """Keep the time no more: the connection is closed."""
        self._closed = True
        self._cancel_deadline()

    def _enter(self, phase: _Phase, seconds: float | None) -> None:
        self._cancel_deadline()
        self.phase, self.since = phase, self._loop.time()
        if seconds is not None and not self._closed:
            self._deadline = self._loop.call_later(seconds, self.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def abort(self) -> None:
        """Close it at once: a TLS peer that is silent would not answer a polite end either."""
        if self._transport is not None:
            self._transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()


def listen_error(where: str, error: OSError, option: str = "--port") -> InputError:
    """Return the error of a port that cannot be used: `where` names it, as in `port 8443 of 127.0.0.1`."""
    match error.errno:
        case errno.EADDRINUSE:
            return InputError(
                f"{where} is in use: stop what listens there, or choose another with {option}"
            )
        case errno.EACCES:
            return InputError(f"{where} is reserved for root: choose one above 1023 with {option}")
    return InputError(
        f"{where} cannot be opened: {error.strerror or error}: choose another with {option}"
    )


class ClientErrors(logging.LoggerAdapter[logging.Logger]):
    """The logger for an aiohttp server: what it logs as errors are requests that are not HTTP, answered with 400.

    They go to the debug level, so that a client cannot fill the log.
    """

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at the debug level."""
        self.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at the debug level, with the trace."""
        self.debug(msg, *args, **({"exc_info": True} | kwargs))


def bind(host: str | None, port: int) -> socket.socket:
    """Listen on a port of one address, or of all, of both families where the machine has both. Raises OSError."""
    both = host is None and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in (host or "") else socket.AF_INET
    return socket.create_server(
        (host or "", port), family=family, dualstack_ipv6=both, backlog=_BACKLOG
    )
