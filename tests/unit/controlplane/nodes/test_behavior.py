from __future__ import annotations

from datetime import timedelta

import pytest

from operatorkit.controlplane.nodes.behavior import ANNOTATION, Behavior, behavior_of


def _pod(text: str | None) -> dict[str, object]:
    return {"metadata": {"name": "p", "annotations": None if text is None else {ANNOTATION: text}}}


@pytest.mark.parametrize(
    ("text", "behavior"),
    [
        (None, Behavior()),
        ("", Behavior()),
        ("runs", Behavior("runs")),
        ("crash-loop", Behavior("crash-loop")),
        ("slow-start=1m30s", Behavior("slow-start", timedelta(seconds=90))),
    ],
)
def test_the_annotation_says_how_a_pod_behaves(text: str | None, behavior: Behavior) -> None:
    assert behavior_of(_pod(text)) == behavior


@pytest.mark.parametrize("text", ["sulk", "slow-start", "crash-loop=1s", "Runs", "slow-start=soon", "slow-start="])
def test_what_is_no_behavior_is_named_with_the_annotation(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^annotation {ANNOTATION}: ") as raised:
        behavior_of(_pod(text))
    assert "write" in str(raised.value)
