"""The API over HTTP: from requests to operations, and from their results to JSON.

What belongs here: bodies, query parameters, credentials in headers, answers. What does not: paths (`routes`), what
operations do (`service`), sockets and TLS (`serve`). Needs the extra `attestation`.

A body is JSON whatever its content type says: `curl -d` sends a form's. Unknown query parameters of Google's clients
(`$alt`, `alt`, `prettyPrint`) are ignored, others are errors: a misspelt `filter` must not select all.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from operators.attestation.server.access import Caller, Credentials
from operators.attestation.server.errors import ApiError
from operators.attestation.server.routes import Route, find_route
from operators.attestation.server.service import Paging, Service

__all__ = ["MAX_BODY_BYTES", "application"]

JSONObject = dict[str, Any]

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_MAX_WAIT_SECONDS = 60.0
_IGNORED = frozenset(
    {
        "$alt",
        "alt",
        "$prettyPrint",
        "prettyPrint",
        "$.xgafv",
        "key",
        "access_token",
        "quotaUser",
        "fields",
    }
)
_SPELLINGS = {
    "page_size": "pageSize",
    "page_token": "pageToken",
    "note_id": "noteId",
    "update_mask": "updateMask",
    "return_partial_success": "returnPartialSuccess",
}
_log = logging.getLogger("operators.attestation.server")


def application(service: Service) -> web.Application:
    """Return the web application that serves the API, and /healthz."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    handler = _Handler(service)
    app.router.add_get("/healthz", handler.health)
    app.router.add_route("*", "/{path:.*}", handler.handle)
    return app


class _Handler:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, request: web.Request) -> web.Response:
        """Answer that the process is there."""
        del request
        return web.Response(text="ok")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of the API."""
        try:
            route = find_route(request.method, request.rel_url.raw_path)
            caller = await self._service.access.authenticate(_credentials(request))
            if route.operation == "Changes" and "text/event-stream" in request.headers.get(
                "Accept", ""
            ):
                return await self._stream(request, caller)
            return _json(200, await self._answer(route, caller, request))
        except ApiError as error:
            if error.http_code >= 500:
                _log.error("%s %s: %s", request.method, request.path[:200], error.message)
            return _json(error.http_code, error.body())
        except web.HTTPRequestEntityTooLarge:
            too_large = ApiError(
                "INVALID_ARGUMENT",
                f"a body has at most {MAX_BODY_BYTES} bytes: send smaller batches",
            )
            return _json(413, too_large.body())
        except Exception:  # noqa: BLE001 - the outermost loop: the log has it, the client learns that it has
            _log.exception("%s %s failed", request.method, request.path[:200])
            failed = ApiError("INTERNAL", "the server failed: see its log")
            return _json(500, failed.body())

    async def _answer(self, route: Route, caller: Caller, request: web.Request) -> JSONObject:
        service, version, target = self._service, route.version, route.target
        match route.operation:
            case "List":
                _query(request, "filter", "pageSize", "pageToken", "returnPartialSuccess")
                return await service.list_objects(
                    caller, version, route.collection, target, _paging(request)
                )
            case "ListNoteOccurrences":
                _query(request, "filter", "pageSize", "pageToken")
                return await service.note_occurrences(caller, version, target, _paging(request))
            case "VulnerabilitySummary":
                query = _query(request, "filter")
                return await service.vulnerability_summary(caller, target, query.get("filter", ""))
            case "ListProjects":
                _query(request, "filter", "pageSize", "pageToken")
                return await service.list_projects(caller, _paging(request))
            case "Changes":
                query = _query(request, "after", "timeoutSeconds", "limit")
                wait = min(_number(query, "timeoutSeconds", 0), _MAX_WAIT_SECONDS)
                limit = _number(query, "limit", 1000)
                return await service.changes(
                    caller, after=_number(query, "after", 0), wait_seconds=wait, limit=limit
                )
            case "Get":
                _query(request)
                return await service.get(caller, version, route.collection, target)
            case "GetOccurrenceNote":
                _query(request)
                return await service.occurrence_note(caller, version, target)
            case "GetProject":
                _query(request)
                return await service.get_project(caller, target)
            case "Delete":
                _query(request)
                await service.delete(caller, route.collection, target)
                return {}
            case "DeleteProject":
                _query(request)
                await service.delete_project(caller, target)
                return {}
            case "Update":
                query = _query(request, "updateMask")
                patch = await _body(request)
                return await service.update(
                    caller, version, route.collection, target, patch, query.get("updateMask", "")
                )
            case "CreateProject":
                _query(request)
                name = (await _body(request)).get("name")
                return await service.create_project(caller, name if isinstance(name, str) else "")
            case "Create":
                return await self._create(route, caller, request)
            case "BatchCreate":
                return await self._batch(route, caller, request)

    async def _create(self, route: Route, caller: Caller, request: web.Request) -> JSONObject:
        if route.collection == "occurrences":
            _query(request)
            body = await _body(request)
            made = await self._service.create_occurrences(
                caller, route.version, route.target, [body]
            )
            return made[0]
        query = _query(request, "noteId")
        body = await _body(request)
        note_id = query.get("noteId", "") or str(body.get("name") or "").rpartition("/")[2]
        if not note_id:
            raise ApiError(
                "INVALID_ARGUMENT", "noteId is missing: add ?noteId=ID, or give the note a name"
            )
        made = await self._service.create_notes(
            caller, route.version, route.target, {note_id: body}
        )
        return made[0]

    async def _batch(self, route: Route, caller: Caller, request: web.Request) -> JSONObject:
        _query(request)
        body = await _body(request)
        given = body.get(route.collection)
        if route.collection == "notes":
            if not isinstance(given, dict) or not all(
                isinstance(note, dict) for note in given.values()
            ):
                raise ApiError(
                    "INVALID_ARGUMENT", "notes is missing: give an object of notes by their ids"
                )
            return {
                "notes": await self._service.create_notes(
                    caller, route.version, route.target, given
                )
            }
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise ApiError("INVALID_ARGUMENT", "occurrences is missing: give a list of occurrences")
        return {
            "occurrences": await self._service.create_occurrences(
                caller, route.version, route.target, given
            )
        }

    async def _stream(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """Send changes as server-sent events until the client leaves; the id of an event is where to begin again."""
        query = _query(request, "after", "timeoutSeconds", "limit")
        after = _number({"after": request.headers.get("Last-Event-ID", "")}, "after", 0) or _number(
            query, "after", 0
        )
        found = await self._service.changes(caller, after=after, wait_seconds=0)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        try:
            while True:
                for change in found["changes"]:
                    await response.write(
                        f"id: {change['sequence']}\ndata: {json.dumps(change)}\n\n".encode()
                    )
                if not found["changes"]:
                    await response.write(b": still here\n\n")
                found = await self._service.changes(caller, after=found["next"], wait_seconds=15.0)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except ApiError as error:
            await response.write(f"event: error\ndata: {json.dumps(error.body())}\n\n".encode())
            return response


def _credentials(request: web.Request) -> Credentials:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    name = None
    ssl_object = (
        request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    )
    if ssl_object is not None and (peer := ssl_object.getpeercert()):
        names = [
            value for part in peer.get("subject", ()) for key, value in part if key == "commonName"
        ]
        name = names[0] if len(names) == 1 else None
    return Credentials(
        token.strip() if scheme.lower() == "bearer" and token.strip() else None, name
    )


def _query(request: web.Request, *known: str) -> dict[str, str]:
    """Return the query parameters. Raises ApiError for unknown and repeated ones."""
    found: dict[str, str] = {}
    for key, value in request.query.items():
        name = _SPELLINGS.get(key, key)
        if name in _IGNORED:
            continue
        if name not in known:
            expected = ", ".join(known) or "none"
            raise ApiError(
                "INVALID_ARGUMENT",
                f"the parameter {key[:100]!r} is not known; known are {expected}",
            )
        if name in found:
            raise ApiError("INVALID_ARGUMENT", f"the parameter {key!r} is given twice")
        found[name] = value
    return found


def _paging(request: web.Request) -> Paging:
    query = {_SPELLINGS.get(key, key): value for key, value in request.query.items()}
    return Paging(
        query.get("filter", ""), _number(query, "pageSize", 0), query.get("pageToken", "")
    )


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 18:
        raise ApiError(
            "INVALID_ARGUMENT", f"the parameter {name} is {text[:100]!r}: give a whole number"
        )
    return int(text)


async def _body(request: web.Request) -> JSONObject:
    """Read the body as a JSON object. Raises ApiError."""
    raw = await request.read()
    try:
        body = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ApiError("INVALID_ARGUMENT", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError("INVALID_ARGUMENT", "the body is not a JSON object")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> JSONObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _json(status: int, body: JSONObject) -> web.Response:
    return web.json_response(body, status=status)
