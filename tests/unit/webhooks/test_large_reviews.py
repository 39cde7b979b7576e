"""A large review takes its time in a thread: the loop answers others, and reconciles, meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from pydantic import field_serializer, field_validator

from operatorkit import Allowed, Model, Mutated, Operator, Resource
from operatorkit.resource import NoStatus
from operatorkit.testing import eventually
from operatorkit.webhooks.dispatch import LARGE_BYTES, Dispatcher

READ, WRITTEN = [], []
"""The names of the threads in which objects were read and written."""

GATE = threading.Event()
"""While this is not set, an object with `held` is being read, as if it were endless."""


class CrateSpec(Model):
    size: int = 1
    held: bool = False

    @field_validator("size")
    @classmethod
    def note_the_reader(cls, value: int) -> int:
        READ.append(threading.current_thread().name)
        return value

    @field_validator("held")
    @classmethod
    def be_held(cls, value: bool) -> bool:
        assert not value or GATE.wait(60)
        return value

    @field_serializer("size")
    def note_the_writer(self, value: int) -> int:
        WRITTEN.append(threading.current_thread().name)
        return value


class Crate(Resource[CrateSpec, NoStatus], group="example.io", version="v1", kind="Thing"):
    """What is in it may be large."""


@pytest.fixture(autouse=True)
def nothing_noted():
    READ.clear()
    WRITTEN.clear()
    GATE.clear()
    yield
    GATE.set()


@pytest.fixture
def dispatcher():
    app = Operator("crates")
    app.called = []

    @app.validate(Crate)
    async def validate(new: Crate, old: Crate | None, request: Any) -> Allowed:
        app.called.append(threading.current_thread().name)
        return Allowed()

    @app.mutate(Crate)
    async def mutate(crate: Crate, request: Any) -> Mutated[Crate]:
        app.called.append(threading.current_thread().name)
        crate.spec.size += 1
        return Mutated(crate)

    dispatcher = Dispatcher(app.webhooks)
    dispatcher.app = app
    dispatcher.webhooks = {webhook.verb: webhook for webhook in app.webhooks}
    yield dispatcher
    dispatcher.close()


def body(reviews, *, size, **spec):
    review = reviews.review(reviews.thing(size=3, padding="x" * size, **spec))
    return json.dumps(review).encode()


@pytest.mark.parametrize(("size", "large"), [(1000, False), (2 * LARGE_BYTES, True)])
@pytest.mark.parametrize("verb", ["validate", "mutate"])
async def test_objects_of_a_large_review_are_read_and_written_in_a_thread_and_functions_called_in_the_loop(
    reviews, dispatcher, verb, size, large
):
    here = threading.current_thread().name
    answer = await dispatcher.answer(dispatcher.webhooks[verb], body(reviews, size=size), seconds=60)
    assert answer.body["response"]["allowed"] is True
    assert ("patch" in answer.body["response"]) is (verb == "mutate")
    assert dispatcher.app.called == [here]
    worked = {*READ, *WRITTEN}
    assert READ
    assert bool(WRITTEN) is (verb == "mutate")
    assert all(name.startswith("large reviews") for name in worked) if large else worked == {here}


async def test_a_small_review_is_answered_while_a_large_one_is_being_read(reviews, dispatcher):
    webhook = dispatcher.webhooks["validate"]
    large = body(reviews, size=2 * LARGE_BYTES, held=True)
    slow = asyncio.create_task(dispatcher.answer(webhook, large, seconds=60))
    await eventually(lambda: bool(READ), message="it is being read")
    answer = await dispatcher.answer(webhook, body(reviews, size=10), seconds=60)
    assert answer.body["response"]["allowed"] is True
    assert not slow.done()
    GATE.set()
    assert (await slow).body["response"]["allowed"] is True


async def test_a_large_review_that_is_not_read_in_time_is_an_error_and_not_an_allow(reviews, dispatcher):
    webhook = dispatcher.webhooks["validate"]
    held = body(reviews, size=2 * LARGE_BYTES, held=True)
    answer = await dispatcher.answer(webhook, held, seconds=0.2)
    assert answer.body["response"]["allowed"] is False
    assert answer.body["response"]["status"]["reason"] == "Timeout"
    busy = [asyncio.create_task(dispatcher.answer(webhook, held, seconds=60)) for _ in range(1)]
    await eventually(lambda: len(READ) == 2, message="no thread is left")
    answer = await dispatcher.answer(webhook, held, seconds=0.2)
    assert (answer.status, answer.body["reason"]) == (503, "Timeout")
    assert "was not read within 0.2 s; try again" in answer.body["message"]
    assert dispatcher.app.called == []
    GATE.set()
    await asyncio.gather(*busy)
