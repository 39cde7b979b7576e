"""What the scenarios of the control plane share: a client that shows HTTP as it is, and objects to send.

Operators talk through `ClusterAPI`, which hides statuses, headers and frames; these scenarios are about those.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from operatorkit.testing import eventually
from operatorkit.testing.user import Answer, User, headers_of, ssl_context_of

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


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
