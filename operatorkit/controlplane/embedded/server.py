"""The API over HTTP.

What belongs here: sockets, TLS, reading requests, writing answers and the streams of watches; every error that leaves
here is a Status. What does not: what is answered (`dispatch`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import ssl
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import ClientError, web
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDictProxy, MultiDict, MultiDictProxy

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.controlplane._credentials import SERVER_HOSTS, Authority
from operatorkit.controlplane._selection import check_selection
from operatorkit.controlplane.controllers import Controllers
from operatorkit.controlplane.embedded.audit import Audit, Entry, unrecorded
from operatorkit.controlplane.embedded.auth.access import Access
from operatorkit.controlplane.embedded.auth.authn import ADMIN_GROUP, Authenticator
from operatorkit.controlplane.embedded.auth.tokens import Tokens
from operatorkit.controlplane.embedded.bootstrap import bootstrap
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.endpoints.dispatch import Dispatcher
from operatorkit.controlplane.embedded.endpoints.watching import Event, Watch, WatchAnswer
from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    internal_error,
    too_large_body,
)
from operatorkit.controlplane.embedded.expiry import EventExpiry
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.request.messages import (
    Answer,
    Request,
    StreamAnswer,
    bounded,
)
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.serializer.json import encode
from operatorkit.controlplane.embedded.storage.wal import WriteAheadLog
from operatorkit.controlplane.nodes import SimulatedNodes
from operatorkit.serving import ClientErrors, listen_error

__all__ = ["BODY_LIMIT_BYTES", "EmbeddedServer"]

BODY_LIMIT_BYTES = 3 * 1024 * 1024
BOOKMARK_SECONDS = 60.0
LAST_BOOKMARK_SECONDS = 2.0
WATCH_SECONDS = 30 * 60 * 60
_NO_QUERY: MultiDictProxy[str] = MultiDictProxy(MultiDict())
_FRAME = b'{"type":"%b","object":%b}\n'
_FRAME_HEADS = {
    it: b'{"type":"%b","object":' % it.encode()
    for it in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")
}
_PLAIN_TEXT = "text/plain; charset=utf-8"
PIECE_BYTES = 32 * 1024
WRITE_BUFFER_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


class EmbeddedServer:
    """A Kubernetes API on a port of this machine, in the running event loop.

    An asynchronous context manager. `url`, `ca_pem` and `token` say how to reach it once it is started. `data` is a
    file to remember objects in. Events are deleted `event_ttl` after their last write. `controllers` says which run, in
    kube-controller-manager's own syntax, and `nodes` how many simulated nodes there are. `audit` gets
    every request. Raises `InputError` for a controller that Kubernetes does not have.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        clock: Clock = SYSTEM_CLOCK,
        tls: bool = True,
        data: Path | None = None,
        event_ttl: timedelta = timedelta(hours=1),
        controllers: str = "*",
        nodes: int = 0,
        audit: Audit = unrecorded,
    ) -> None:
        check_selection(controllers)
        self._audit = audit
        self.core: Core = Core(clock)
        self._clock = clock
        self._data = data
        self._event_ttl = event_ttl
        self._selection = controllers
        self._node_count = nodes
        self._running = AsyncExitStack()
        self.token: str = secrets.token_urlsafe(32)
        self.authority: Authority | None = (
            Authority.create("operatorkit-client-ca") if tls else None
        )
        self._serving = Authority.create("operatorkit-serving-ca") if tls else None
        self._host = host
        self._port = port
        tokens = Tokens(self.core.storage, clock)
        self.authenticator: Authenticator = Authenticator(
            {self.token: User("admin", (ADMIN_GROUP,))}, [tokens.user]
        )
        self._access = Access(self.core.storage, self.core.registry, self.authenticator)
        self._dispatcher = Dispatcher(self.core, self._access, tokens)
        self.local: LocalCluster = LocalCluster(self._dispatcher)
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._watches: dict[asyncio.Task[Any], Watch] = {}

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"{'https' if self._serving else 'http'}://{self._host}:{self._port}"

    @property
    def ca_pem(self) -> bytes | None:
        """The certificate by which clients know the server; None without TLS."""
        return self._serving.cert_pem if self._serving else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, then start the controllers and nodes. Raises `InputError` when the port is taken."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self._data is not None:
            wal = WriteAheadLog(self._data)
            self._running.callback(wal.close)
            wal.load(self.core.storage)
            self.core.storage.write_ahead = wal.write
        bootstrap(self.core, client_ca=self.authority.cert_pem if self.authority else b"")
        self.core.logs.authority = self.authority
        self._running.push_async_callback(self.core.logs.close)
        self.core.storage.forget()  # history begins now, as on a kube-apiserver that found its data
        self.core.crds.start()
        self.core.storage.forget()  # there is no earlier time to resume from
        self._running.callback(self.core.crds.stop)
        self._running.push_async_callback(self.core.webhooks.close)
        await self._listen()
        expiry = EventExpiry(self.core.storage, self._clock, self._event_ttl)
        self._running.push_async_callback(_cancelled, asyncio.create_task(expiry.run()))
        controllers = Controllers(
            self.local, ca_pem=self.ca_pem or b"", selection=self._selection, clock=self._clock
        )
        await self._running.enter_async_context(controllers)
        if self._node_count:
            nodes = SimulatedNodes(
                self.local, count=self._node_count, clock=self._clock, heartbeat_every=None
            )
            await self._running.enter_async_context(nodes)

    async def _listen(self) -> None:
        self._server = web.Server(
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
            auto_decompress=False,  # kube-apiserver takes every body as it comes
            access_log=None,
            logger=ClientErrors(_log, {}),
            keepalive_timeout=300.0,
            max_line_size=65_536,
            max_field_size=65_536,
        )
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._server,
                self._host,
                self._port,
                ssl=self._tls(),
                backlog=1024,
                reuse_address=True,
            )
        except OSError as error:
            raise listen_error(f"port {self._port} of {self._host}", error) from error
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection, and end what runs. May be called twice."""
        await self._running.aclose()
        if self._listener is not None:
            self._listener.close()
        for watch in self._watches.values():
            watch.close()
        if self._watches:
            await asyncio.wait(list(self._watches), timeout=1.0)
        if self._server is not None:
            await self._server.shutdown(timeout=1.0)
        self._listener = self._server = None

    def _tls(self) -> ssl.SSLContext | None:
        if self._serving is None or self.authority is None:
            return None
        hosts = SERVER_HOSTS if self._host in SERVER_HOSTS else (*SERVER_HOSTS, self._host)
        pair = self._serving.issue_server(hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="operatorkit-") as directory:
            # OpenSSL's Python interface reads key pairs from files only
            path = Path(directory) / "server.pem"
            path.touch(mode=0o600)
            path.write_bytes(pair.cert_pem + pair.key_pem)
            context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.authority.cert_pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    @staticmethod
    def _request(
        message: Any, payload: Any, protocol: RequestHandler, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT_BYTES
        )

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            request = await self._read(http)
            return await self._respond(http, request)
        except Exception as error:  # noqa: BLE001 - the outermost loop: reported, and the client gets a Status
            return _error_response(http, error)

    async def _respond(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        try:
            answer = await self._dispatcher.answer(request)
        except ApiError as error:
            response = _error_response(http, error)
            self._record(request, response.status)
            return response
        if isinstance(answer, WatchAnswer):
            self._record(request, 200)
            return await self._stream(http, answer)
        if isinstance(answer, StreamAnswer):
            self._record(request, 200)
            return await _send_pieces(http, answer)
        self._record(request, answer.status)
        return _response(http, request, answer)

    def _record(self, request: Request, code: int) -> None:
        if self._audit is not unrecorded:  # building an entry takes time
            self._audit(Entry.of(request, code))

    async def _read(self, http: web.BaseRequest) -> Request:
        transport = http.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        headers = http.headers
        user = self.authenticator.user(headers.get("Authorization", ""), certificate)
        user = self._access.impersonated(user, _impersonation(headers))
        try:
            body = await http.read() if http.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            raise too_large_body(BODY_LIMIT_BYTES) from None
        path, asked, _ = http.raw_path.partition("?")
        query = http.query if asked else _NO_QUERY
        return Request.of(
            http.method,
            path,
            query,
            dry_run=tuple(query.getall("dryRun", ())),
            accept=headers.get("Accept", ""),
            content_type=headers.get("Content-Type", ""),
            user_agent=_text(headers.get("User-Agent", "")),
            body=body,
            user=user,
            host=headers.get("Host", ""),
        )

    async def _stream(self, http: web.BaseRequest, answer: WatchAnswer) -> web.StreamResponse:
        response = web.StreamResponse(headers=_headers("application/json"))
        response.enable_chunked_encoding()
        task = asyncio.current_task()
        assert task is not None
        self._watches[task] = answer.watch
        if http.transport is not None:  # TLS would hold 512 KiB for a client that does not read
            http.transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
            answer.watch.on_lost = partial(_end_if_unread, http.transport)
        try:
            await response.prepare(http)
            await _send_events(response, answer)
            await response.write_eof()
        except ConnectionError:
            _log.debug("a watcher of %s is gone", http.path)
        finally:
            answer.watch.close()
            del self._watches[task]
        return response


def _end_if_unread(transport: asyncio.WriteTransport) -> None:
    """Break the connection of a watch that has ended, if its client does not read what was sent already."""
    if transport.get_write_buffer_size():
        transport.abort()


def _text(header: str) -> str:
    """Return a header's value as text that can be written again: bytes that are no UTF-8 become U+FFFD."""
    return (
        header
        if header.isascii()
        else header.encode(errors="surrogateescape").decode(errors="replace")
    )


def _impersonation(headers: CIMultiDictProxy[str]) -> dict[str, Any]:
    """Return what the Impersonate- headers ask for."""
    found: dict[str, Any] = {}
    for key, value in headers.items():
        if key[:1] not in "Ii":  # this runs for every header of every request
            continue
        match key.lower():
            case "impersonate-user":
                found["user"] = _text(value)
            case "impersonate-uid":
                found["uid"] = _text(value)
            case "impersonate-group":
                found.setdefault("groups", []).append(_text(value))
            case name if name.startswith("impersonate-extra-"):
                extra = found.setdefault("extra", {})
                field = unquote(_text(name.removeprefix("impersonate-extra-")))
                extra[field] = (*extra.get(field, ()), _text(value))
    return found


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _send_events(response: web.StreamResponse, answer: WatchAnswer) -> None:
    loop = asyncio.get_running_loop()
    timeout = answer.timeout_seconds or WATCH_SECONDS
    end = loop.time() + timeout
    bookmark_at = _next_bookmark(loop.time(), end)
    watch = answer.watch
    while (now := loop.time()) < end:
        until = min(end, bookmark_at) if answer.bookmarks else end
        events = await watch.next(max(0.0, until - now))
        if not events and watch.closed:
            return
        if answer.bookmarks and not events:
            bookmark_at = _next_bookmark(loop.time(), end)
            events = [watch.bookmark()]
        for piece in _pieces(part for event in events for part in _frame(event, answer)):
            await response.write(piece)


async def _send_pieces(http: web.BaseRequest, answer: StreamAnswer) -> web.StreamResponse:
    response = web.StreamResponse(headers=_headers(answer.media))
    response.enable_chunked_encoding()
    try:
        async with aclosing(answer.pieces) as pieces:  # type: ignore[type-var]
            await response.prepare(http)
            async for piece in pieces:
                await response.write(piece)
            await response.write_eof()
    except (ConnectionError, ClientError):
        _log.debug("the stream of %s ended early", http.path)
    return response


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes, short parts put together and long ones cut, each piece at most PIECE_BYTES long.

    A watcher that does not read holds one piece and the connection's buffers, however large the objects are: the long
    parts are shared by all watchers.
    """
    small: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) <= PIECE_BYTES:
            small.append(part)
            size += len(part)
            continue
        if small:
            yield b"".join(small)
        small, size = [], 0
        if len(part) <= PIECE_BYTES:
            small, size = [part], len(part)
            continue
        view = memoryview(part)
        for start in range(0, len(part), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
    if small:
        yield b"".join(small)


def _next_bookmark(now: float, end: float) -> float:
    """Return when a watch is due a bookmark: every minute, and once more shortly before its end."""
    last = end - LAST_BOOKMARK_SECONDS
    return min(now + BOOKMARK_SECONDS, last) if last > now else now + BOOKMARK_SECONDS


def _frame(event: Event, answer: WatchAnswer) -> tuple[bytes, ...]:
    """Return one line of a watch, in parts."""
    if event.record is None:
        body: tuple[bytes, ...] = (
            answer.representation.bookmark(event.revision, initial_end=event.initial_end),
        )
    else:
        body = answer.representation.event(event.record)
    return (_FRAME_HEADS[event.type], *body, b"}\n")


def _headers(media: str) -> dict[str, str]:
    """Return the headers of every response: no cache keeps it, and no browser takes text for a page."""
    headers = {"Content-Type": media, "Cache-Control": "no-cache, private"}
    return headers | {"X-Content-Type-Options": "nosniff"} if media == _PLAIN_TEXT else headers


def _response(http: web.BaseRequest, request: Request, answer: Answer) -> web.Response:
    headers = {**_headers(answer.media), **answer.headers}
    body = answer.body
    if (etag := headers.get("ETag")) and http.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    if answer.media == "application/yaml":
        import yaml

        body = yaml.safe_dump(json.loads(body), sort_keys=True).encode()
    elif answer.media.startswith("application/json") and _is_for_people(
        request.query, request.user_agent
    ):
        body = _indented(body)
    response = web.Response(body=body, status=answer.status, headers=headers)
    _warn(response, answer.warnings)
    return response


def _warn(response: web.Response, warnings: Iterable[str]) -> None:
    for warning in bounded(warnings):
        text = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{text}"')


def _is_for_people(query: Mapping[str, str], user_agent: str) -> bool:
    """Whether JSON is indented: where the query says so, and for browsers and tools such as curl."""
    wish = query.get("pretty", "")
    if wish:
        return wish in {"1", "t", "T", "TRUE", "true", "True"}
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def _indented(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode()


def _error_response(http: web.BaseRequest, error: Exception) -> web.Response:
    """Return the response for an error; an error of this server goes to the log, not to the client."""
    if isinstance(error, RecursionError):
        error = bad_request("exceeded max depth")
    if not isinstance(error, ApiError):
        _log.error("the embedded API server failed in %s %s: %r", http.method, http.path, error)
        _log.debug("where it failed", exc_info=error)  # for those who look for it
        error = internal_error("the embedded API server failed: see its log")
    if error.code == 410 and "watch" in http.query:  # a watch reports it as an event
        return web.Response(
            body=_FRAME % (b"ERROR", encode(error.status)), headers=_headers("application/json")
        )
    return _status_response(http, error)


def _status_response(http: web.BaseRequest, error: ApiError) -> web.Response:
    if error.text:
        return web.Response(
            body=error.text.encode(), status=error.code, headers=_headers(_PLAIN_TEXT)
        )
    headers = _headers("application/json")
    if error.retry_after_seconds:
        headers["Retry-After"] = str(error.retry_after_seconds)
    body = encode(error.status)
    if _is_for_people(http.query, http.headers.get("User-Agent", "")):
        body = _indented(body)
    response = web.Response(body=body, status=error.code, headers=headers)
    _warn(response, error.warnings)
    return response
