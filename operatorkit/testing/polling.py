"""Waiting in tests, without sleeping for a guessed time.

What belongs here: `eventually` (something becomes true) and `remains` (something stays true). What
does not: time that the test controls (`operatorkit.testing.clock`).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from operatorkit.errors import ClusterError
from operatorkit.testing.clock import standing_clocks

__all__ = ["eventually", "remains"]

T = TypeVar("T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


@overload
async def eventually(
    check: Callable[[], Awaitable[T | None]],
    *,
    timeout: float = ...,  # noqa: ASYNC109
    message: str = ...,
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T | None],
    *,
    timeout: float = ...,  # noqa: ASYNC109
    message: str = ...,
) -> T: ...
async def eventually(
    check: Callable[[], Any],
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 - it bounds the wait, not one call
    message: str = "",
) -> Any:
    """Return the first result of `check` that is true, asking again with growing pauses; it may be async.

    An AssertionError, a `pytest.raises` that saw nothing, an error answer of the API server, and a
    look into what is not there (a LookupError, or what Python raises for a use of None) count as
    "not yet"; any other exception is raised at once. After `timeout` seconds of real time an
    AssertionError shows what was last seen, and names any FakeClock that stands still while a
    coroutine waits for it.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        seen: str
        cause: BaseException | None = None
        try:
            result = check()
            value = await result if inspect.isawaitable(result) else result
            if value:
                return value
            seen = f"the last result was {value!r}"
        except BaseException as error:
            if not _means_not_yet(error):
                raise
            cause, seen = error, f"the last attempt raised {type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise AssertionError(_failure(message, timeout, seen)) from cause
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.6, _LONGEST_PAUSE)


async def remains(check: Callable[[], object], *, period: float = 0.5, message: str = "") -> None:
    """Ask `check` for `period` seconds of real time; an AssertionError shows the first result that was not true."""
    deadline = time.monotonic() + period
    while True:
        result = check()
        value = await result if inspect.isawaitable(result) else result
        if not value:
            raise AssertionError(f"{message or 'it'} did not remain true: the result was {value!r}")
        if time.monotonic() >= deadline:
            return
        await asyncio.sleep(min(0.05, max(0.0, deadline - time.monotonic())))


def _means_not_yet(error: BaseException) -> bool:
    if isinstance(error, TypeError | AttributeError):
        return "NoneType" in str(error)
    pytest = sys.modules.get(
        "pytest"
    )  # its failures are no Exceptions, and one of them is the end of a test's time
    if pytest is not None and isinstance(error, pytest.fail.Exception):
        return "DID NOT RAISE" in str(error)
    return isinstance(error, AssertionError | ClusterError | LookupError)


def _failure(message: str, timeout: float, seen: str) -> str:
    lines = [f"{message or 'it'} did not become true within {timeout:g} s: {seen}"]
    lines += [f"{clock!r} does not move: advance() it in the test" for clock in standing_clocks()]
    return "\n".join(lines)
