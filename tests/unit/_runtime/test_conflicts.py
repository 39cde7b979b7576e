"""Who changes what an operator sets, and which field, as managedFields tell it."""

from __future__ import annotations

import pytest

from operatorkit._runtime.budget import Written
from operatorkit._runtime.conflicts import conflicts, undone
from operatorkit.names import ApiResource, ObjectKey


def entry(manager, fields, operation="Update", time="2026-01-01T00:00:00Z"):
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields}


def live(*entries, **content):
    return {"metadata": {"name": "a", "managedFields": [*entries]}, **content}


PORT = 'k:{"port":80,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("body", "found", "expected"),
    [
        pytest.param(
            {"data": {"a": "1", "b": "2"}},
            live(
                entry("me", {"f:data": {"f:b": {}}}, "Apply"),
                entry("helm", {"f:data": {"f:a": {}}}),
                data={"a": "x", "b": "2"},
            ),
            ("helm", ["data.a"]),
            id="a value of a map",
        ),
        pytest.param(
            {"data": {"a.b/c": "1"}},
            live(entry("helm", {"f:data": {"f:a.b/c": {}}}), data={"a.b/c": "x"}),
            ("helm", ["data[a.b/c]"]),
            id="a name with dots",
        ),
        pytest.param(
            {"spec": {"ports": [{"port": 80, "name": "web"}]}},
            live(
                entry("helm", {"f:spec": {"f:ports": {PORT: {"f:name": {}}}}}),
                spec={"ports": [{"port": 80, "protocol": "TCP", "name": "other"}]},
            ),
            ("helm", ["spec.ports[port=80,protocol=TCP].name"]),
            id="an item of a list map",
        ),
        pytest.param(
            {"spec": {"args": ["a"]}},
            live(entry("helm", {"f:spec": {"f:args": {}}}), spec={"args": ["b"]}),
            ("helm", ["spec.args"]),
            id="a list as a whole",
        ),
        pytest.param(
            {"data": {"a": "1"}},
            live(
                entry("old", {"f:x": {}}, time="2026-01-01T00:00:00Z"),
                entry("eraser", {"f:y": {}}, time="2026-01-02T00:00:00Z"),
                data={},
            ),
            ("eraser", ["data.a"]),
            id="a value that was removed is missed by whoever wrote last",
        ),
        pytest.param({"data": {"a": "1"}}, live(data={"a": "2"}), ("", ["data.a"]), id="nobody is named"),
        pytest.param(
            {"data": {"a": "1"}}, live(entry("helm", {"f:data": {"f:a": {}}}), data={"a": "1"}), None, id="they agree"
        ),
    ],
)
def test_the_other_manager_and_its_fields_are_found(body, found, expected):
    assert conflicts(body, found, "me") == expected


def test_what_the_server_wrote_in_its_own_way_is_not_undone():
    sent = {"spec": {"cpu": "1000m", "items": [{"name": "b", "cpu": "1000m"}]}}
    answer = live(spec={"cpu": "1", "items": [{"name": "a"}, {"name": "b", "cpu": "1"}], "more": 1})
    written = Written(ApiResource("", "v1", "Pod", "pods", namespaced=True), ObjectKey("n", "a"), sent, answer)
    assert not undone(written, answer)
    assert undone(written, None)
    assert undone(written, live(spec={"cpu": "2", "items": [{"name": "b", "cpu": "1"}]}))
    assert undone(written, live(spec={"cpu": "1", "items": [{"name": "b", "cpu": "2"}]}))
