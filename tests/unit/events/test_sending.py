"""What the event recorder promises while it sends in the background, against slow and failing APIs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from unit.events.store import CERTIFICATE, POD, EventStore, HeldClock, recorder_of, warning

from operatorkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    NotFound,
    Throttled,
    Timeout,
    Unreachable,
)
from operatorkit.events import EventRecorder


@contextlib.asynccontextmanager
async def at_work(recorder: EventRecorder) -> AsyncIterator[EventRecorder]:
    """Let a recorder send in the background, as the engine does; its refreshes never come by themselves."""
    recorder._clock = StoppedClock(recorder._clock)
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class StoppedClock:
    """A clock whose sleepers never wake."""

    def __init__(self, clock: HeldClock) -> None:
        self.now, self.monotonic = clock.now, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class StuckStore(EventStore):
    """An API that never answers."""

    async def create(self, *args: Any, **options: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    list = create


class RejectingStore(EventStore):
    """An API that answers every request with one error."""

    def __init__(self, error: ClusterError) -> None:
        super().__init__()
        self.error = error

    def _begin(self) -> None:
        self.requests += 1
        raise self.error


async def test_at_work_it_sends_in_the_background_what_was_recorded(store, clock):
    async with at_work(recorder_of(store, clock)) as recorder:
        await recorder.record(warning())
        await recorder.record(warning())
        assert store.requests == 0
        await recorder.idle()
        assert store.counts() == {"ask for app1": 2}
        assert store.writes == 1


class SlowStore(EventStore):
    """An API that answers once `answers` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def create(self, *args: Any, **options: Any) -> dict[str, Any]:
        await self.answers.wait()
        return await super().create(*args, **options)


async def test_a_write_that_takes_long_takes_one_token(clock):
    store = SlowStore()
    async with at_work(recorder_of(store, clock, burst=5, refill=timedelta(days=1))) as recorder:
        await recorder.record(warning("first", key="first"))
        for _ in range(10):
            await asyncio.sleep(0)
            clock.seconds += 61
            await recorder.refresh()
        store.answers.set()
        for number in range(5):
            await recorder.record(warning(f"message {number}", key=f"key-{number}"))
        await recorder.idle()
        assert store.counts() == {"first": 1, **{f"message {number}": 1 for number in range(4)}}


async def test_a_held_event_that_a_slow_api_writes_late_counts_once_however_many_refreshes_come_meanwhile(clock):
    store = SlowPatches()
    async with at_work(recorder_of(store, clock, refresh=timedelta(minutes=25))) as recorder:
        await recorder.hold("web", [warning()])
        await recorder.idle()
        clock.seconds += 25 * 60
        for _ in range(5):
            await recorder.refresh()
            await asyncio.sleep(0)
            clock.seconds += 60
        store.answers.set()
        await recorder.idle()
        assert store.counts() == {"ask for app1": 2}


@pytest.mark.parametrize("lost", [1, 3])
@pytest.mark.parametrize("written", [0, 1])
async def test_what_arrived_without_an_answer_is_not_counted_again(clock, written, lost):
    """A first write and a later one: of either, the API server may have what it did not confirm."""
    store = DeafStore()
    recorder = recorder_of(store, clock)
    for _ in range(written):
        await recorder.record(warning())
    store.lost = lost
    clock.seconds += 1
    await recorder.record(warning())
    for _ in range(lost):
        clock.seconds += 61
        await recorder.refresh()
    assert store.lost == 0
    assert store.counts() == {"ask for app1": written + 1}
    clock.seconds += 1
    await recorder.record(warning())
    assert store.counts() == {"ask for app1": written + 2}


async def test_what_comes_after_a_write_without_an_answer_is_added_to_it(clock):
    store = DeafStore(lost=1)
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    clock.seconds += 1
    await recorder.record(warning())
    assert store.counts() == {"ask for app1": 2}


async def test_what_arrived_is_not_counted_again_though_the_rest_is_lost_too(clock):
    store = DeafStore(lost=1)
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    store.lost_patches = 1
    clock.seconds += 1
    await recorder.record(warning())
    assert (store.lost, store.lost_patches) == (0, 0)
    clock.seconds += 61
    await recorder.refresh()
    assert store.counts() == {"ask for app1": 2}


async def test_what_arrived_but_was_given_up_is_not_taken_for_a_later_occurrence(clock):
    """Five tries, each without an answer: what they would have added counts as dropped."""
    store = DeafStore(lost=5)
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    for _ in range(4):
        clock.seconds += 61
        await recorder.refresh()
    assert (store.lost, recorder.dropped) == (0, 1)
    clock.seconds += 1
    await recorder.record(warning())
    assert store.counts() == {"ask for app1": 2}


async def test_what_was_given_up_promptly_and_arrived_is_not_counted_again(clock, monkeypatch):
    monkeypatch.setattr("operatorkit.events.recorder._PROMPTLY_SECONDS", 0.01)
    store = LateStore()
    async with at_work(recorder_of(store, clock)) as recorder:
        await recorder.normal(CERTIFICATE, "Issued", "it is there", promptly=True)
        await recorder.idle()
        assert store.counts() == {"it is there": 1}


class SlowPatches(EventStore):
    """An API that takes new Events at once, and answers what counts on when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def patch(self, *args: Any, **options: Any) -> dict[str, Any]:
        await self.answers.wait()
        return await super().patch(*args, **options)


class DeafStore(EventStore):
    """An API that writes what it is sent; the next `lost` answers, or `lost_patches` to patches, never come back."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost = lost
        self.lost_patches = 0

    def _keep(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        kept = super()._keep(name, event)
        self._lose()
        return kept

    async def patch(self, *args: Any, **options: Any) -> dict[str, Any]:
        answer = await super().patch(*args, **options)
        if self.lost_patches:
            self.lost_patches -= 1
            raise Timeout("no answer in time")
        return answer

    async def get(self, *args: Any, **options: Any) -> dict[str, Any]:
        self._lose()
        return await super().get(*args, **options)

    def _lose(self) -> None:
        if self.lost:
            self.lost -= 1
            raise Timeout("no answer in time")


class LateStore(EventStore):
    """An API that writes a new Event at once, and answers it too late."""

    async def create(self, *args: Any, **options: Any) -> dict[str, Any]:
        answer = await super().create(*args, **options)
        await asyncio.sleep(1)
        return answer


@pytest.mark.parametrize("error", [NotFound("the namespace is gone"), Forbidden("no"), Conflict("no")])
async def test_an_event_that_is_rejected_does_not_delay_what_is_written_promptly(store, clock, error):
    async with at_work(recorder_of(store, clock)) as recorder:
        store.fail = [error] * 10
        await recorder.record(warning(regarding=replace(POD, uid="another")))
        await recorder.idle()
        store.fail = []
        await recorder.normal(CERTIFICATE, "Issued", "it is there", promptly=True)
        assert store.counts()["it is there"] == 1


@pytest.mark.parametrize("error", [Timeout("no"), Unreachable("no"), Throttled("no"), ClusterError("no", code=503)])
async def test_nothing_is_written_promptly_by_an_api_that_does_not_serve(store, clock, error):
    async with at_work(recorder_of(store, clock)) as recorder:
        store.fail = [error]
        await recorder.record(warning(regarding=replace(POD, uid="another")))
        await recorder.idle()
        await recorder.normal(CERTIFICATE, "Issued", "it is there", promptly=True)
        assert "it is there" not in store.counts()
        await recorder.idle()
        assert store.counts()["it is there"] == 1


async def test_an_api_that_never_answers_delays_no_run(clock):
    async with at_work(recorder_of(StuckStore(), clock)) as recorder:
        for number in range(100):
            about = replace(CERTIFICATE, uid=f"uid-{number}", name=f"web-{number}")
            await recorder.hold(number, [warning(regarding=about, related=about)])
            await recorder.recovered(about, "Issued", "it is there")


@pytest.mark.parametrize("error", [AlreadyExists("it is there"), Conflict("no"), Forbidden("no"), Timeout("no")])
async def test_an_api_that_rejects_every_event_gets_a_few_requests_for_each_and_what_is_lost_is_counted(
    clock, error, caplog
):
    store = RejectingStore(error)
    recorder = recorder_of(store, clock)
    for number in range(50):
        await recorder.record(warning(regarding=replace(POD, uid=f"pod-{number}")))
    for _ in range(20):
        clock.seconds += 61
        await recorder.refresh()
    assert recorder.dropped == 50
    assert store.requests <= 50 * 5 * 6
    before = store.requests
    clock.seconds += 61
    await recorder.refresh()
    assert store.requests == before  # it has given up
    assert len(caplog.records) <= 21  # one a minute, not one for each


async def test_what_exceeds_the_memory_is_dropped_and_counted(clock):
    async with at_work(recorder_of(StuckStore(), clock, remembered=10)) as recorder:
        for number in range(100):
            await recorder.record(warning(regarding=replace(POD, uid=f"pod-{number}")))
        assert recorder.dropped >= 70
        assert len(recorder._series) <= 2 * 10 + 4


async def test_many_recoveries_list_the_events_of_a_namespace_once(store, clock):
    former = recorder_of(store, clock)
    abouts = [replace(CERTIFICATE, uid=f"uid-{number}", name=f"web-{number}") for number in range(200)]
    for about in abouts:
        await former.record(warning(f"told {about.name}", regarding=about, related=about, reason=about.name))
    clock.seconds += 1
    async with at_work(recorder_of(store, clock)) as recorder:
        lists = store.lists
        for about in abouts:
            await recorder.recovered(about, "Issued", "it is there")
        await recorder.idle()
        assert store.lists == lists + 1
    reported = {event["involvedObject"]["name"] for event in store.events.values() if event["type"] == "Normal"}
    assert reported == {about.name for about in abouts}


async def test_a_warning_after_a_recovery_is_not_taken_for_one_before_it(store, clock):
    async with at_work(recorder_of(store, clock)) as recorder:
        await recorder.record(warning())
        await recorder.recovered(CERTIFICATE, "Issued", "it is there")
        await recorder.record(warning(message="broken again"))
        await recorder.idle()
        assert [event["type"] for event in store.events.values()].count("Normal") == 1
        assert await recorder.recipients(CERTIFICATE) == [POD]


async def test_who_is_gone_does_not_hear_of_a_recovery_nor_later(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    await recorder.recovered(CERTIFICATE, "Issued", "it is there", exists=lambda _: False)
    assert [event["type"] for event in store.events.values()] == ["Warning"]
    assert await recorder.recipients(CERTIFICATE) == []


async def test_namespaces_take_turns_at_the_outbox(store, clock):
    async with at_work(recorder_of(store, clock)) as recorder:
        for number in range(100):
            await recorder.record(warning(regarding=replace(POD, uid=f"pod-{number}")))
        await recorder.record(warning(regarding=replace(POD, uid="other", namespace="other")))
        await recorder.idle()
    namespaces = [event["metadata"]["namespace"] for event in store.events.values()]
    assert namespaces.index("other") <= 8
