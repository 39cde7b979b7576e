"""`eventually` and `remains`: what they accept, and what they say when it does not come true."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from operatorkit.errors import NotFound
from operatorkit.testing import FakeClock, eventually, remains


async def test_it_returns_the_first_true_result_of_a_function_or_a_coroutine_function():
    results = iter([None, [], 0, "found"])
    assert await eventually(lambda: next(results)) == "found"

    async def answer() -> int:
        return 42

    assert await eventually(answer) == 42


async def test_assertions_errors_of_the_api_server_and_absent_fields_mean_not_yet():
    errors = iter([AssertionError("no"), NotFound('pods "a" not found'), KeyError("status"), IndexError("conditions")])

    def check() -> bool:
        for error in errors:
            raise error
        return True

    assert await eventually(check)


@pytest.mark.parametrize(
    "look",
    [
        lambda conditions: [each["type"] for each in conditions],
        lambda conditions: conditions[0]["type"],
        lambda conditions: conditions.copy(),
    ],
    ids=["iterated", "subscripted", "asked"],
)
async def test_a_field_that_is_null_means_not_yet(look):
    seen = iter([None, None, [{"type": "Ready"}]])
    assert await eventually(lambda: look(next(seen)))


async def test_a_rejection_that_does_not_come_means_not_yet():
    rejections = iter([contextlib.nullcontext, contextlib.nullcontext, Rejection])

    def rejected() -> bool:
        with pytest.raises(NotFound), next(rejections)():
            pass
        return True

    assert await eventually(rejected)
    assert list(rejections) == []


class Rejection(contextlib.AbstractContextManager):
    def __exit__(self, *_):
        raise NotFound("gone")


async def test_a_failure_that_was_asked_for_is_raised_at_once():
    with pytest.raises(pytest.fail.Exception, match="enough"):
        await eventually(lambda: pytest.fail("enough"))


async def test_another_error_is_raised_at_once():
    with pytest.raises(TypeError):
        await eventually(lambda: len(3))
    with pytest.raises(AttributeError):
        await eventually(lambda: "status".conditions)


async def test_the_failure_reports_the_last_result_and_the_clock_that_stands_still():
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(30))
    with pytest.raises(AssertionError) as failure:
        await eventually(list, timeout=0.01, message="the certificate")
    assert re.fullmatch(
        r"the certificate did not become true within 0\.01 s: the last result was \[\]\n"
        r"<FakeClock 2026-01-01T00:00:00Z, 1 waiting, the next for 0:00:30> does not move: advance\(\) it in the test",
        str(failure.value),
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_failure_keeps_the_last_error_as_its_cause():
    async def check() -> bool:
        raise NotFound('secrets "tls" not found')

    with pytest.raises(AssertionError, match='NotFound: secrets "tls" not found') as failure:
        await eventually(check, timeout=0)
    assert isinstance(failure.value.__cause__, NotFound)


async def test_remains_ends_with_the_first_result_that_is_not_true():
    results = iter([True, True, None])
    with pytest.raises(AssertionError, match="the peace did not remain true: the result was None"):
        await remains(lambda: next(results), period=5, message="the peace")
    await remains(lambda: True, period=0)
