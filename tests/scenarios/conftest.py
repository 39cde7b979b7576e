"""What the scenarios of the control plane share: a client that shows HTTP as it is, and objects to send.

Operators talk through `ClusterAPI`, which hides statuses, headers and frames; these scenarios are about those.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from operatorkit.controlplane._credentials import Authority
from operatorkit.testing import eventually
from operatorkit.testing.user import Answer, User, headers_of, ssl_context_of

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1"
CREATIONS = ({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},)
Evaluator = Callable[[dict[str, Any]], Any]


class Watch:
    """The frames of an open watch, one after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.response = response
        self._buffer = b""

    async def next(self, *, within: float = 60.0) -> dict[str, Any] | None:
        """Return the next frame, or None when the server has ended the watch."""
        async with asyncio.timeout(within):
            while b"\n" not in self._buffer:
                chunk = await self.response.content.readany()
                if not chunk:
                    assert not self._buffer.strip(), f"a torn frame: {self._buffer!r}"
                    return None
                self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    async def until(self, type_: str, name: str | None = None, *, within: float = 60.0) -> dict[str, Any]:
        """Return the object of the next frame of that type (and name), passing over others."""
        async with asyncio.timeout(within):
            while True:
                frame = await self.next(within=within)
                assert frame is not None, f"the watch ended before {type_} {name}"
                if frame["type"] == type_ and name in {None, frame["object"]["metadata"].get("name")}:
                    return frame["object"]

    async def quiet(self, *, period: float = 0.3) -> None:
        """Assert that no frame other than a bookmark arrives for a while."""
        deadline = asyncio.get_running_loop().time() + period
        with contextlib.suppress(TimeoutError):
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                frame = await self.next(within=left)
                assert frame is not None, "the watch ended"
                assert frame["type"] == "BOOKMARK", f"expected quiet, got {frame}"


class Http:
    """Requests to the control plane as one user, with nothing interpreted."""

    def __init__(self, user: User, session: aiohttp.ClientSession, namespace: str) -> None:
        self.user = user
        self.namespace = namespace
        self.session = session

    def path(self, plural: str, name: str | None = None, *, sub: str | None = None, ns: str | None = None) -> str:
        """Return the path of `plural` (written `group/version/plural`, or `plural` in core/v1) in the namespace."""
        group, _, short = plural.rpartition("/")
        root = f"/apis/{group}" if group else "/api/v1"
        return "/".join(part for part in (root, "namespaces", ns or self.namespace, short, name, sub) if part)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; a `bytes` body goes as it is."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if data is not None else {})}
        url = URL(self.user.server + path, encoded="%" in path)
        url = url.update_query(query) if query else url
        async with self.session.request(
            method, url, data=data and io.BytesIO(data), headers={**sent, **(headers or {})}
        ) as answer:
            text = (await answer.read()).decode(errors="replace")
            lower = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, lower, text, tuple(answer.headers.getall("Warning", [])))

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("PUT", path, body, **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("DELETE", path, body, **options)

    async def patch(self, path: str, body: Any, kind: str = "merge", **options: Any) -> Answer:
        """Send a patch; `kind` is one of PATCHES, or a content type."""
        headers = {"Content-Type": PATCHES.get(kind, kind)}
        return await self.request("PATCH", path, body, headers=headers, **options)

    async def apply(self, path: str, body: Any, manager: str = "me", *, force: bool = False, **query: str) -> Answer:
        query = {"fieldManager": manager, **({"force": "true"} if force else {}), **query}
        return await self.request("PATCH", path, body, query=query, headers={"Content-Type": PATCHES["apply"]})

    async def created(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object of which the test assumes that it can be created, and return it."""
        answer = await self.post(self.path(plural), body)
        assert answer.status == 201, answer.text
        return answer.json

    async def gone(self, path: str, *, within: float = 90.0) -> None:
        """Wait until nothing is at `path`."""

        async def missing() -> bool:
            return (await self.get(path)).status == 404

        await eventually(missing, timeout=within, message=f"the end of {path}")

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Watch]:
        url = URL(self.user.server + path).update_query({"watch": "1", **query})
        async with self.session.get(url, headers={"Accept": "application/json"}) as response:
            connection = response.connection
            try:
                yield Watch(response)
            finally:  # a TLS connection that is closed politely outlives the test
                if connection is not None and connection.transport is not None:
                    connection.transport.abort()


@asynccontextmanager
async def connected(user: User, namespace: str) -> AsyncIterator[Http]:
    context = ssl_context_of(user.kubeconfig)
    connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers_of(user.kubeconfig)) as session:
        yield Http(user, session, namespace)
    for _ in range(3):  # aborted transports are closed by the loop, not at once
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def http(controlplane, namespace) -> AsyncIterator[Http]:
    """The administrator."""
    async with connected(User.of(controlplane, namespace=namespace), namespace) as client:
        yield client


@pytest_asyncio.fixture
async def stranger(user, namespace) -> AsyncIterator[Http]:
    """Someone without any permission."""
    async with connected(user, namespace) as client:
        yield client


@pytest.fixture(scope="session")
def is_real(controlplane) -> bool:
    """Whether this is Kubernetes' own server: for the few facts that only it, or only ours, can show."""
    return controlplane.backend != "embedded"


@pytest.fixture
def config_map():
    """Make a ConfigMap."""

    def make(name: str = "a", data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}

    return make


class Webhooks:
    """A webhook server of the test, and the configurations that point to it."""

    def __init__(self, http: Any) -> None:
        self.http = http
        self.authority = Authority.create("webhooks")
        self.answers: dict[str, Evaluator] = {"/probe": lambda _: {"allowed": True}}
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.queries: list[str] = []
        self.registered: list[str] = []
        self.port = 0

    async def start(self, path: Any) -> web.AppRunner:
        pair = self.authority.issue_server()
        path.write_bytes(pair.cert_pem + pair.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        app = web.Application()
        app.router.add_post("/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.seen.setdefault(request.path, []).append(review)
        self.queries.append(request.query_string)
        answer = self.answers[request.path](review["request"])
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        head = {"kind": review["kind"], "apiVersion": review["apiVersion"]}
        return web.json_response({**head, "response": {"uid": review["request"]["uid"], **answer}})

    def requests(self, path: str) -> list[dict[str, Any]]:
        return [it["request"] for it in self.seen.get(path, [])]

    def hook(self, path: str, answer: Evaluator | None, rules: Any = CREATIONS, **more: Any) -> dict[str, Any]:
        """Return a webhook at `path` of this server, for the namespace of the test."""
        if answer is not None:
            self.answers[path] = answer
        return {
            "name": f"{path.strip('/')}.example.org",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle},
            "rules": list(rules),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.http.namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 10,
            **more,
        }

    @property
    def bundle(self) -> str:
        return base64.b64encode(self.authority.cert_pem).decode()

    async def register(self, kind: str, *hooks: dict[str, Any], name: str = "a") -> None:
        """Create a configuration (`kind` is mutating or validating) and wait until the server goes by it."""
        name = f"{self.http.namespace}-{name}"
        probe = self.hook("/probe", None, name=f"probe-{kind}.{name}.example.org")
        probe["objectSelector"] = {"matchLabels": {"probe": name}}
        kind_name = f"{kind.capitalize()}WebhookConfiguration"
        body = {"kind": kind_name, "metadata": {"name": name}, "webhooks": [probe, *hooks]}
        path = f"{REGISTRATIONS}/{kind}webhookconfigurations"
        answer = await self.http.post(path, body | {"apiVersion": "admissionregistration.k8s.io/v1"})
        assert answer.status == 201, answer.text
        self.registered.append(f"{path}/{name}")
        sent = {"metadata": {"name": "probe", "labels": {"probe": name}}}
        before = len(self.requests("/probe"))

        async def heeded() -> bool:
            await self.http.post(self.http.path("configmaps"), sent, query={"dryRun": "All"})
            return len(self.requests("/probe")) > before

        await eventually(heeded, message=f"{name} to take effect")
        for path in [it for it in self.seen if it != "/probe"]:
            del self.seen[path]


@pytest_asyncio.fixture
async def webhooks(http, tmp_path) -> AsyncIterator[Webhooks]:
    hooks = Webhooks(http)
    runner = await hooks.start(tmp_path / "webhook.pem")
    try:
        yield hooks
    finally:
        for path in hooks.registered:
            await http.delete(path)
        assert runner.server is not None
        for connection in runner.server.connections:
            if connection.transport is not None:  # a TLS connection that is closed politely outlives the test
                connection.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        await runner.cleanup()


async def _established(http: Http, kind: str, schema: dict[str, Any]) -> str:
    """Define a kind of the test's own in versions v1 and v2 and return its path in the namespace, in v1."""
    group = f"{http.namespace}.example.org"
    plural = f"{kind.lower()}s"
    versions = [
        {"name": it, "served": True, "storage": it == "v2", "schema": {"openAPIV3Schema": schema}}
        for it in ("v1", "v2")
    ]
    names = {"kind": kind, "plural": plural}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = await http.post(path, {"metadata": {"name": f"{plural}.{group}"}, "spec": spec})
    assert answer.status == 201, answer.text
    collection = http.path(f"{group}/v1/{plural}")

    async def served() -> bool:
        return (await http.get(collection)).status == 200

    await eventually(served)
    return collection


@pytest.fixture
def establish(http) -> Callable[[str, dict[str, Any]], Awaitable[str]]:
    """Define a kind of the test's own, in versions v1 and v2; the path of its objects in v1 is returned."""
    return lambda kind, schema: _established(http, kind, schema)
