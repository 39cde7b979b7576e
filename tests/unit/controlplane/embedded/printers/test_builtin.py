from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operatorkit.controlplane.embedded.printers.ages import age, human_duration
from operatorkit.controlplane.embedded.printers.builtin import builtin_columns
from operatorkit.controlplane.embedded.scheme.resources import builtin_resources
from operatorkit.names import GroupVersionKind

# What a kube-apiserver 1.36.3 answered; tests/real/record_cells.py records it anew.
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("cells.json").read_text())
AGES = {"Age", "Last Seen", "First Seen", "Duration", "Last Schedule"}


@pytest.mark.parametrize("row", RECORDED, ids=[f"{at}-{it['object']['kind']}" for at, it in enumerate(RECORDED)])
def test_a_row_shows_what_a_real_server_shows(row):
    obj = row["object"]
    columns = builtin_columns(GroupVersionKind.of(obj["apiVersion"], obj["kind"]))
    names = [it["name"] for it in columns.definitions]
    # The clocks of two machines differ by moments: fresh objects are a second old on one of them.
    cells = dict(zip(names, columns.cells(obj, datetime.fromisoformat(row["now"])), strict=True))
    wanted = dict(zip(names, row["cells"], strict=True))
    if wanted.get("Age") in {"0s", "1s"}:
        assert cells.pop("Age") in {"0s", "1s"}
        wanted.pop("Age")
    assert cells == wanted
    assert columns.conditions(obj) == row["conditions"]


def test_every_kind_that_can_be_listed_has_columns():
    listed = [it for it in builtin_resources() if "list" in it.verbs]
    assert [it.gvk for it in listed if builtin_columns(it.gvk) is None] == []
    assert builtin_columns(GroupVersionKind("example.com", "v1", "Pod")) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (7 * 3600 + 59 * 60, "7h59m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations_are_written_with_two_or_three_digits(seconds, text):
    assert human_duration(timedelta(seconds=seconds)) == text


def test_what_never_happened_has_no_age():
    assert age(None, datetime(2026, 1, 1, tzinfo=UTC)) == "<unknown>"
