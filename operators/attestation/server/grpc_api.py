"""The API over gRPC: grafeas.v1.Grafeas, as the official client calls it.

What belongs here: from messages to operations and back. What does not: what operations do (`service`). Needs the extra
`attestation`.

The methods are found by their names, and a contract test compares them with those of the client's own transport.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grafeas.grafeas_v1 import types

from operators.attestation.server.access import Caller, Credentials
from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection
from operators.attestation.server.rest import MAX_BODY_BYTES
from operators.attestation.server.schema import to_json
from operators.attestation.server.service import Paging, Service

__all__ = ["METHODS", "SERVICE", "grpc_server"]

SERVICE: Final = "grafeas.v1.Grafeas"
_log = logging.getLogger("operators.attestation.server")
_STATUSES = {code.value[0]: code for code in grpc.StatusCode}

Handler = Callable[[Service, Caller, Any], Awaitable[Message]]


def _message(cls: Any, body: dict[str, Any]) -> Message:
    found: Message = json_format.ParseDict(body, cls.pb()(), ignore_unknown_fields=True)
    return found


def _getter(collection: Collection, cls: Any) -> Handler:
    async def call(service: Service, caller: Caller, request: Any) -> Message:
        return _message(cls, await service.get(caller, "v1", collection, request.name))

    return call


def _lister(collection: Collection, cls: Any) -> Handler:
    async def call(service: Service, caller: Caller, request: Any) -> Message:
        return _message(
            cls,
            await service.list_objects(caller, "v1", collection, request.parent, _paging(request)),
        )

    return call


def _deleter(collection: Collection) -> Handler:
    async def call(service: Service, caller: Caller, request: Any) -> Message:
        await service.delete(caller, collection, request.name)
        return Empty()

    return call


def _updater(collection: Collection, field: str, cls: Any) -> Handler:
    async def call(service: Service, caller: Caller, request: Any) -> Message:
        patch, mask = to_json(getattr(request, field)), ",".join(request.update_mask.paths)
        return _message(
            cls, await service.update(caller, "v1", collection, request.name, patch, mask)
        )

    return call


async def _create_note(service: Service, caller: Caller, request: Any) -> Message:
    made = await service.create_notes(
        caller, "v1", request.parent, {request.note_id: to_json(request.note)}
    )
    return _message(types.Note, made[0])


async def _create_notes(service: Service, caller: Caller, request: Any) -> Message:
    bodies = {note_id: to_json(note) for note_id, note in request.notes.items()}
    made = await service.create_notes(caller, "v1", request.parent, bodies)
    return _message(types.BatchCreateNotesResponse, {"notes": made})


async def _create_occurrence(service: Service, caller: Caller, request: Any) -> Message:
    made = await service.create_occurrences(
        caller, "v1", request.parent, [to_json(request.occurrence)]
    )
    return _message(types.Occurrence, made[0])


async def _create_occurrences(service: Service, caller: Caller, request: Any) -> Message:
    bodies = [to_json(occurrence) for occurrence in request.occurrences]
    made = await service.create_occurrences(caller, "v1", request.parent, bodies)
    return _message(types.BatchCreateOccurrencesResponse, {"occurrences": made})


async def _occurrence_note(service: Service, caller: Caller, request: Any) -> Message:
    return _message(types.Note, await service.occurrence_note(caller, "v1", request.name))


async def _note_occurrences(service: Service, caller: Caller, request: Any) -> Message:
    found = await service.note_occurrences(caller, "v1", request.name, _paging(request))
    return _message(types.ListNoteOccurrencesResponse, found)


METHODS: Final[dict[str, tuple[Any, Handler]]] = {
    "GetOccurrence": (types.GetOccurrenceRequest, _getter("occurrences", types.Occurrence)),
    "ListOccurrences": (
        types.ListOccurrencesRequest,
        _lister("occurrences", types.ListOccurrencesResponse),
    ),
    "DeleteOccurrence": (types.DeleteOccurrenceRequest, _deleter("occurrences")),
    "CreateOccurrence": (types.CreateOccurrenceRequest, _create_occurrence),
    "BatchCreateOccurrences": (types.BatchCreateOccurrencesRequest, _create_occurrences),
    "UpdateOccurrence": (
        types.UpdateOccurrenceRequest,
        _updater("occurrences", "occurrence", types.Occurrence),
    ),
    "GetOccurrenceNote": (types.GetOccurrenceNoteRequest, _occurrence_note),
    "GetNote": (types.GetNoteRequest, _getter("notes", types.Note)),
    "ListNotes": (types.ListNotesRequest, _lister("notes", types.ListNotesResponse)),
    "DeleteNote": (types.DeleteNoteRequest, _deleter("notes")),
    "CreateNote": (types.CreateNoteRequest, _create_note),
    "BatchCreateNotes": (types.BatchCreateNotesRequest, _create_notes),
    "UpdateNote": (types.UpdateNoteRequest, _updater("notes", "note", types.Note)),
    "ListNoteOccurrences": (types.ListNoteOccurrencesRequest, _note_occurrences),
}
"""Each method of the service: the class of its request, and what it does."""


def grpc_server(service: Service) -> grpc.aio.Server:
    """Return a server of the API, without a port yet."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)]
    )
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _answering(service, name, call),
            request_deserializer=request.pb().FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (request, call) in METHODS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return server


def _answering(
    service: Service, name: str, call: Handler
) -> Callable[[Any, Any], Awaitable[Message]]:
    async def answer(request: Any, context: Any) -> Message:
        try:
            caller = await service.access.authenticate(_credentials(context))
            return await call(service, caller, request)
        except ApiError as error:
            status, message = _STATUSES[error.grpc_code], error.message
        except Exception:  # noqa: BLE001 - the outermost loop: the log has it, the client learns that it has
            _log.exception("%s failed", name)
            status, message = (
                grpc.StatusCode.INTERNAL,
                "the server failed: see its log",
            )
        await context.abort(status, message)
        raise AssertionError("abort raises")

    return answer


def _credentials(context: Any) -> Credentials:
    metadata = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    names = context.auth_context().get("x509_common_name") or []
    name = names[0].decode("utf-8", "replace") if len(names) == 1 else None
    return Credentials(
        token.strip() if scheme.lower() == "bearer" and token.strip() else None, name
    )


def _paging(request: Any) -> Paging:
    return Paging(request.filter, request.page_size, request.page_token)
