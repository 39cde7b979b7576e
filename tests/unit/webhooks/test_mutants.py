"""A few one-byte mutants of reviews, the same in each run; `make soak` sends as many others as one likes."""

from __future__ import annotations

import asyncio

from soak import reviews


async def test_a_review_with_one_wrong_byte_is_a_named_error_or_a_verdict_and_never_wrongly_allowed():
    found = await asyncio.to_thread(reviews.run, range(1_000))
    assert found.wrong == []
    assert found.outcomes["allowed"] > 50
    assert found.outcomes["denied Forbidden"] > 50
    assert found.outcomes["HTTP 400 BadRequest"] > 200
