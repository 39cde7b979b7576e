from __future__ import annotations

import itertools
from datetime import timedelta

from operatorkit.controlplane.nodes.pods import Attempt


def test_a_failure_is_reported_at_once_and_repeated_ever_more_slowly() -> None:
    attempt, now, reported_at = Attempt(), 0.0, []

    for _ in range(12):
        assert attempt.fail(["gone"], now)
        reported_at.append(now)
        now += attempt.remaining(now).total_seconds()

    gaps = [after - before for before, after in itertools.pairwise(reported_at)]
    assert gaps == [0.5, 1, 2, 4, 8, 16, 32, 64, 122, 122, 122]


def test_a_look_before_the_time_says_nothing() -> None:
    attempt = Attempt()
    assert attempt.fail(["gone"], 10.0)

    assert not attempt.fail(["gone"], 10.4)
    assert attempt.remaining(10.4) <= timedelta(seconds=0.11)
    assert attempt.fail(["gone"], 10.5)


def test_another_problem_is_reported_at_once() -> None:
    attempt = Attempt()
    assert attempt.fail(["secret gone", "configmap gone"], 10.0)

    assert attempt.fail(["configmap gone"], 10.1)
