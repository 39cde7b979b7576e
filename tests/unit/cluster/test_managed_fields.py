"""Which entries of managedFields are handed over, and what the list is then."""

from __future__ import annotations

import pytest

from operatorkit.cluster.managed_fields import CLIENT_SIDE_APPLY, handed_over

FORMER = {"me", CLIENT_SIDE_APPLY}
FINALIZERS = {"f:finalizers": {".": {}, 'v:"example.io/x"': {}}}


def entry(manager, fields, operation="Update", version="v1", **more):
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": version,
        "time": "2026-01-02T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


OWN = entry("me", {"f:data": {"f:a": {}}}, "Apply", time="2026-01-01T00:00:00Z")
OTHER = entry("somebody", {"f:data": {"f:z": {}}})


def hand_over(*entries):
    return handed_over(entries, manager="me", former=FORMER, api_version="v1")


def test_the_fields_of_former_managers_are_joined_with_our_own_and_others_stay_as_they_are():
    client, update = (entry(name, {"f:data": {f"f:{name[0]}": {}}}) for name in (CLIENT_SIDE_APPLY, "me"))
    joined = {**OWN, "fieldsV1": {"f:data": {"f:a": {}, "f:k": {}, "f:m": {}}}}
    assert hand_over(client, OWN, OTHER, update) == [OTHER, joined]


def test_without_an_entry_of_our_own_one_is_made_with_the_time_of_the_latest():
    client = entry(CLIENT_SIDE_APPLY, {"f:data": {"f:a": {}}})
    assert hand_over(OTHER, client) == [OTHER, entry("me", {"f:data": {"f:a": {}}}, "Apply")]


def test_finalizers_stay_where_they_are():
    mixed = entry("me", {"f:metadata": {**FINALIZERS, "f:labels": {"f:a": {}}}})
    rest = {**mixed, "fieldsV1": {"f:metadata": FINALIZERS}}
    assert hand_over(mixed) == [rest, entry("me", {"f:metadata": {"f:labels": {"f:a": {}}}}, "Apply")]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([OWN, OTHER], id="there is nothing to hand over"),
        pytest.param([entry("me", {"f:metadata": FINALIZERS})], id="finalizers only"),
        pytest.param([entry("me", {"f:status": {"f:a": {}}}, subresource="status")], id="a subresource"),
        pytest.param([entry("me", {"f:data": {"f:a": {}}}, version="v2")], id="fields of another version"),
        pytest.param(
            [entry("me", {"f:data": {}}), {**OWN, "apiVersion": "v2"}], id="our own are those of another version"
        ),
    ],
)
def test_nothing_is_changed_where(entries):
    assert hand_over(*entries) is None
