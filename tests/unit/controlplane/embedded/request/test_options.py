from __future__ import annotations

from typing import Any

import pytest

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.request.options import DeleteOptions, ListOptions, WriteOptions


@pytest.mark.parametrize(
    ("query", "watch", "message"),
    [
        ({"resourceVersionMatch": "Exact"}, False, "is forbidden unless resourceVersion is provided"),
        (
            {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
            False,
            '"exact" is forbidden for resourceVersion "0"',
        ),
        (
            {"resourceVersionMatch": "Nearly", "resourceVersion": "5"},
            False,
            'Unsupported value: "Nearly": supported values: "Exact", "NotOlderThan", ""',
        ),
        ({"sendInitialEvents": "true"}, False, "sendInitialEvents is forbidden for list"),
        ({"sendInitialEvents": "true"}, True, "requires setting resourceVersionMatch to NotOlderThan"),
        ({"resourceVersionMatch": "NotOlderThan"}, True, "forbidden for watch unless sendInitialEvents is provided"),
    ],
)
def test_options_of_lists_that_contradict_each_other_are_rejected(
    query: dict[str, str], watch: bool, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as raised:
        ListOptions.read(query, watch=watch)
    assert (raised.value.code, raised.value.reason) == (422, "Invalid")


@pytest.mark.parametrize(
    ("query", "apply", "message"),
    [
        ({"fieldManager": "x" * 129}, False, "Too long: may not be more than 128 bytes"),
        ({"fieldManager": "é" * 65}, False, "Too long: may not be more than 128 bytes"),
        ({"fieldManager": "é\x07"}, False, r"invalid character U\+0007 \(at position 2\)"),
        ({}, True, "fieldManager: Required value: is required for apply patch"),
        ({"force": "true"}, False, "force: Forbidden: may not be specified for non-apply patch"),
        ({"fieldValidation": "Strictly"}, False, 'Unsupported value: "Strictly"'),
    ],
)
def test_options_of_patches_that_make_no_sense_are_rejected(query: dict[str, str], apply: bool, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        WriteOptions.read(query, (), kind="PatchOptions", apply=apply)


@pytest.mark.parametrize(
    ("query", "agent", "manager"),
    [
        ({"fieldManager": "me"}, "you/1", "me"),
        ({}, "kubectl/v1.36 (linux)", "kubectl"),
        ({}, "a\x07b/1", "ab"),
        ({}, "é" * 70, "é" * 64),
        ({}, "x" + "é" * 70, "x" + "é" * 63),
        ({}, "", "unknown"),
        ({}, "\x07/1", "unknown"),
    ],
)
def test_a_writer_is_known_by_what_it_says_or_by_its_user_agent(
    query: dict[str, str], agent: str, manager: str
) -> None:
    assert WriteOptions.read(query, (), user_agent=agent, kind="CreateOptions").field_manager == manager


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ({}, None, DeleteOptions()),
        ({"gracePeriodSeconds": "0"}, None, DeleteOptions(grace_period_seconds=0)),
        ({"propagationPolicy": "Orphan"}, None, DeleteOptions(propagation="Orphan")),
        ({}, {"orphanDependents": True}, DeleteOptions(propagation="Orphan")),
        ({}, {"orphanDependents": False}, DeleteOptions(propagation="Background")),
        ({"propagationPolicy": "Orphan"}, {"dryRun": ["All"]}, DeleteOptions(dry_run=True)),
        ({}, {"preconditions": {"uid": "u", "resourceVersion": "5"}}, DeleteOptions(uid="u", resource_version="5")),
    ],
)
def test_the_options_of_a_deletion_are_in_its_body_or_else_in_its_query(
    query: dict[str, str], body: Any, expected: DeleteOptions
) -> None:
    assert DeleteOptions.read(query, (), body) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"gracePeriodSeconds": "5"},
        {"preconditions": "u"},
        {"propagationPolicy": "Maybe"},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
        {"dryRun": ["Some"]},
    ],
)
def test_a_deletion_that_makes_no_sense_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as raised:
        DeleteOptions.read({}, (), body)
    assert raised.value.code in {400, 422}
