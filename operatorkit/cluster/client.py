"""The live client: a `ClusterAPI` over HTTP.

One aiohttp session carries everything and may be shared (`LiveCluster.session`). What is repeated,
and when:

- 429, always, after the time the server asks for; but not an eviction that a PodDisruptionBudget
  holds back,
- a connection that could not be made, always: nothing was sent,
- a connection that broke, 500, 502, 503 and 504: only where doing it twice does no harm, which is
  for reads and for server-side apply,
- PUT and DELETE, once (aiohttp does this), when the connection broke before an answer began, as one
  that was kept for long may do. At worst the first request did arrive, and the second is answered
  with Conflict or NotFound.
"""

from __future__ import annotations

import asyncio
import functools
import io
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import _json
from operatorkit.cluster._jitter import JITTER
from operatorkit.cluster._lines import LineSplitter
from operatorkit.cluster._paths import query_text
from operatorkit.cluster._session import Connector, distrust_connections, new_session
from operatorkit.cluster.api import ApiRequest, ClusterAPI, PatchType, WatchEvent
from operatorkit.cluster.config import ClusterConfig
from operatorkit.cluster.discovery import Discovery
from operatorkit.cluster.requests import http_request, metadata_of, result_of
from operatorkit.cluster.translate import error_from_answer, error_from_exception, error_from_status
from operatorkit.cluster.trust import FollowingContext
from operatorkit.errors import ClusterError, NoKindMatch, Throttled, Unauthorized, Unreachable
from operatorkit.names import ApiResource

__all__ = ["Answered", "LiveCluster"]

_log = logging.getLogger("operatorkit.cluster")

_TRIES: Final = 4
_LONGEST_WAIT_SECONDS: Final = 15.0
_PASSING: Final = frozenset({500, 502, 503, 504})
_NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_EVENT_TYPES: Final = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_WARNINGS_REMEMBERED: Final = 1000
_LARGE_BODY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that went over the wire, for metrics and tests: `code` is 0 when there was no answer."""

    method: str
    path: str
    query: Mapping[str, str]
    code: int
    seconds: float


class LiveCluster(ClusterAPI):
    """A Kubernetes API over HTTP: the `ClusterAPI` that operators use in production.

    An async context manager. Every method of `ClusterAPI` may be cancelled at any time and leaves
    no open connection behind.

        async with LiveCluster(load_config()) as api:
            pods = await api.resolve("", "Pod")

    `observe` is called after each request, `warn` with each new Warning header (by default it is
    logged).
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        request_timeout: timedelta = timedelta(seconds=30),
        watch_idle_timeout: timedelta = timedelta(seconds=150),
        max_requests_in_flight: int = 64,
        user_agent: str = "operatorkit",
        observe: Callable[[Answered], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._request_timeout = request_timeout
        self._watch_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=10, sock_read=watch_idle_timeout.total_seconds()
        )
        self._max_requests_in_flight = max_requests_in_flight
        self._user_agent = user_agent
        self._observe = observe
        self._warn = (
            warn
            if warn is not None
            else lambda text: _log.warning("the API server warns: %s", text)
        )
        self._warnings: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._connectors: list[
            Connector
        ] = []  # of every session that was opened, while a socket may be open
        self._discovery = Discovery(self)

    @property
    def config(self) -> ClusterConfig:
        """Where this client talks to, and as whom."""
        return self._config

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session that carries all requests, with credentials and limits built in; URLs must be absolute.

        Whoever shares it should not close it; if they do (kopf does, when the server rejects the
        credentials), the next access opens another.
        """
        if self._session is None:
            raise RuntimeError(
                "this LiveCluster is not open: use it as `async with LiveCluster(config) as api:`"
            )
        if self._session.closed:
            self._session = self._open()
        return self._session

    def on_new_trust(self, listener: Callable[[str], None]) -> None:
        """Call `listener`, a bound method that is held weakly, with what happened when other authorities are trusted.

        The server behind the address may be another one then.
        """
        if isinstance(self._config.ssl_context, FollowingContext):
            self._config.ssl_context.subscribe(listener)

    def _open(self) -> aiohttp.ClientSession:
        session, connector = new_session(
            self._config,
            clock=self._clock,
            request_timeout=self._request_timeout,
            max_requests_in_flight=self._max_requests_in_flight,
            user_agent=self._user_agent,
        )
        self._connectors = [each for each in self._connectors if each.has_sockets] + [connector]
        return session

    async def __aenter__(self) -> Self:
        """Open the session; the first request opens the first connection."""
        self._session = self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        connectors, self._connectors = self._connectors, []
        for connector in connectors:  # also those of sessions that others have closed
            await connector.abort()

    async def send(self, request: ApiRequest) -> Any:
        """Send one request, again where that is safe, and decode the answer."""
        http = http_request(request)
        url = self._url(http.path, http.query)
        headers, body = dict(http.headers), http.body
        if isinstance(body, str):
            body = body.encode()
        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else _json.dumps_to_send(body)
            headers.setdefault("Content-Type", "application/json")
        # A server-side apply states the wanted fields, so doing it twice has the effect of doing it once.
        harmless_twice = http.method in {"GET", "HEAD", "OPTIONS"} or (
            request.function == "patch" and headers["Content-Type"] == PatchType.APPLY.value
        )
        for tries in range(1, _TRIES + 1):
            try:
                return result_of(
                    request,
                    await self._send_once(http.method, url, data, headers, request.resource),
                )
            except ClusterError as error:
                again = tries < _TRIES and _may_repeat(error, harmless_twice=harmless_twice)
                wait = _wait_seconds(error, tries)
                if not again or wait > _LONGEST_WAIT_SECONDS:
                    raise
            await self._clock.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    async def stream(self, request: ApiRequest) -> AsyncGenerator[WatchEvent, None]:
        """Yield what happens after a resource version, bookmarks included, until the server ends the watch.

        Raises Gone when the resource version is too old, Unreachable when the connection breaks or
        stays silent for longer than even bookmarks do. Close the iterator (`aclosing`) to close the
        connection.
        """
        assert request.resource is not None, "watches are of a kind"
        resource, metadata_only = request.resource, request.options["metadata_only"]
        http = http_request(request)
        url = self._url(http.path, http.query)
        shown = f"GET {url}"
        session = self.session
        started = self._clock.monotonic()
        code = 0
        try:
            async with session.get(
                url, timeout=self._watch_timeout, headers=http.headers
            ) as response:
                code = response.status
                self._report("GET", url, code, started)
                self._note_warnings(response)
                if code >= 400:
                    body = await response.read()
                    raise self._explained(
                        error_from_answer(
                            code, body, response.headers, request=shown, resource=resource.qualified
                        )
                    )
                splitter = LineSplitter()
                try:
                    async for chunk in response.content.iter_any():
                        for line in splitter.feed(chunk):
                            event = _watch_event(line, shown)
                            if metadata_only:
                                event = WatchEvent(event.type, metadata_of(event.object, resource))
                            yield event
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, OSError) as error:
            if not code:
                self._report("GET", url, code, started)
            if isinstance(error, TimeoutError):
                distrust_connections(session)
            raise error_from_exception(error, request=shown, server=self._config.server) from error
        except RuntimeError as error:
            raise _closed_meanwhile(error, session, shown) from error

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out by discovery how a kind is served. Raises NoKindMatch, which names group, version and kind."""
        return await self._discovery.resolve(group, kind, version)

    async def _send_once(
        self,
        method: str,
        url: URL,
        data: bytes | None,
        headers: Mapping[str, str],
        resource: ApiResource | None,
    ) -> Any:
        session = self.session
        started = self._clock.monotonic()
        code = 0
        try:
            async with session.request(
                method, url, data=_payload(data), headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
                code = response.status
        except (
            asyncio.CancelledError
        ):  # whoever waited may have had enough: see `distrust_connections`
            distrust_connections(session)
            raise
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                distrust_connections(session)
            raise error_from_exception(
                error, request=f"{method} {url}", server=self._config.server
            ) from error
        except RuntimeError as error:
            raise _closed_meanwhile(error, session, f"{method} {url}") from error
        finally:
            self._report(method, url, code, started)
        self._note_warnings(response)
        if code >= 300:
            qualified = resource.qualified if resource is not None else None
            rejection = error_from_answer(
                code, body, response.headers, request=f"{method} {url}", resource=qualified
            )
            if isinstance(rejection, NoKindMatch):
                self._discovery.forget()
            raise self._explained(rejection)
        return _decoded(body, response.content_type, method, url)

    @functools.cached_property
    def _server(self) -> URL:
        return URL(self._config.server, encoded=True)

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        server = self._server
        text = query_text(tuple(query.items())) if query else ""
        if not server.absolute or "?" in path or "#" in path:
            return URL(f"{self._config.server}{path}{'?' if text else ''}{text}", encoded=True)
        # put together from parts that were parsed once: parsing the whole again costs more than all else done here
        return URL.build(
            scheme=server.scheme,
            authority=server.raw_authority,
            path=server.raw_path.rstrip("/") + path,
            query_string=text,
            encoded=True,
        )

    def _report(self, method: str, url: URL, code: int, started: float) -> None:
        if self._observe is not None:
            seconds = self._clock.monotonic() - started
            self._observe(Answered(method, url.raw_path, dict(url.query), code, seconds))

    def _note_warnings(self, response: aiohttp.ClientResponse) -> None:
        """Hand on each text of the Warning headers once."""
        for header in response.headers.getall("Warning", ()):
            text = _warning_text(header)
            if text and text not in self._warnings:
                if len(self._warnings) >= _WARNINGS_REMEMBERED:
                    self._warnings.clear()
                self._warnings.add(text)
                self._warn(text)

    def _explained(self, error: ClusterError) -> ClusterError:
        """Say what to check when the server does not know us; its own message is only `Unauthorized`."""
        if not isinstance(error, Unauthorized):
            return error
        return Unauthorized(
            f"{error.message}: the API server at {self._config.server} does not accept the credentials of"
            f" {self._config.origin}: check that they belong to this cluster and have not expired",
            code=error.code,
            reason=error.reason,
            causes=error.causes,
            details=error.details,
        )


def _payload(data: bytes | None) -> bytes | io.BytesIO | None:
    """Give aiohttp what it can send in pieces: it warns of large bytes, which would hold up the loop."""
    return io.BytesIO(data) if data is not None and len(data) > _LARGE_BODY_BYTES else data


def _closed_meanwhile(
    error: RuntimeError, session: aiohttp.ClientSession, request: str
) -> Exception:
    """Translate the RuntimeError by which aiohttp says that the session was closed; hand back any other."""
    return (
        Unreachable(f"{request}: the session was closed before the answer was complete")
        if session.closed
        else error
    )


def _may_repeat(error: ClusterError, *, harmless_twice: bool) -> bool:
    # A server that throttles has not begun the request, so every kind of request may be repeated; a
    # POST after a 500, however, may have created its object. client-go repeats 429 and 5xx with a
    # Retry-After header (rest.Request); API servers send 429 by Priority and Fairness:
    # https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
    match error:
        case Throttled():
            # The eviction API answers 429, too, for a budget that allows no disruption: that takes
            # minutes to change, and the caller decides whether to wait.
            return not any(cause.reason == "DisruptionBudget" for cause in error.causes)
        case Unreachable():
            if isinstance(error.__cause__, aiohttp.ClientSSLError | aiohttp.InvalidURL):
                return False
            return harmless_twice or isinstance(error.__cause__, _NEVER_SENT)
    return harmless_twice and error.code in _PASSING


def _wait_seconds(error: ClusterError, tries: int) -> float:
    # Jitter on top of Retry-After, never below it: all clients of a server that restarts get the
    # same number of seconds, and would return together.
    if error.retry_after_seconds is not None:
        return error.retry_after_seconds + JITTER.random() / 4
    return 0.1 * 3.0 ** (tries - 1) * (0.5 + JITTER.random())


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End a stream that is not at its end: a polite TLS farewell would keep the socket until the server answers it."""
    transport = response.connection.transport if response.connection is not None else None
    if transport is not None:
        transport.abort()


def _decoded(body: bytes, content_type: str, method: str, url: URL) -> Any:
    if content_type.endswith(("json", "yaml")) or body[:1] in {b"{", b"["}:
        try:
            return _json.loads(body)
        except ValueError as error:
            if content_type.endswith("json"):
                raise ClusterError(
                    f"{method} {url}: the answer is not JSON, although it says so: {error}"
                ) from error
    return body.decode(errors="replace")


def _watch_event(line: bytes, request: str) -> WatchEvent:
    try:
        event = _json.loads(line)
        kind, obj = event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{request}: a frame of the watch cannot be read: {line[:200]!r}",
            reason="UnreadableFrame",
        ) from error
    if kind == "ERROR":
        status = obj if isinstance(obj, dict) else {}
        raise error_from_status(status)
    if kind not in _EVENT_TYPES or not isinstance(obj, dict):
        raise ClusterError(
            f"{request}: a watch event of unknown type {kind!r}", reason="UnreadableFrame"
        )
    return WatchEvent(kind, obj)


def _warning_text(header: str) -> str:
    """Take the text out of `299 - "text"`."""
    _, quote_mark, rest = header.partition('"')
    text, _, _ = rest.rpartition('"')
    return text.replace('\\"', '"').replace("\\\\", "\\") if quote_mark else header
