from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from operatorkit.controlplane.embedded.audit import Entry
from operatorkit.controlplane.embedded.control_plane import EmbeddedControlPlane
from operatorkit.controlplane.embedded.server import BODY_LIMIT_BYTES, WRITE_BUFFER_BYTES, EmbeddedServer
from operatorkit.controlplane.embedded.storage import store
from operatorkit.errors import InputError
from operatorkit.testing import eventually

from .conftest import CONFIG_MAPS, config_map


def _trust(server: EmbeddedServer) -> ssl.SSLContext:
    assert server.ca_pem is not None
    return ssl.create_default_context(cadata=server.ca_pem.decode())


@pytest.fixture
async def http(server: EmbeddedServer) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=_trust(server))
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:
        yield session


async def _status(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    body: dict[str, Any] = json.loads(await answer.read())
    assert (body["kind"], body["status"], body.get("code", answer.status)) == ("Status", "Failure", answer.status)
    return answer.status, body.get("reason", "")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"{", "application/json", (400, "BadRequest")),
        (b"", "application/json", (400, "BadRequest")),
        (b"[1]", "application/json", (400, "BadRequest")),
        (b"\xff\xfe", "application/json", (400, "BadRequest")),
        (b"{" + b'"a":{' * 5000 + b"}" * 5001, "application/json", (400, "BadRequest")),
        (b"{" + b'"a":[' * 100_000, "application/json", (400, "BadRequest")),
        (b'{"metadata": 3}', "application/json", (400, "BadRequest")),
        (b'{"metadata": {"name": "a", "labels": {"x": 1}}}', "application/json", (400, "BadRequest")),
        (b'{"data": {"k": NaN}, "metadata": {"name": "a"}}', "application/json", (400, "BadRequest")),
        (b"a: [", "application/yaml", (400, "BadRequest")),
        (b"a: !!binary YQ==", "application/yaml", (400, "BadRequest")),
        (b"a: !!set {b}", "application/yaml", (400, "BadRequest")),
        (b"a: &a [*a]", "application/yaml", (400, "BadRequest")),
        (b"!!python/object/apply:os.system [id]", "application/yaml", (400, "BadRequest")),
        (b"x", "image/png", (415, "UnsupportedMediaType")),
        (b"k8s\0nonsense", "application/vnd.kubernetes.protobuf", (400, "BadRequest")),
        (b"x" * (BODY_LIMIT_BYTES + 1), "application/json", (413, "RequestEntityTooLarge")),
    ],
)
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_body_that_cannot_be_understood_gets_a_status(
    http: aiohttp.ClientSession, body: bytes, content_type: str, expected: tuple[int, str]
) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    async with http.post(path, data=body, headers={"Content-Type": content_type}) as answer:
        assert await _status(answer) == expected


async def test_yaml_that_multiplies_itself_is_rejected(http: aiohttp.ClientSession) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    headers = {"Content-Type": "application/yaml"}
    async with http.post(
        "/api/v1/namespaces/default/configmaps", data="\n".join(lines).encode(), headers=headers
    ) as answer:
        assert await _status(answer) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets", 404),
        ("GET", "/api/v1/nonsense", 404),
        ("GET", "/apis/apps/v9", 404),
        ("POST", "/version", 405),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405),
        ("GET", "/api/v1/configmaps?limit=x", 400),
        ("GET", "/api/v1/configmaps?labelSelector=%2C%2C", 400),
        ("GET", "/api/v1/configmaps?fieldSelector=spec.x%3D1", 400),
        ("GET", "/api/v1/configmaps?resourceVersion=-1", 400),
        ("GET", "/api/v1/namespaces/default/pods/p/log", 404),
    ],
)
async def test_a_path_or_query_that_makes_no_sense_gets_a_status(
    http: aiohttp.ClientSession, method: str, path: str, code: int
) -> None:
    from yarl import URL

    async with http.request(method, URL(path, encoded=True)) as answer:
        assert (await _status(answer))[0] == code


@pytest.mark.parametrize("path", ["/apis/nonsense/v1", "/etc/passwd"])
async def test_where_no_api_is_there_is_a_page_not_found(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (404, "text/plain", "404 page not found\n")


@pytest.mark.parametrize(
    "data", [b"\0\1garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_gets_a_bad_request_and_leaves_no_trace(
    server: EmbeddedServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(server.url.rpartition(":")[2]), ssl=_trust(server), server_hostname="localhost"
    )
    writer.write(data)
    assert (await reader.read()).startswith(b"HTTP/1.0 400 Bad Request")
    writer.close()
    await writer.wait_closed()
    assert [it for it in caplog.records if it.levelname != "DEBUG"] == []


async def test_an_error_of_the_server_is_an_internal_error_without_its_traceback(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer
) -> None:
    monkeypatch.setattr(server.core.registry, "find", None)
    async with http.get("/api/v1/pods") as answer:
        assert await _status(answer) == (500, "InternalError")
        assert "Traceback" not in await answer.text()


async def test_half_a_character_becomes_the_sign_for_one(http: aiohttp.ClientSession) -> None:
    body = b'{"metadata": {"name": "half"}, "data": {"k": "a\\ud800b \\ud83d\\ude00"}}'
    headers = {"Content-Type": "application/json"}
    async with http.post("/api/v1/namespaces/default/configmaps", data=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        assert (await answer.json())["data"] == {"k": "a\N{REPLACEMENT CHARACTER}b \N{GRINNING FACE}"}


async def test_a_client_whose_credentials_are_wrong_is_informed_no_more_than_that(
    http: aiohttp.ClientSession, server: EmbeddedServer
) -> None:
    for value in ("Bearer nonsense", "Basic YTpi", "Bearer"):
        async with http.get("/api", headers={"Authorization": value}) as answer:
            assert await _status(answer) == (401, "Unauthorized")
    async with (
        aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=_trust(server))) as no_user,
        no_user.get("/version") as version,
        no_user.get("/api/v1/pods") as pods,
    ):
        assert version.status == 200
        assert await _status(pods) == (403, "Forbidden")


async def test_a_document_that_did_not_change_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    accept = {"Accept": "application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io"}
    async with http.get("/apis", headers=accept) as first:
        etag = first.headers["ETag"]
        assert (await first.json(content_type=None))["kind"] == "APIGroupDiscoveryList"
    async with http.get("/apis", headers=accept | {"If-None-Match": etag}) as second:
        assert (second.status, await second.read()) == (304, b"")


async def test_an_object_is_answered_with_the_bytes_that_are_stored(
    http: aiohttp.ClientSession, server: EmbeddedServer
) -> None:
    await server.local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    record = server.core.storage.collection("configmaps").records["default/a"]
    async with http.get("/api/v1/namespaces/default/configmaps/a") as answer:
        assert await answer.read() == b'{"kind":"ConfigMap","apiVersion":"v1",' + record.body


async def test_a_watch_is_reported_until_its_time_is_up(http: aiohttp.ClientSession, server: EmbeddedServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    async with http.get(path, params={"watch": "1", "timeoutSeconds": "1"}) as answer:
        await server.local.create(CONFIG_MAPS, config_map("a"), namespace="default")
        frames = [json.loads(line) async for line in answer.content]
    assert [(it["type"], it["object"]["metadata"]["name"]) for it in frames] == [("ADDED", "a")]


async def _get(server: EmbeddedServer, **query: str) -> list[dict[str, Any]]:
    """Return what a GET of ConfigMaps answers, line by line."""
    connector = aiohttp.TCPConnector(ssl=_trust(server))
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session,
        session.get("/api/v1/configmaps", params=query) as answer,
    ):
        return [json.loads(line) async for line in answer.content]


async def test_a_server_that_starts_empty_answers_410_to_the_revisions_of_its_predecessor(clock: Any) -> None:
    async with EmbeddedServer(clock=clock, controllers="") as first:
        for name in ("a", "b"):
            await first.local.create(CONFIG_MAPS, config_map(name), namespace="default")
        (page,) = await _get(first, limit="1")
        revision = page["metadata"]["resourceVersion"]
    async with EmbeddedServer(clock=clock, controllers="") as second:
        for index in range(10):  # more than the first one wrote: it is its numbers that are foreign, not their size
            await second.local.create(CONFIG_MAPS, config_map(f"c{index}"), namespace="default")
        (event,) = await _get(second, watch="1", resourceVersion=revision)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert event["object"]["message"].startswith(f"too old resource version: {revision} (")
        (exact,) = await _get(second, resourceVersion=revision, resourceVersionMatch="Exact")
        (rest,) = await _get(second, limit="1", **{"continue": page["metadata"]["continue"]})
        assert [exact["code"], rest["code"]] == [410, 410]


async def _unread_watch(server: EmbeddedServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a watch of ConfigMaps that is not read beyond its first bytes."""
    port = int(server.url.rpartition(":")[2])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    head = f"GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    return reader, writer


def _waiting_bytes(server: EmbeddedServer) -> list[int]:
    """Return how much each connection of the server holds that its client has not read."""
    assert server._server is not None
    transports = [it.transport for it in server._server.connections]
    return [it.get_write_buffer_size() for it in transports if it is not None]


async def test_a_watch_that_is_not_read_holds_little_whatever_happens(clock: Any) -> None:
    async with EmbeddedServer(clock=clock, controllers="", tls=False) as server:
        reader, writer = await _unread_watch(server)
        for index in range(12):
            large = config_map(f"c{index}") | {"data": {"k": "v" * 1_000_000}}
            await server.local.create(CONFIG_MAPS, large, namespace="default")
        await eventually(lambda: max(_waiting_bytes(server)) > 0)
        (waiting,) = _waiting_bytes(server)
        assert waiting < 4 * WRITE_BUFFER_BYTES
        event, seen, tail = b'{"type":"ADDED"', 0, b""
        while seen < 12:
            chunk = tail + await reader.read(65_536)
            seen += chunk.count(event)
            tail = chunk[1 - len(event) :]
        writer.close()
        await writer.wait_closed()


async def test_the_connection_of_a_watch_that_lags_behind_the_log_is_ended(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOG_LENGTH", 2)
    async with EmbeddedServer(clock=clock, controllers="", tls=False) as server:
        reader, writer = await _unread_watch(server)

        async def ended() -> bool:
            large = {"metadata": {"generateName": "c"}, "data": {"k": "v" * 1_000_000}}
            await server.local.create(CONFIG_MAPS, large, namespace="default")
            return not _waiting_bytes(server)

        await eventually(ended)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_the_audit_says_who_asked_for_what_and_how_it_went(clock: Any) -> None:
    entries: list[Entry] = []
    async with EmbeddedServer(clock=clock, controllers="", audit=entries.append) as server:
        connector = aiohttp.TCPConnector(ssl=_trust(server))
        headers = {"Authorization": f"Bearer {server.token}", "User-Agent": "me/1"}
        async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:
            await (await session.get("/api/v1/namespaces/default/pods/p/status")).read()
            await (await session.get("/version", headers={"Impersonate-User": "ann"})).read()
    assert [
        (it.user, it.verb, it.resource, it.subresource, it.namespace, it.name, it.path, it.code) for it in entries
    ] == [
        ("admin", "get", "pods", "status", "default", "p", "", 404),
        ("ann", "get", "", "", "", "", "/version", 200),
    ]
    assert entries[0].user_agent == "me/1"


async def test_stopping_ends_watches_and_frees_the_port(clock: Any) -> None:
    server = EmbeddedServer(clock=clock, controllers="")
    await server.start()
    async with aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=_trust(server))) as session:
        session.headers["Authorization"] = f"Bearer {server.token}"
        async with session.get("/api/v1/namespaces/default/configmaps", params={"watch": "1"}) as answer:
            await server.stop()
            await server.stop()
            assert await answer.content.read() == b""
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


def test_a_port_that_is_taken_is_named_with_the_remedy() -> None:
    with EmbeddedControlPlane(controllers="") as plane:
        port = int(plane.url.rpartition(":")[2])
        with (
            pytest.raises(InputError, match=rf"port {port} of 127\.0\.0\.1 is in use: stop what listens there"),
            EmbeddedControlPlane(port=port, controllers=""),
        ):
            pass


def test_a_kubeconfig_carries_everything_and_is_for_its_owner_only(tmp_path: Any) -> None:
    with EmbeddedControlPlane(controllers="") as plane:
        path = plane.write_kubeconfig(tmp_path / "config", user="ann", groups=["devs"], namespace="team")
        config = plane.kubeconfig(user="ann")
    assert path.stat().st_mode & 0o777 == 0o600
    assert {"client-certificate-data", "client-key-data"} <= set(config["users"][0]["user"])
    assert "certificate-authority-data" in config["clusters"][0]["cluster"]
    assert "team" in path.read_text()
