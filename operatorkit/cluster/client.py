"""The live client: a `ClusterAPI` over HTTP.

One aiohttp session carries everything and may be shared (`LiveCluster.session`). What is repeated, and when:

- 429, always, after the time the server asks for; but not an eviction that a PodDisruptionBudget holds back,
- a connection that could not be made, always: nothing was sent,
- a connection that broke, 500, 502, 503 and 504: only where doing it twice does no harm, which is for reads and for
  server-side apply,
- PUT and DELETE, once (aiohttp does this), when the connection broke before an answer began, as one that was kept
  for long may do. At worst the first request did arrive, and the second is answered with Conflict or NotFound.
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
from operatorkit.cluster._paths import (
    collection_path,
    object_path,
    query_text,
    selectors,
    watch_options,
    write_options,
)
from operatorkit.cluster._session import close_session, distrust_connections, new_session
from operatorkit.cluster.api import JSONObject, ObjectList, PatchType, Propagation, WatchEvent
from operatorkit.cluster.config import ClusterConfig
from operatorkit.cluster.discovery import Discovery
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
# Servers that do not know these representations answer with whole objects, of which the rest is dropped here.
_METADATA: Final = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"}
_METADATA_LIST: Final = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that went over the wire, for metrics and tests: `code` is 0 when there was no answer."""

    method: str
    path: str
    query: Mapping[str, str]
    code: int
    seconds: float


class LiveCluster:
    """A Kubernetes API over HTTP: the `ClusterAPI` that operators use in production.

    An async context manager. Every method of `ClusterAPI` may be cancelled at any time and leaves no open
    connection behind.

        async with LiveCluster(load_config()) as api:
            pods = await api.resolve("", "Pod")

    `observe` is called after each request, `warn` with each new Warning header (by default it is logged).
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
        self._warn = warn if warn is not None else lambda text: _log.warning("the API server warns: %s", text)
        self._warnings: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._discovery = Discovery(self)

    @property
    def config(self) -> ClusterConfig:
        """Where this client talks to, and as whom."""
        return self._config

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session that carries all requests, with credentials and limits built in; URLs must be absolute.

        Whoever shares it should not close it; if they do (kopf does, when the server refuses the credentials), the
        next access opens another.
        """
        if self._session is None:
            raise RuntimeError("this LiveCluster is not open: use it as `async with LiveCluster(config) as api:`")
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
        return new_session(
            self._config,
            clock=self._clock,
            request_timeout=self._request_timeout,
            max_requests_in_flight=self._max_requests_in_flight,
            user_agent=self._user_agent,
        )

    async def __aenter__(self) -> Self:
        """Open the session; the first request opens the first connection."""
        self._session = self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await close_session(session)

    async def get(
        self, resource: ApiResource, name: str, *, namespace: str | None = None, subresource: str | None = None
    ) -> JSONObject:
        """Return one object. Raises NotFound."""
        path = object_path(resource, name, namespace, subresource)
        return _object(await self._send("GET", path, resource=resource))

    async def list(
        self,
        resource: ApiResource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str | None = None,
        limit: int | None = None,
        continue_token: str = "",
        metadata_only: bool = False,
    ) -> ObjectList:
        """Return a collection; with `limit`, one page of it. Raises Gone when `continue_token` has expired."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else "",
            "continue": continue_token,
        }
        query = {key: value for key, value in query.items() if value}
        if resource_version is not None and not continue_token:
            query["resourceVersion"] = resource_version
        path, headers = collection_path(resource, namespace), _METADATA_LIST if metadata_only else None
        answer = _object(await self._send("GET", path, query=query, headers=headers, resource=resource))
        metadata = answer.get("metadata") or {}
        items = answer.get("items") or ()
        return ObjectList(
            [_metadata_of(item, resource) if metadata_only else _named(item, resource) for item in items],
            str(metadata.get("resourceVersion") or ""),
            str(metadata.get("continue") or ""),
        )

    async def watch(
        self,
        resource: ApiResource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what happens after `resource_version`, bookmarks included, until the server ends the watch.

        Raises Gone when `resource_version` is too old, Unreachable when the connection breaks or stays silent for
        longer than even bookmarks do. Close the iterator (`aclosing`) to close the connection.
        """
        query = watch_options(resource_version, timeout_seconds) | selectors(label_selector, field_selector)
        url = self._url(collection_path(resource, namespace), query)
        request = f"GET {url}"
        session = self.session
        started = self._clock.monotonic()
        code = 0
        try:
            headers = _METADATA if metadata_only else None
            async with session.get(url, timeout=self._watch_timeout, headers=headers) as response:
                code = response.status
                self._report("GET", url, code, started)
                self._note_warnings(response)
                if code >= 400:
                    body = await response.read()
                    raise self._explained(
                        error_from_answer(code, body, response.headers, request=request, resource=resource.qualified)
                    )
                splitter = LineSplitter()
                try:
                    async for chunk in response.content.iter_any():
                        for line in splitter.feed(chunk):
                            event = _watch_event(line, request)
                            if metadata_only:
                                event = WatchEvent(event.type, _metadata_of(event.object, resource))
                            yield event
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, OSError) as error:
            if not code:
                self._report("GET", url, code, started)
            if isinstance(error, TimeoutError):
                distrust_connections(session)
            raise error_from_exception(error, request=request, server=self._config.server) from error
        except RuntimeError as error:
            raise _closed_meanwhile(error, session, request) from error

    async def create(
        self,
        resource: ApiResource,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Create an object, or (with `name` and `subresource`) post to a subresource.

        Raises AlreadyExists, Invalid.
        """
        if name is None:
            namespace = namespace or (obj.get("metadata") or {}).get("namespace")
            if resource.namespaced and not namespace:
                raise ValueError(f"creating a {resource.kind} needs a namespace: {resource.kind} is a namespaced kind")
            path = collection_path(resource, namespace)
        else:
            path = object_path(resource, name, namespace, subresource)
        query = write_options(field_manager, dry_run=dry_run)
        return _object(await self._send("POST", path, query=query, body=obj, resource=resource))

    async def replace(
        self,
        resource: ApiResource,
        name: str,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Replace an object; with `metadata.resourceVersion`, only if it is unchanged. Raises Conflict, Invalid."""
        path = object_path(resource, name, namespace, subresource)
        query = write_options(field_manager, dry_run=dry_run)
        return _object(await self._send("PUT", path, query=query, body=obj, resource=resource))

    async def patch(
        self,
        resource: ApiResource,
        name: str,
        body: Any,
        *,
        patch_type: PatchType,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> JSONObject:
        """Change part of an object. `force` is for APPLY only.

        Raises NotFound, Conflict, FieldManagerConflict, Invalid.
        """
        patch_type = PatchType(patch_type)
        if patch_type is PatchType.APPLY and not field_manager:
            raise ValueError("server-side apply needs a field_manager: the name under which the fields are owned")
        path = object_path(resource, name, namespace, subresource)
        query = write_options(field_manager, dry_run=dry_run)
        if force:
            query["force"] = "true"
        return _object(
            await self._send("PATCH", path, query=query, body=body, content_type=patch_type.value, resource=resource)
        )

    async def delete(
        self,
        resource: ApiResource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Ask for an object's deletion; finalizers and grace may delay it.

        Return the server's answer: the object as it is now while its deletion is delayed (with a deletionTimestamp,
        and finalizers or deletionGracePeriodSeconds), else a Status whose details hold its uid; some kinds are answered
        with their last state.

        Raises NotFound, Conflict (preconditions).
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in preconditions.items() if value is not None}
        options: dict[str, Any] = {
            "propagationPolicy": propagation,
            "gracePeriodSeconds": grace_period_seconds,
            "preconditions": preconditions or None,
            "dryRun": ["All"] if dry_run else None,
        }
        options = {key: value for key, value in options.items() if value is not None}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options} if options else None
        path = object_path(resource, name, namespace, None)
        return _object(await self._send("DELETE", path, body=body, resource=resource))

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out by discovery how a kind is served. Raises NoKindMatch, which names group, version and kind."""
        return await self._discovery.resolve(group, kind, version)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send any other request and return the decoded JSON answer (or text, where it is not JSON).

        `path` is sent as it is, and so is a `body` of bytes or text; any other is encoded as JSON.
        """
        return await self._send(method.upper(), path, query=query, body=body, headers=headers)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        resource: ApiResource | None = None,
    ) -> Any:
        """Send one request, again where that is safe, and decode the answer."""
        url = self._url(path, query)
        headers = dict(headers or {})
        data: bytes | None = None
        if isinstance(body, str):
            body = body.encode()
        if body is not None:
            data = body if isinstance(body, bytes) else _json.dumps_to_send(body)
            headers = {"Content-Type": content_type, **headers}
        harmless_twice = method in {"GET", "HEAD", "OPTIONS"} or content_type == PatchType.APPLY.value
        for tries in range(1, _TRIES + 1):
            try:
                return await self._send_once(method, url, data, headers, resource)
            except ClusterError as error:
                again = tries < _TRIES and _may_repeat(error, harmless_twice=harmless_twice)
                wait = _wait_seconds(error, tries)
                if not again or wait > _LONGEST_WAIT_SECONDS:
                    raise
            await self._clock.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _send_once(
        self, method: str, url: URL, data: bytes | None, headers: Mapping[str, str], resource: ApiResource | None
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
        except asyncio.CancelledError:  # whoever waited may have had enough: see `distrust_connections`
            distrust_connections(session)
            raise
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                distrust_connections(session)
            raise error_from_exception(error, request=f"{method} {url}", server=self._config.server) from error
        except RuntimeError as error:
            raise _closed_meanwhile(error, session, f"{method} {url}") from error
        finally:
            self._report(method, url, code, started)
        self._note_warnings(response)
        if code >= 300:
            qualified = resource.qualified if resource is not None else None
            refusal = error_from_answer(code, body, response.headers, request=f"{method} {url}", resource=qualified)
            if isinstance(refusal, NoKindMatch):
                self._discovery.forget()
            raise self._explained(refusal)
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


def _closed_meanwhile(error: RuntimeError, session: aiohttp.ClientSession, request: str) -> Exception:
    """Translate the RuntimeError by which aiohttp says that the session was closed; hand back any other."""
    return Unreachable(f"{request}: the session was closed before the answer was complete") if session.closed else error


def _may_repeat(error: ClusterError, *, harmless_twice: bool) -> bool:
    match error:
        case Throttled():
            return not any(cause.reason == "DisruptionBudget" for cause in error.causes)
        case Unreachable():
            if isinstance(error.__cause__, aiohttp.ClientSSLError | aiohttp.InvalidURL):
                return False
            return harmless_twice or isinstance(error.__cause__, _NEVER_SENT)
    return harmless_twice and error.code in _PASSING


def _wait_seconds(error: ClusterError, tries: int) -> float:
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
                raise ClusterError(f"{method} {url}: the answer is not JSON, although it says so: {error}") from error
    return body.decode(errors="replace")


def _object(answer: Any) -> JSONObject:
    if not isinstance(answer, dict):
        raise ClusterError(
            f"the API server answered with {type(answer).__name__} {str(answer)[:200]!r} where an object was expected:"
            " is this address a Kubernetes API?"
        )
    return answer


def _named(item: JSONObject, resource: ApiResource) -> JSONObject:
    """Give an item of a list the apiVersion and kind that the server leaves to the list."""
    return item if "kind" in item else {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _metadata_of(item: JSONObject, resource: ApiResource) -> JSONObject:
    """Return the metadata of an object under the object's own kind, whatever representation the server chose."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": item.get("metadata") or {}}


def _watch_event(line: bytes, request: str) -> WatchEvent:
    try:
        event = _json.loads(line)
        kind, obj = event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{request}: a frame of the watch cannot be read: {line[:200]!r}", reason="UnreadableFrame"
        ) from error
    if kind == "ERROR":
        status = obj if isinstance(obj, dict) else {}
        raise error_from_status(status)
    if kind not in _EVENT_TYPES or not isinstance(obj, dict):
        raise ClusterError(f"{request}: a watch event of unknown type {kind!r}", reason="UnreadableFrame")
    return WatchEvent(kind, obj)


def _warning_text(header: str) -> str:
    """Take the text out of `299 - "text"`."""
    _, quote_mark, rest = header.partition('"')
    text, _, _ = rest.rpartition('"')
    return text.replace('\\"', '"').replace("\\\\", "\\") if quote_mark else header
