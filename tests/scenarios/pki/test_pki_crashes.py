"""The operator may die at any of its writes: the end is the same, and nothing is told twice as two Events.

The engine is cut off from the cluster at its write k, once just before the write and once just after it (the answer is
lost), and a new one takes over. The story has a denial and its correction, so that every kind of write occurs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pytest

from operatorkit._runtime import Engine
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.testing import RecordingCluster, eventually
from operatorkit.testing.quiescence import wait_until_idle
from operators.pki import app

_WRITES = frozenset({"create", "replace", "patch", "delete"})


class MortalCluster:
    """A `ClusterAPI` that stops answering at its write number `last`: before it, or after it took effect."""

    def __init__(self, api: Any, *, last: int, after: bool) -> None:
        self._api = api
        self._last = last
        self._after = after
        self.writes = 0
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if name in {"watch", "on_new_trust"}:  # neither is awaited
            return method
        return lambda *args, **options: self._pass(name, method, args, options)

    async def _pass(self, name: str, method: Any, args: Any, options: Any) -> Any:
        if self.dead.is_set():
            await asyncio.Future()
        if name in _WRITES:
            self.writes += 1
            if self.writes == self._last:
                if self._after:
                    await method(*args, **options)
                self.dead.set()
                await asyncio.Future()
        return await method(*args, **options)


class Life:
    """An operator process: an engine that can be lost from one moment to the next."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.engine = Engine(app, api, clock=SYSTEM_CLOCK, namespace=namespace)
        self.task = asyncio.create_task(self.engine.run())
        self.api = api

    async def settled_or_dead(self) -> bool:
        """Return True if the process is still there when nothing is left to do."""
        settled = asyncio.create_task(wait_until_idle(self.engine))
        waits = {settled}
        if isinstance(self.api, MortalCluster):
            waits.add(asyncio.create_task(self.api.dead.wait()))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        alive = settled.done()
        await cancelled(*waits)
        return alive

    async def lasts_until(self, check: Any) -> bool:
        """Return True if the process is still there when `check` is true, as `eventually` has it."""
        waits = {asyncio.create_task(eventually(check, timeout=60))}
        if isinstance(self.api, MortalCluster):
            waits.add(asyncio.create_task(self.api.dead.wait()))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return not (isinstance(self.api, MortalCluster) and self.api.dead.is_set())
        finally:
            await cancelled(*waits)

    async def kill(self) -> None:
        await cancelled(self.task)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def show_the_story(team, number: int, *, last: int, after: bool) -> int:
    """Run the story with an operator that dies at write `last`; return how many writes its first life made."""
    name = f"web{number}"
    await team.pod(name, secret=f"{name}-tls")
    issuer = {"kind": "Issuer", "name": "ca"}
    await team.create("Pki", name, spec={"serviceName": "app2", "issuerRef": issuer})
    api = MortalCluster(team.cluster, last=last, after=after)
    life = Life(api, team.namespace)
    try:
        if not await life.lasts_until(lambda: is_denied(team, name)):
            await life.kill()
            life = Life(team.cluster, team.namespace)
            await life.lasts_until(lambda: is_denied(team, name))
        if not await life.settled_or_dead():
            await life.kill()
            life = Life(team.cluster, team.namespace)
            await life.settled_or_dead()
        await team.change("Pki", name, spec={"serviceName": "app1"})
        if not await life.settled_or_dead():
            await life.kill()
            life = Life(team.cluster, team.namespace)
        await eventually(lambda: is_ready(team, name))
        await life.settled_or_dead()
        await check_the_end(team, name)
    finally:
        await life.kill()
    await team.delete("Pki", name)
    await team.cluster.delete(team.kinds["Pod"], name, namespace=team.namespace, grace_period_seconds=0)
    return api.writes


async def is_denied(team, name: str) -> bool:
    await team.condition("Pki", name, status="False", reason="DeniedByPolicy", within=0)
    return True


async def is_ready(team, name: str) -> bool:
    await team.condition("Pki", name, status="True")
    return True


async def check_the_end(team, name: str) -> None:
    certificate = await team.get("Certificate", name)
    leaf = await team.leaf(f"{name}-tls")
    assert certificate["status"]["revision"] == 1, "issued twice"
    assert certificate["status"]["serialNumber"] == f"{leaf.serial_number:x}"
    for kind in ("Certificate", "Pki", "Pod"):
        events = await team.events(kind, name)
        counts = Counter(event["reason"] for event in events)
        assert counts == {"DeniedByPolicy": 1, "CertificateIssued": 1}, (kind, events)
        assert all(1 <= event["count"] <= 2 for event in events), (kind, events)


@pytest.mark.timeout(300)
async def test_wherever_the_operator_dies_the_end_is_the_same(team, monkeypatch, capsys):
    await team.ca()
    allowed = [
        f"app1{rest}" for rest in ("", ".{{namespace}}", ".{{namespace}}.svc", ".{{namespace}}.svc.cluster.local")
    ]
    await team.change("CertificatePolicy", team.namespace, spec={"allowedNames": allowed})
    team.cluster = RecordingCluster(team.cluster, namespace=team.namespace)
    total = await show_the_story(team, 0, last=0, after=False)
    with capsys.disabled():
        print(f"\n[the story has {total} writes]", end=" ")  # noqa: T201 - the number is part of the claim
    assert total > 10
    number = 0
    for last in range(1, total + 1):
        for after in (False, True):
            number += 1
            await show_the_story(team, number, last=last, after=after)


async def test_a_secret_that_was_written_but_not_reported_is_reported_by_the_next_life(team):
    await team.ca()
    for number, last in enumerate((1, 2, 3)):
        name = f"web{number}"
        first = Life(MortalCluster(team.cluster, last=last, after=True), team.namespace)
        await team.certificate(name)
        await first.settled_or_dead()
        await first.kill()
        second = Life(team.cluster, team.namespace)
        try:
            leaf = await team.ready(name)
            await team.event("Certificate", name, "CertificateIssued")
            status = (await team.get("Certificate", name))["status"]
            assert (status["revision"], status["serialNumber"]) == (1, f"{leaf.serial_number:x}")
        finally:
            await second.kill()
