"""Runnable groups: order of start and stop, and one cause when a part ends."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from operatorkit._runtime.groups import Group, Groups, Runnable
from operatorkit.errors import OperatorKitError

LONG = timedelta(minutes=1)


class Part:
    """A runnable that records what happens to it; it ends when it is stopped, or when the test says so."""

    def __init__(self, name: str, log: list[str], *, stoppable: bool = False) -> None:
        self.name, self.log, self.end = name, log, asyncio.Event()
        self.error: BaseException | None = None
        self.stoppable = stoppable

    async def _start(self) -> None:
        self.log.append(f"start {self.name}")

    async def _run(self) -> None:
        self.log.append(f"run {self.name}")
        try:
            await self.end.wait()
        finally:
            self.log.append(f"end {self.name}")
        if self.error is not None:
            raise self.error

    async def _close(self) -> None:
        self.log.append(f"close {self.name}")

    def runnable(self) -> Runnable:
        stop = self.end.set if self.stoppable else None
        return Runnable(name=self.name, start=self._start, run=self._run, stop=stop, close=self._close)


async def stepped() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_groups_stop_in_the_reverse_of_the_order_in_which_they_started():
    log: list[str] = []
    groups = Groups("app")
    for group in Group:
        await groups.start(group, [Part(group.name, log).runnable()])
        await stepped()
    assert log == [f"{what} {group.name}" for group in Group for what in ("start", "run")]
    log.clear()
    await groups.stop_all()
    assert log == [f"{what} {group.name}" for group in reversed(Group) for what in ("end", "close")]


async def test_a_group_has_started_when_all_its_runnables_have_synced():
    synced, log = asyncio.Event(), list[str]()
    part = Part("cache", log).runnable()
    waiting = Runnable(name=part.name, run=part.run, synced=lambda: _wait(synced))
    groups = Groups("app")
    starting = asyncio.ensure_future(groups.start(Group.CACHES, [waiting]))
    await stepped()
    assert not starting.done()
    synced.set()
    await starting
    await groups.stop_all()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


@pytest.mark.parametrize("when", ["while another starts", "while all run"])
async def test_the_first_failure_is_raised_and_the_others_are_logged(when, caplog):
    log: list[str] = []
    first, second = Part("first", log), Part("second", log)
    first.error = ExceptionGroup("two", [ValueError("one cause"), KeyError("another")])
    second.error = RuntimeError("a third")
    groups = Groups("app")
    await groups.start(Group.OTHERS, [first.runnable(), second.runnable()])
    await stepped()
    first.end.set()
    second.end.set()
    never = Runnable(name="slow", run=lambda: _wait(asyncio.Event()), synced=lambda: _wait(asyncio.Event()))
    waiting = groups.until(asyncio.Event().wait) if when == "while all run" else groups.start(Group.OTHERS, [never])
    with pytest.raises(ValueError, match="one cause"):
        await waiting
    await groups.stop_all()
    assert re.findall(r"also failed: (.*)", caplog.text) == ["RuntimeError('a third')", "KeyError('another')"]


async def test_a_part_that_returns_or_is_cancelled_without_a_stop_is_named():
    for end in ("returns", "is cancelled"):
        part = Part("timers", [])
        groups = Groups("app")
        await groups.start(Group.OTHERS, [part.runnable()])
        await stepped()
        if end == "returns":
            part.end.set()
        else:
            next(task for task in asyncio.all_tasks() if task.get_name() == "app: timers").cancel()
        with pytest.raises(OperatorKitError, match=r"^app: timers ended unexpectedly$"):
            await groups.until(asyncio.Event().wait)
        await groups.stop_all()


async def test_a_runnable_with_stop_finishes_within_its_grace_period_and_is_cancelled_after_it(caplog):
    log: list[str] = []
    quick, slow = Part("quick", log, stoppable=True), Part("slow", log, stoppable=True)
    groups = Groups("app")
    slow_runnable = slow.runnable()
    deaf = Runnable(name="slow", run=slow_runnable.run, stop=lambda: None)
    await groups.start(Group.LEADER_ONLY, [quick.runnable(), deaf])
    await stepped()
    await groups.stop(Group.LEADER_ONLY, grace=timedelta(milliseconds=20))
    assert [line for line in log if line.startswith("end")] == ["end quick", "end slow"]
    assert "app: slow did not finish within 0.02 s: cancelled" in caplog.text
    assert "quick did not finish" not in caplog.text


async def test_what_failed_to_start_is_closed_and_what_runs_is_stopped():
    log: list[str] = []
    running, broken = Part("running", log), Part("broken", log)

    async def fail() -> None:
        raise OperatorKitError("the port is in use")

    groups = Groups("app")
    await groups.start(Group.CACHES, [running.runnable()])
    await stepped()
    runnable = broken.runnable()
    with pytest.raises(OperatorKitError, match="in use"):
        await groups.start(
            Group.WEBHOOKS, [Runnable(name="webhooks", start=fail, run=runnable.run, close=runnable.close)]
        )
    await groups.stop_all()
    assert log[-3:] == ["close broken", "end running", "close running"]
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("app:")] == []
