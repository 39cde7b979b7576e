"""A small share of the inputs with one wrong byte, the same places in each run; `make soak` tries many more."""

from __future__ import annotations

import logging

import pytest
from soak import mutants


@pytest.mark.parametrize("kind", mutants.KINDS)
async def test_whatever_one_byte_makes_of_an_input_has_a_name(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)  # the official package logs the plugins that it cannot run
    outcome = await mutants.try_all(kind, count=100, seed=1)
    assert outcome.wrong == []
    assert sum(outcome.counts.values()) == 100
    assert len(outcome.counts) > 1
