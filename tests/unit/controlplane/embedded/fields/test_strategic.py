"""Strategic merge patches: what is merged, what is replaced, what goes, and in which order the rest stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.fields.strategic import strategic_merge_patch
from operatorkit.names import GroupVersionKind

POD = GroupVersionKind("", "v1", "Pod")
LIVE: dict[str, Any] = {
    "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}, "finalizers": ["e.io/x", "e.io/y"]},
    "spec": {
        "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1", "args": ["1", "2"]}],
        "hostname": "h",
    },
}


def patched(patch: Any) -> dict[str, Any]:
    before = copy.deepcopy(LIVE)
    result = strategic_merge_patch(POD, LIVE, patch)
    assert before == LIVE, "the arguments stay as they are"
    return result


def containers(*items: dict[str, Any], **directives: Any) -> Any:
    return patched({"spec": {"containers": list(items), **directives}})["spec"]["containers"]


def test_null_removes_a_field_at_any_depth() -> None:
    result = patched({"metadata": {"labels": {"x": None}, "finalizers": None}, "spec": {"hostname": None}})
    assert result["metadata"] == {"name": "a", "labels": {"y": "2"}}
    assert "hostname" not in result["spec"]


def test_items_with_a_key_are_merged_and_other_lists_are_replaced() -> None:
    a, b = containers({"name": "b", "image": "b:2", "args": ["3"]})
    assert a == {"name": "a", "image": "a:1"}
    assert b == {"name": "b", "image": "b:2", "args": ["3"]}


@pytest.mark.parametrize(
    ("item", "names"), [({"name": "a", "$patch": "delete"}, {"b"}), ({"name": "c", "image": "c"}, {"a", "b", "c"})]
)
def test_an_item_is_deleted_by_its_key_and_a_new_one_is_added(item: dict[str, Any], names: set[str]) -> None:
    found = containers(item)
    assert len(found) == len(names)
    assert {it["name"] for it in found} == names


def test_the_order_is_that_of_the_directive() -> None:
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert [it["name"] for it in containers({"name": "b", "image": "b:2"}, **order)] == ["b", "a"]


def test_where_there_was_nothing_neither_nulls_nor_directives_are_stored() -> None:
    items = [{"name": "gone", "$patch": "delete"}, {"name": "i", "image": "i:1", "workingDir": None}]
    result = patched({"spec": {"initContainers": items, "nodeSelector": {"a": "1", "b": None}}})["spec"]
    assert result["initContainers"] == [{"name": "i", "image": "i:1"}]
    assert result["nodeSelector"] == {"a": "1"}


def test_values_are_taken_out_of_a_list_of_texts() -> None:
    result = patched({"metadata": {"$deleteFromPrimitiveList/finalizers": ["e.io/x"]}})
    assert result["metadata"]["finalizers"] == ["e.io/y"]


def test_a_map_is_replaced_or_emptied_where_a_directive_says_so() -> None:
    assert patched({"metadata": {"labels": {"$patch": "replace", "z": "3"}}})["metadata"]["labels"] == {"z": "3"}
    assert patched({"metadata": {"labels": {"$patch": "delete"}}})["metadata"]["labels"] == {}


def test_fields_that_are_not_to_be_retained_go() -> None:
    result = patched({"metadata": {"$retainKeys": ["name", "labels"], "labels": {"x": "9"}}})
    assert result["metadata"] == {"name": "a", "labels": {"x": "9", "y": "2"}}


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ([], 400, "cannot unmarshal array"),
        ({"spec": {"containers": [{"image": "x"}]}}, 500, "does not contain declared merge key: name"),
        ({"metadata": {"$patch": "smash"}}, 500, r"unknown patch type: smash in map: map\[\$patch:smash\]"),
        ({"metadata": {"$retainKeys": "name"}}, 400, "invalid patch format of retainKeys"),
        ({"metadata": {"$retainKeys": ["name"], "labels": {}}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder": []}}, 400, "invalid patch format of setElementOrder list"),
        ({"metadata": {"$deleteFromPrimitiveList/": []}}, 400, "invalid patch format of primitive list"),
    ],
)
def test_a_malformed_patch_is_rejected_as_kubernetes_rejects_it(patch: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        patched(patch)
    assert caught.value.code == code


def test_kinds_that_are_not_built_in_have_no_strategies() -> None:
    with pytest.raises(ApiError, match="unknown format") as caught:
        strategic_merge_patch(GroupVersionKind("example.io", "v1", "Thing"), {}, {})
    assert (caught.value.code, caught.value.reason) == (415, "UnsupportedMediaType")
