"""CEL expressions of gates: what they see, and what becomes of those that fail."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from operators.petset import expression
from operators.petset.expression import ExpressionError, evaluate_expression, expression_error, uses

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PODS = [{"metadata": {"name": f"web-{number}"}, "status": {"phase": "Running"}} for number in range(300)]
VARIABLES = {"object": {"spec": {"replicas": 3}}, "pod": PODS[1], "pods": PODS, "now": NOW}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pod.metadata.name == 'web-1'", True),
        ("pods.filter(p, p.status.phase == 'Running').size() == object.spec.replicas", False),
        ("now - timestamp('2026-01-01T00:00:00Z') >= duration('24h')", True),
        ("has(pod.metadata.labels) && pod.metadata.labels.app == 'web'", False),
        ("pod.metadata.name.matches('^web-[0-9]+$')", True),
    ],
)
def test_an_expression_sees_the_set_its_pods_and_the_time(text, value):
    assert evaluate_expression(text, VARIABLES) is value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pod.metadata.labels.app == 'web'", "labels"),
        ("pod.metadata.name", "is of type STRING, and must be true or false"),
        ("pods.all(a, pods.all(b, pods.all(c, true)))", "Iteration budget exceeded"),
    ],
)
def test_an_expression_that_fails_says_why(text, said):
    with pytest.raises(ExpressionError, match=said):
        evaluate_expression(text, VARIABLES)


def test_without_the_extra_an_expression_is_rejected_with_the_remedy(monkeypatch):
    expression._compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    assert "operatorkit[petset]" in (expression_error("true") or "")


def test_pods_are_written_only_where_an_expression_reads_them():
    assert uses("pods.size() > 2", "pods")
    assert not uses("pod.metadata.name == 'podsy'", "pods")
