"""Random histories of a PetSet: a share of those of `make soak`, and whether they find bugs that were planted."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
from soak.petset_histories import live

import operatorkit.revisions
import operatorkit.rollout
import operators.petset.plan

STEPS = 20_000
PARTS = 4


def first_wrong(steps: int, *, first: int = 0) -> str:
    """Live through histories until one ends wrong; return what was wrong, or "" after that many steps."""
    done, seed = 0, first
    while done < steps:
        verdict = live(seed)
        if verdict.wrong:
            return verdict.report()
        done, seed = done + verdict.steps, seed + 1
    return ""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_set_keeps_its_promises_whatever_happens_to_it(part: int) -> None:
    wrong = first_wrong(STEPS // PARTS, first=part * 10_000)
    assert not wrong, wrong


PLAN, ROLLOUT, REVISIONS = operators.petset.plan, operatorkit.rollout, operatorkit.revisions
BUGS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "OrderedReady does not wait": (PLAN._create, "if waits and draft.ordered", "if waits and False"),
    "scaling down goes up": (PLAN._scale_down, "in reversed(condemned)", "in condemned"),
    "the budget is one too large": (ROLLOUT.decide, "- len(unavailable)", "- len(unavailable) + 1"),
    "the repair takes a member that was ready": (
        PLAN._is_stuck,
        "(not member.ready and member.never_ready)",
        "not member.ready",
    ),
    "a Strict name is freed while containers run": (PLAN._unprotect, "(member.releasable or lenient)", "True"),
    "the partition is ignored": (ROLLOUT.decide, "if unit.rank >= policy.partition and unit.exists", "if unit.exists"),
    "a stuck member is not repaired while creation waits": (
        PLAN.plan,
        "if blocked:\n        _repair(draft, decision)",
        "if blocked:\n        pass",
    ),
    "deletion begins with the lowest": (PLAN._remove_all, "reverse=True", "reverse=False"),
    "a pause is ignored": (ROLLOUT.decide, "if policy.paused", "if False"),
    "a template that is back is not renumbered": (
        REVISIONS.record,
        "if match.number == highest",
        "if match.number <= highest and False",
    ),
    "a member that has ended is kept": (PLAN._keep_one, "if member.finished", "if False"),
    "Recreate does not wait for members that are terminating": (PLAN._recreate, "if member.terminating", "if False"),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_within_the_share(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, right, wrong = BUGS[bug]
    source = inspect.getsource(function)
    assert source.count(right) == 1, f"the line of the bug {bug!r} has changed: {right}"
    module, made = inspect.getmodule(function), {}
    exec(compile(source.replace(right, wrong), f"<{bug}>", "exec", flags=annotations.compiler_flag), vars(module), made)
    changed = made[function.__name__]
    places = [each for name, each in sys.modules.items() if name.startswith(("operators.petset", "soak."))]
    for place in (module, *places):
        if getattr(place, function.__name__, None) is function:
            monkeypatch.setattr(place, function.__name__, changed)
    assert first_wrong(STEPS)
