"""A metadata server in the test's own loop, and an HTTP client for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from operatorkit.testing import FakeClock
from operators.attestation.server.access import OpenAccess
from operators.attestation.server.serve import Listen, RunningServer, serving


@dataclass
class Answer:
    status: int
    body: Any


class Client:
    def __init__(self, server: RunningServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.headers: dict[str, str] = {}

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.session.request(
            method, self.server.url() + path, data=data, params=query, headers=self.headers
        ) as response:
            return Answer(response.status, json.loads(await response.read()))

    async def note(self, name: str = "qa", project: str = "p", **content: Any) -> Any:
        content = content or {"attestation": {"hint": {"humanReadableName": name}}}
        answer = await self("POST", f"/v1/projects/{project}/notes", content, noteId=name)
        assert answer.status == 200, answer.body
        return answer.body

    async def occurrence(
        self, digit: str = "a", project: str = "p", note: str = "projects/p/notes/qa", **content: Any
    ) -> Any:
        body = {
            "resourceUri": f"https://gcr.io/app@sha256:{digit * 64}",
            "noteName": note,
            **(content or {"attestation": {"serializedPayload": "eA=="}}),
        }
        answer = await self("POST", f"/v1/projects/{project}/occurrences", body)
        assert answer.status == 200, answer.body
        return answer.body


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path}/attest.db"


@pytest_asyncio.fixture
async def client(database_url, clock) -> AsyncIterator[Client]:
    async with (
        serving(database_url, OpenAccess(), Listen(port=0, grpc_port=0), clock=clock) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Client(server, session)
