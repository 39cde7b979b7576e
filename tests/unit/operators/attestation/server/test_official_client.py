"""The official client at work, over gRPC and over REST: every method and every kind, from its own descriptors."""

from __future__ import annotations

import asyncio
import inspect
import re
import warnings

import pytest
from google.api_core import exceptions
from google.api_core.gapic_v1.method import DEFAULT
from google.auth.credentials import AnonymousCredentials
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from grafeas.grafeas_v1 import GrafeasClient, types
    from grafeas.grafeas_v1.services.grafeas.transports import GrafeasGrpcTransport, GrafeasRestTransport, rest_base

import grpc

from operators.attestation.server.grpc_api import METHODS, SERVICE
from operators.attestation.server.routes import find_route
from operators.attestation.server.schema import DETAILS

TRANSPORTS = ("grpc", "rest")
PARENT = "projects/p"


def methods():
    """Return the names of the methods that the client's transport has, as the service calls them."""
    source = inspect.getsource(GrafeasGrpcTransport)
    return sorted(re.findall(rf'"/{re.escape(SERVICE)}/(\w+)"', source))


def filled(message, depth=0):
    """Return a message with a value in every field, so that no field of a kind is forgotten."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name) is not None:
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            if entry.message_type is None:
                value["k"] = _scalar(entry)
            elif depth < 3:
                filled(value["k"], depth + 1)
        elif field.message_type is not None:
            if depth > 3:
                continue
            if field.message_type.full_name == "google.protobuf.Timestamp":
                target = value.add() if field.is_repeated else value
                target.FromJsonString("2026-01-02T03:04:05Z")
            elif field.message_type.full_name == "google.protobuf.Struct":
                value.update({"a": 1})
            elif field.message_type.full_name == "google.protobuf.Any":
                (value.add() if field.is_repeated else value).Pack(types.RelatedUrl.pb(types.RelatedUrl(url="x")))
            else:
                inner = value.add() if field.is_repeated else value
                inner.SetInParent()
                filled(inner, depth + 1)
        elif field.is_repeated:
            value.append(_scalar(field))
        else:
            setattr(message, field.name, _scalar(field))
    return message


def _scalar(field):
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_ENUM:
            return field.enum_type.values[-1].number
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return 0.5
        case _:
            return 7


def of_kind(cls, collection, kind):
    """Return a note or an occurrence with everything that its kind can have."""
    message = cls.pb()()
    field = next(f for f in message.DESCRIPTOR.fields if f.name.upper() == kind)
    getattr(message, field.name).SetInParent()
    filled(getattr(message, field.name))
    return cls.wrap(message)


class Official:
    """A client whose calls leave the event loop of the test free for the server."""

    def __init__(self, client) -> None:
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda **fields: asyncio.to_thread(method, timeout=30, retry=DEFAULT, **fields)


@pytest.fixture(params=TRANSPORTS)
def official(request, client):
    if request.param == "grpc":
        channel = grpc.insecure_channel(f"127.0.0.1:{client.server.grpc_port}")
        transport = GrafeasGrpcTransport(channel=channel)
    else:
        host = client.server.url().removeprefix("http://")
        transport = GrafeasRestTransport(host=host, credentials=AnonymousCredentials(), url_scheme="http")
    yield Official(GrafeasClient(transport=transport))
    transport.close()


async def a_note(official, name="qa", **content):
    content = content or {"attestation": types.AttestationNote()}
    return await official.create_note(parent=PARENT, note_id=name, note=types.Note(**content))


async def an_occurrence(official, note, digit="a", **content):
    content = content or {"attestation": types.AttestationOccurrence(serialized_payload=b"x")}
    uri = f"https://gcr.io/app@sha256:{digit * 64}"
    return types.Occurrence(resource_uri=uri, note_name=note.name, **content)


def test_the_service_has_each_method_of_the_client():
    assert sorted(METHODS) == methods()
    assert len(methods()) == 14


def test_each_path_of_the_client_is_a_path_of_the_server():
    bases = [cls for name, cls in vars(rest_base._BaseGrafeasRestTransport).items() if name.startswith("_Base")]
    options = [option for base in bases for option in base._get_http_options()]
    assert len(options) == 2 * len(methods())
    for option in options:
        path = re.sub(r"\{\w+=([^}]+)\}", r"\1", option["uri"]).replace("*", "x")
        find_route(option["method"].upper(), path)


@pytest.mark.parametrize(("cls", "collection"), [(types.Note, "notes"), (types.Occurrence, "occurrences")])
def test_each_kind_of_the_client_is_a_kind_of_the_server(cls, collection):
    (oneof,) = cls.pb().DESCRIPTOR.oneofs
    assert sorted(field.name.upper() for field in oneof.fields) == sorted(DETAILS[collection])


@pytest.mark.parametrize("kind", DETAILS["notes"])
async def test_a_note_of_each_kind_comes_back_as_it_was_sent(official, kind):
    sent = of_kind(types.Note, "notes", kind)
    made = await official.create_note(parent=PARENT, note_id="n", note=sent)
    found = await official.get_note(name=made.name)
    assert found == made
    assert (found.name, found.kind.name) == (f"{PARENT}/notes/n", kind)
    field = DETAILS["notes"][kind]
    snake = re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", field)
    assert getattr(found, snake) == getattr(sent, snake)
    listed = await official.list_notes(parent=PARENT, filter=f'kind="{kind}"')
    assert [note.name for note in listed] == [made.name]


@pytest.mark.parametrize("kind", DETAILS["occurrences"])
async def test_an_occurrence_of_each_kind_comes_back_as_it_was_sent(official, kind):
    note = await official.create_note(parent=PARENT, note_id="n", note=of_kind(types.Note, "notes", kind))
    sent = of_kind(types.Occurrence, "occurrences", kind)
    sent.note_name, sent.resource_uri = note.name, "https://gcr.io/app@sha256:" + "a" * 64
    made = await official.create_occurrence(parent=PARENT, occurrence=sent)
    found = await official.get_occurrence(name=made.name)
    assert found == made
    assert found.kind.name == kind
    snake = re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", DETAILS["occurrences"][kind])
    assert getattr(found, snake) == getattr(sent, snake)
    listed = await official.list_occurrences(parent=PARENT, filter=f'kind="{kind}"')
    assert [one.name for one in listed] == [made.name]


async def test_notes_and_occurrences_lead_to_each_other(official):
    note = await a_note(official)
    made = await official.create_occurrence(parent="projects/q", occurrence=await an_occurrence(official, note))
    assert await official.get_occurrence_note(name=made.name) == note
    assert [one.name for one in await official.list_note_occurrences(name=note.name)] == [made.name]


async def test_updates_by_mask_and_deletions(official):
    note = await a_note(official)
    made = await official.create_occurrence(parent=PARENT, occurrence=await an_occurrence(official, note))
    changed = await official.update_occurrence(
        name=made.name, occurrence=types.Occurrence(remediation="rebuild"), update_mask=FieldMask(paths=["remediation"])
    )
    assert (changed.remediation, changed.attestation) == ("rebuild", made.attestation)
    changed = await official.update_note(
        name=note.name,
        note=types.Note(short_description="short", long_description="long"),
        update_mask=FieldMask(paths=["short_description"]),
    )
    assert (changed.short_description, changed.long_description) == ("short", "")
    await official.delete_occurrence(name=made.name)
    await official.delete_note(name=note.name)
    with pytest.raises(exceptions.NotFound):
        await official.get_note(name=note.name)


async def test_batches_and_pages(official):
    notes = {f"n{number}": types.Note(build=types.BuildNote(builder_version="1")) for number in range(5)}
    made = await official.batch_create_notes(parent=PARENT, notes=notes)
    assert sorted(note.name for note in made.notes) == [f"{PARENT}/notes/n{number}" for number in range(5)]
    pager = await official.list_notes(request=types.ListNotesRequest(parent=PARENT, page_size=2))
    assert sorted(note.name for note in await asyncio.to_thread(list, pager)) == sorted(n.name for n in made.notes)
    occurrences = [
        types.Occurrence(
            resource_uri=f"https://x/{number}", note_name=made.notes[0].name, build=types.BuildOccurrence()
        )
        for number in range(1000)
    ]
    many = await official.batch_create_occurrences(parent=PARENT, occurrences=occurrences)
    assert [one.resource_uri for one in many.occurrences] == [one.resource_uri for one in occurrences]
    pager = await official.list_occurrences(request=types.ListOccurrencesRequest(parent=PARENT, page_size=300))
    assert len(await asyncio.to_thread(list, pager)) == 1000


async def test_each_error_has_its_type(official):
    await a_note(official)
    with pytest.raises(exceptions.Conflict):  # AlreadyExists is one; over REST the client sees the HTTP code only
        await a_note(official)
    with pytest.raises(exceptions.NotFound, match="projects/p/notes/x does not exist"):
        await official.get_note(name="projects/p/notes/x")
    with pytest.raises(exceptions.BadRequest, match="at character 6"):
        await official.list_notes(parent=PARENT, filter="kind=")
    with pytest.raises(exceptions.BadRequest, match="exactly one of"):
        await official.create_note(parent=PARENT, note_id="y", note=types.Note())
