"""Look-ups at the same time are one look-up, and nothing of it outlives it."""

from __future__ import annotations

import asyncio

import pytest

from operators.attestation.flights import SECONDS, Flights

pytestmark = pytest.mark.asyncio


class Server:
    """Answers when the test says so."""

    def __init__(self):
        self.asked = 0
        self.answers = asyncio.Queue()
        self.cancelled = 0

    async def __call__(self):
        self.asked += 1
        try:
            answer = await self.answers.get()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


async def begun(*coroutines):
    """Return tasks that have run as far as they can."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_callers_at_the_same_time_share_one_look_up_and_a_later_one_begins_another():
    flights, server = Flights(), Server()
    tasks = await begun(*(flights.join("a", server) for _ in range(100)))
    other = await begun(flights.join("b", server))
    server.answers.put_nowait(1)
    server.answers.put_nowait(2)
    assert await asyncio.gather(*tasks) == [1] * 100
    assert await other[0] == 2
    assert server.asked == 2
    again = await begun(flights.join("a", server))
    server.answers.put_nowait(3)
    assert await again[0] == 3


async def test_an_error_is_shared_with_those_who_wait_and_kept_for_no_other():
    flights, server = Flights(), Server()
    tasks = await begun(*(flights.join("a", server) for _ in range(10)))
    server.answers.put_nowait(ValueError("down"))
    assert {str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)} == {"down"}
    assert server.asked == 1
    server.answers.put_nowait("up")
    assert await flights.join("a", server) == "up"


async def test_a_value_that_does_not_suffice_is_looked_up_once_more_for_all_who_joined():
    flights, server = Flights(), Server()
    tasks = await begun(*(flights.join("a", server, suffices=bool) for _ in range(100)))
    server.answers.put_nowait(0)
    server.answers.put_nowait(0)
    assert await asyncio.gather(*tasks) == [0] * 100
    assert server.asked == 2, "the first one asked after it came, and the others share one more"


async def test_a_look_up_goes_on_for_others_when_a_caller_leaves_and_ends_with_the_last():
    flights, server = Flights(), Server()
    first, second = await begun(flights.join("a", server), flights.join("a", server))
    first.cancel()
    await asyncio.wait([first])
    server.answers.put_nowait(1)
    assert await second == 1
    assert (server.asked, server.cancelled) == (1, 0)
    alone = await begun(flights.join("a", server))
    alone[0].cancel()
    await asyncio.wait(alone)
    assert (server.asked, server.cancelled) == (2, 1)
    server.answers.put_nowait(3)
    assert await flights.join("a", server) == 3


async def test_a_look_up_that_began_too_long_ago_is_not_joined(monkeypatch):
    loop = asyncio.get_running_loop()
    flights, server, now = Flights(), Server(), loop.time()
    old = await begun(flights.join("a", server))
    monkeypatch.setattr(loop, "time", lambda: now + SECONDS + 1.0)
    young = await begun(flights.join("a", server))
    assert server.asked == 2
    server.answers.put_nowait("old")
    server.answers.put_nowait("young")
    assert (await old[0], await young[0]) == ("old", "young")
