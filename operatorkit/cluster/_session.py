"""The one aiohttp session of a live client: credentials, limits and dead-connection detection.

All of it sits in the session itself (a middleware and a connector), so that whoever else uses the
session, kopf above all, gets the same behaviour.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import aiohttp

from operatorkit.clock import Clock
from operatorkit.cluster.config import ClusterConfig, Headers
from operatorkit.cluster.trust import FollowingContext
from operatorkit.errors import InputError

__all__ = ["Connector", "distrust_connections", "new_session"]

_log = logging.getLogger("operatorkit.cluster")

_Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]

# A peer that vanished without a word is noticed after about half a minute, whether we wait or write.
_KEEPALIVE_IDLE_SECONDS: Final = 15
_KEEPALIVE_INTERVAL_SECONDS: Final = 5
_KEEPALIVE_PROBES: Final = 3
_UNACKNOWLEDGED_MILLISECONDS: Final = 30_000
_TURNS_TO_CLOSE: Final = 100
_TRUST_FILE_SECONDS: Final = 10.0  # as often as a token file is read


def new_session(
    config: ClusterConfig,
    *,
    clock: Clock,
    request_timeout: timedelta,
    max_requests_in_flight: int,
    user_agent: str,
) -> tuple[aiohttp.ClientSession, Connector]:
    """Open a session for `config`, and return it with its connector, which is to be aborted in the end.

    Must be called in the event loop that will use it.
    """
    connector = Connector(
        limit=0,  # watches hold their connections for minutes: the middleware counts requests instead
        ssl=config.ssl_context if config.ssl_context is not None else True,
        keepalive_timeout=60,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": user_agent, "Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(total=request_timeout.total_seconds(), sock_connect=10),
        proxy=config.proxy,
        trust_env=False,
        read_bufsize=1 << 20,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(
            _limiter(max_requests_in_flight),
            *_trust(config, clock, connector),
            _authenticator(config, clock),
        ),
    )
    return session, connector


def distrust_connections(session: aiohttp.ClientSession) -> None:
    """Let no later request use a connection that is open now; requests that are under way are left alone.

    For a server that has not answered: a connection that waits in the pool may be as dead as the
    one that was used.
    """
    if isinstance(session.connector, Connector):
        session.connector.distrust()


class Connector(aiohttp.TCPConnector):
    """Knows its sockets, so that none outlives it.

    A TLS connection that is given up says farewell and waits for the answer; without help it would still wait, and
    be reported as never closed, when the event loop has ended. A session forgets its connector when it is closed, and
    any user of a shared session may close it. So who opens a session keeps its connector, too.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(socket_factory=self._new_socket, **options)
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        # by file descriptor, the latest one of each, and how often connections were distrusted before it was opened
        self._transports: dict[int, tuple[asyncio.WriteTransport, int]] = {}
        self._distrusted = 0

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the name is aiohttp's
    ) -> aiohttp.connector.Connection:
        """Return a connection for a request, remembering how to abort it."""
        while True:
            before = self._distrusted
            connection = await super().connect(req, traces, timeout)
            transport = connection.transport
            opened = transport.get_extra_info("socket") if transport is not None else None
            if opened is None:
                return connection
            known, since = self._transports.get(opened.fileno(), (None, 0))
            if known is not transport:
                # aiohttp gives out a pooled connection without saying how old it is. So each one is
                # remembered with the count from before it was opened: where the count has grown
                # since, the connection may be dead, and another is taken.
                self._transports[opened.fileno()] = (
                    cast("asyncio.WriteTransport", transport),
                    before,
                )
                return connection
            if since == self._distrusted:
                return connection
            connection.close()

    def distrust(self) -> None:
        """See `distrust_connections`."""
        self._distrusted += 1

    @property
    def has_sockets(self) -> bool:
        """Whether a socket of it is open."""
        return any(each.fileno() >= 0 for each in self._sockets)

    async def abort(self) -> None:
        """Close every connection without waiting for the server, and return when each socket is closed."""
        await self.close()
        for transport, _ in self._transports.values():
            transport.abort()
        self._transports.clear()
        for _ in range(_TURNS_TO_CLOSE):
            if not self.has_sockets:
                break
            await asyncio.sleep(0)

    def _new_socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = _new_socket(address)
        self._sockets.add(made)
        return made


def _limiter(
    max_requests_in_flight: int,
) -> Callable[[aiohttp.ClientRequest, _Handler], Awaitable[aiohttp.ClientResponse]]:
    """Bound the requests that wait for an answer. A watch waits for ever, so it is not counted."""
    # client-go limits requests per second (QPS 5, burst 10 by default) to protect API servers from
    # before Priority and Fairness. Servers queue by themselves now, so only what is in flight is
    # limited here: a burst of reconciles must not open hundreds of connections (ADR 0002).
    permits = asyncio.Semaphore(max_requests_in_flight)

    async def limit(request: aiohttp.ClientRequest, handler: _Handler) -> aiohttp.ClientResponse:
        url = request.url
        if "watch=" in url.raw_query_string and url.query.get("watch") in {"1", "true"}:
            return await handler(request)
        async with permits:
            return await handler(request)

    return limit


def _trust(
    config: ClusterConfig, clock: Clock, connector: Connector
) -> Sequence[Callable[[aiohttp.ClientRequest, _Handler], Awaitable[aiohttp.ClientResponse]]]:
    """Look now and then whether the file of authorities was replaced; and at once when a server is not trusted."""
    context = config.ssl_context
    if not isinstance(context, FollowingContext):
        return ()
    looked_at = clock.monotonic()

    async def reload() -> bool:
        nonlocal looked_at
        looked_at = clock.monotonic()
        if not await asyncio.to_thread(context.reload):
            return False
        connector.distrust()
        context.notify()
        return True

    async def follow(request: aiohttp.ClientRequest, handler: _Handler) -> aiohttp.ClientResponse:
        if clock.monotonic() - looked_at >= _TRUST_FILE_SECONDS:
            await reload()
        try:
            return await handler(request)
        # That makes repeating safe for every method, a POST included: the server has not seen the
        # request.
        except aiohttp.ClientSSLError:  # in the handshake: nothing was sent
            if not await reload():
                raise
        return await handler(request)

    return (follow,)


def _authenticator(
    config: ClusterConfig, clock: Clock
) -> Callable[[aiohttp.ClientRequest, _Handler], Awaitable[aiohttp.ClientResponse]]:
    """Put fresh credentials into each request; when they are rejected, load them again and try once more."""
    credentials = config.credentials

    async def authenticate(
        request: aiohttp.ClientRequest, handler: _Handler
    ) -> aiohttp.ClientResponse:
        if config.tls_server_name:
            request.server_hostname = config.tls_server_name
        used = await credentials.headers(now=clock.monotonic())
        _set(request, used)
        response = await handler(request)
        if response.status != 401 or not credentials.refreshable:
            return response
        try:
            if not await credentials.refresh(used, now=clock.monotonic()):
                return response
        except InputError as error:
            _log.warning("the API server rejected the credentials, and: %s", error)
            return response
        # Once only: credentials that were just loaded and are rejected too are wrong, and trying
        # further would make an operator with a revoked token a source of load.
        response.release()
        _set(request, await credentials.headers(now=clock.monotonic()))
        return await handler(request)

    return authenticate


def _set(request: aiohttp.ClientRequest, headers: Headers) -> None:
    for name, _ in headers:
        request.headers.popall(name, None)
    request.headers.extend(headers)


def _new_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MILLISECONDS),
    ):
        if hasattr(socket, option):  # macOS has not all of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
