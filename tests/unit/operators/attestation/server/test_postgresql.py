"""PostgreSQL behind the server, three replicas of it, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from contextlib import AsyncExitStack

import aiohttp
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from unit.operators.attestation.server.postgresql import find_binaries, postgresql

from operatorkit.clock import SYSTEM_CLOCK
from operators.attestation.server.access import OpenAccess
from operators.attestation.server.database import Database, database_url
from operators.attestation.server.serve import Listen, serving
from operators.attestation.server.tables import metadata

needs_postgresql = pytest.mark.skipif(find_binaries() is None, reason="needs the binaries of PostgreSQL")

FILTERS = [
    ('kind="ATTESTATION"', 3),
    ('NOT remediation="x"', 2),
    ('remediation!="x"', 2),
    ('has_prefix(resourceUri, "https://gcr.io/app@sha256:a")', 1),
    ('NOT (remediation="x" OR kind="BUILD")', 2),
    ("attestation.serializedPayload='eA=='", 3),
    ('createTime>"2001-01-01T00:00:00Z" AND noteId="qa"', 3),
    ("digest=sha256:" + "b" * 64, 1),
]


@pytest.fixture(scope="module")
def url(find_port):
    with postgresql(find_port()) as url:
        yield url


class Replica:
    def __init__(self, url, session):
        self.url, self.session = url, session

    async def __call__(self, method, path, body=None, **query):
        data = None if body is None else json.dumps(body)
        async with self.session.request(method, f"{self.url}/v1/{path}", data=data, params=query) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def replicas(url):
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        servers = await asyncio.gather(
            *(
                stack.enter_async_context(serving(url, OpenAccess(), Listen(port=0), clock=SYSTEM_CLOCK))
                for _ in range(3)
            )
        )
        yield [Replica(server.url(), session) for server in servers]


def occurrence(digit="a", project="p"):
    return {
        "resourceUri": f"https://gcr.io/app@sha256:{digit * 64}",
        "noteName": f"projects/{project}/notes/qa",
        "attestation": {"serializedPayload": "eA=="},
    }


@needs_postgresql
async def test_the_migrations_make_the_tables_of_the_code_in_postgresql_too(url):
    database = await Database.open(database_url(url))
    async with database.read() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    await database.close()
    assert [one for one in found if "alembic_version" not in str(one)] == []


@needs_postgresql
async def test_three_replicas_are_one_server(replicas):
    one, two, three = replicas
    assert (await one("POST", "projects/p/notes?noteId=qa", {"attestation": {}}))[0] == 200
    assert (await two("POST", "projects/p/notes?noteId=qa", {"attestation": {}}))[0] == 409
    names = [
        (await replica("POST", "projects/p/occurrences", occurrence(digit)))[1]["name"]
        for replica, digit in zip(replicas, "abc", strict=True)
    ]
    await three("PATCH", names[0], {"remediation": "x"}, updateMask="remediation")
    for filter_, count in FILTERS:
        status, found = await two("GET", "projects/p/occurrences", filter=filter_)
        assert (status, len(found["occurrences"])) == (200, count), filter_
    _, page = await one("GET", "projects/p/occurrences", pageSize="2")
    _, rest = await three("GET", "projects/p/occurrences", pageToken=page["nextPageToken"])
    assert [one["name"] for one in page["occurrences"] + rest["occurrences"]] == names
    assert (await two("DELETE", names[0]))[0] == 200
    assert (await one("GET", names[0]))[0] == 404


@needs_postgresql
async def test_changes_of_all_replicas_come_in_order_and_none_is_missed(replicas):
    await replicas[0]("POST", "projects/order/notes?noteId=qa", {"attestation": {}})
    _, before = await replicas[0]("GET", "changes")
    while before["changes"] and len(before["changes"]) == 1000:
        _, before = await replicas[0]("GET", "changes", after=str(before["next"]))
    seen, after = [], before["next"]

    async def follow():
        nonlocal after
        while len(seen) < 60:
            _, found = await replicas[2]("GET", "changes", after=str(after), timeoutSeconds="10")
            seen.extend(change["name"] for change in found["changes"])
            after = found["next"]

    async def write(replica):
        return [
            (await replica("POST", "projects/order/occurrences", occurrence(project="order")))[1]["name"]
            for _ in range(20)
        ]

    _, *written = await asyncio.wait_for(asyncio.gather(follow(), *map(write, replicas)), 60)
    assert sorted(seen) == sorted(name for names in written for name in names)


@needs_postgresql
async def test_the_audit_log_cannot_be_rewritten_in_postgresql(url, replicas):
    await replicas[0]("POST", "projects/audit/notes?noteId=qa", {"attestation": {}})
    database = await Database.open(database_url(url))
    for statement in ("UPDATE audit SET caller = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(Exception, match="append-only"):
            async with database.write() as connection:
                await connection.exec_driver_sql(statement)
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
async def test_what_was_acknowledged_survives_a_kill_under_load(kind, tmp_path, request):
    database = f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else request.getfixturevalue("url")
    acknowledged: list[str] = []
    async with aiohttp.ClientSession() as session:
        for round_ in range(3):
            command = [sys.executable, "-m", "operatorkit", "attest", "serve", "--port", "0", "--database", database]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            replica = Replica(re.fullmatch(r"serving (\S+)\n", line)[1], session)
            if round_ == 0:
                await replica("POST", "projects/kill/notes?noteId=qa", {"attestation": {}})
            await asyncio.wait_for(_written_until_killed(process, replica, acknowledged, more=30), 60)
    opened = await Database.open(database_url(database))
    async with opened.read() as connection:
        rows = await connection.exec_driver_sql("SELECT name FROM occurrences WHERE parent = 'projects/kill'")
        audited = await connection.exec_driver_sql("SELECT name FROM audit WHERE action = 'create'")
        stored, logged = {row[0] for row in rows}, {row[0] for row in audited}
    await opened.close()
    assert set(acknowledged) <= stored
    assert stored <= logged
    assert len(acknowledged) >= 90


async def _written_until_killed(process, replica, acknowledged, *, more):
    """Write by four clients at once, kill the server under their load, and keep what it had acknowledged."""
    enough, target, killed = asyncio.Event(), len(acknowledged) + more, False

    async def write():
        while not killed:
            try:
                status, answer = await replica("POST", "projects/kill/occurrences", occurrence(project="kill"))
            except aiohttp.ClientError:
                return
            assert status == 200, answer
            acknowledged.append(answer["name"])
            if len(acknowledged) >= target:
                enough.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(write())
        await enough.wait()
        process.kill()
        await process.wait()
        killed = True
