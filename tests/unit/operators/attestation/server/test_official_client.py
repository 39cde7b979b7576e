"""The official client at work, over gRPC and over REST: every method and every kind, from its own descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import re
import warnings
from datetime import UTC, datetime

import pytest
import yaml
from google.api_core import exceptions
from google.api_core.gapic_v1.method import DEFAULT
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from grafeas.grafeas_v1 import GrafeasClient, types
    from grafeas.grafeas_v1.services.grafeas.transports import GrafeasGrpcTransport, GrafeasRestTransport, rest_base

import grpc

from operatorkit.errors import Unreachable
from operatorkit.testing import FakeClock
from operatorkit.webhooks.certificates import renewed
from operators.attestation.server.access import read_access_file
from operators.attestation.server.grpc_api import METHODS, SERVICE
from operators.attestation.server.kubernetes_access import KubernetesAccess
from operators.attestation.server.routes import find_route
from operators.attestation.server.schema import DETAILS
from operators.attestation.server.serve import Listen, serving

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


# With TLS and tokens: each transport on the one port that it has ------------------------------------------------------


@pytest.fixture
def tls(tmp_path):
    """Write the certificate of 127.0.0.1, its key and its CA, and return where they are."""
    bundle = renewed(None, ["127.0.0.1"], datetime.now(UTC))
    for name, content in (("ca", bundle.ca_pem), ("cert", bundle.cert_pem), ("key", bundle.key_pem)):
        (tmp_path / f"{name}.pem").write_bytes(content)
    return tmp_path


@contextlib.asynccontextmanager
async def secured(tls, transport, access):
    """Serve with TLS, and return a function from a token to the client that sends it."""
    listen = Listen(port=0, grpc_port=0, certificate=tls / "cert.pem", key=tls / "key.pem")
    async with serving(f"sqlite:///{tls}/tls.db", access, listen, clock=FakeClock()) as server:
        with contextlib.ExitStack() as closing:

            def client(token):
                made = (_secure_grpc if transport == "grpc" else _secure_rest)(server, tls / "ca.pem", token)
                closing.callback(made.close)
                return Official(GrafeasClient(transport=made))

            yield client


def _secure_grpc(server, ca, token):
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return GrafeasGrpcTransport(channel=grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials))


class _Token(Credentials):
    """A token that is the same when it is requested again, as that of a ServiceAccount."""

    def refresh(self, request):
        del request


def _secure_rest(server, ca, token):
    host = server.url().removeprefix("https://")
    transport = GrafeasRestTransport(host=host, credentials=_Token(token=token or "none"), url_scheme="https")
    transport._session.verify = str(ca)
    transport._session.trust_env = False  # $REQUESTS_CA_BUNDLE would take precedence
    transport._session.headers["Connection"] = "close"  # so that no TLS connection outlives its response
    return transport


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_with_tls_a_token_decides_what_the_client_may_do(tls, transport):
    users = [
        {
            "name": "ci",
            "tokenSHA256": hashlib.sha256(b"token-ci").hexdigest(),
            "grants": [{"projects": ["p"], "resources": ["notes"], "verbs": ["create", "get"]}],
        }
    ]
    (tls / "access.yaml").write_text(yaml.safe_dump({"users": users}))
    async with secured(tls, transport, read_access_file(tls / "access.yaml")) as client:
        note = await a_note(client("token-ci"))
        assert await client("token-ci").get_note(name=note.name) == note
        with pytest.raises(exceptions.PermissionDenied if transport == "grpc" else exceptions.Forbidden) as denied:
            await client("token-ci").delete_note(name=note.name)
        assert "'ci' may not delete notes in projects/p" in str(denied.value)
        with pytest.raises(exceptions.PermissionDenied if transport == "grpc" else exceptions.Forbidden):
            await client("token-ci").create_note(parent="projects/q", note_id="n", note=types.Note(build={}))
        for token in (None, "another"):
            with pytest.raises(exceptions.Unauthenticated if transport == "grpc" else exceptions.Unauthorized):
                await a_note(client(token), "other")


class _NoAPIServer:
    async def create(self, resource, body):
        del resource, body
        raise Unreachable("the API server is down")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_cannot_know_who_calls_is_unavailable(tls, transport):
    access = KubernetesAccess(_NoAPIServer(), clock=FakeClock())
    async with secured(tls, transport, access) as client:
        with pytest.raises(exceptions.ServiceUnavailable, match="did not respond to a TokenReview"):
            await a_note(client("x"))
