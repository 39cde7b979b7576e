"""ControllerRevisions: a history whose entries do not change."""

from __future__ import annotations

import json

import pytest

REVISIONS = "apps/v1/controllerrevisions"
DATA = {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}


def revision(name="r", number=1, **fields):
    return {"metadata": {"name": name, "labels": {"app": "a"}}, "revision": number, "data": DATA, **fields}


async def test_a_revision_keeps_whatever_data_it_is_given(http):
    made = await http.created(
        REVISIONS, revision(data={"kind": "Anything", "a": [1, {"b": None}], "$patch": "replace"})
    )
    assert made["data"] == {"kind": "Anything", "a": [1, {"b": None}], "$patch": "replace"}
    assert made["revision"] == 1
    listed = await http.get(http.path(REVISIONS), query={"labelSelector": "app=a"})
    assert [it["metadata"]["name"] for it in listed.json["items"]] == ["r"]


async def test_a_revision_may_have_another_number_and_no_other_data(http):
    written = json.dumps(revision(), separators=(",", ":"), sort_keys=True).encode()
    # kube-apiserver compares the data's bytes: white space, or another order of keys, would be a change of a patch
    assert (await http.post(http.path(REVISIONS), written)).status == 201
    path = http.path(REVISIONS, "r")
    raised = await http.patch(path, {"revision": 7, "metadata": {"labels": {"c": "d"}}})
    assert (raised.status, raised.json["revision"]) == (200, 7), raised.text
    changed = await http.patch(path, {"data": {"spec": {"x": 1}}})
    assert changed.status == 422
    assert changed.json["message"].startswith('ControllerRevision.apps "r" is invalid: data: Invalid value: {"spec":')
    assert changed.json["message"].endswith(": field is immutable")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"revision": -1}, "revision: Invalid value: -1: must be greater than or equal to 0"),
        ({"data": None}, "data: Required value: data is mandatory"),
        ({"data": "text"}, "data: Required value: data must be a valid JSON object"),
        ({"data": [1]}, "data: Required value: data must be a valid JSON object"),
    ],
)
async def test_a_revision_that_is_none_is_rejected(http, changed, message):
    answer = await http.post(http.path(REVISIONS), {**revision(), **changed})
    assert answer.status == 422, answer.text
    assert answer.json["message"] == f'ControllerRevision.apps "r" is invalid: {message}'
