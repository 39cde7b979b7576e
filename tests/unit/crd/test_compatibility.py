from __future__ import annotations

import copy
from typing import Any

import pytest

from operatorkit.crd.compatibility import losses, summary

KEEP = {"x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
ANY_NUMBER = {"x-kubernetes-int-or-string": True}


STORED = "objects may be stored in this version (status.storedVersions): migrate them before it is removed"


def definition(spec: dict[str, Any], **version: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": spec}}
    return {
        "spec": {
            "scope": "Namespaced",
            "names": {"kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}} | version
            ],
        }
    }


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        (obj(a=TEXT), obj(a=TEXT, b=TEXT), []),
        (obj(a=TEXT, b=TEXT), obj(a=TEXT), ["v1: spec.b: the field is removed"]),
        (obj(a=obj(b=TEXT)), obj(a=obj()), ["v1: spec.a.b: the field is removed"]),
        (obj(a={"type": "array", "items": obj(b=TEXT)}), obj(a={"type": "array", "items": obj()}), ["v1: spec.a[].b:"]),
        (obj(a=TEXT), {"type": "object", **KEEP}, []),
        (obj(a=TEXT), KEEP, []),
        ({"type": "object", **KEEP}, obj(a=TEXT), ["v1: spec: fields that the schema does not name are no longer"]),
        ({"type": "object", "additionalProperties": TEXT}, obj(a=TEXT), ["v1: spec: a map of any keys becomes"]),
        ({"type": "object", "additionalProperties": obj(a=TEXT)}, {"type": "object", "additionalProperties": obj()},
         ["v1: spec{}.a: the field is removed"]),
        (obj(a=TEXT), {"type": "object", "additionalProperties": TEXT}, []),
        (obj(a=TEXT), {"type": "object", "additionalProperties": NUMBER}, ["v1: spec.a: string becomes integer"]),
        (obj(a=TEXT), obj(a=NUMBER), ["v1: spec.a: string becomes integer"]),
        (obj(a=NUMBER), obj(a={"type": "number"}), []),
        (obj(a=NUMBER), obj(a=ANY_NUMBER), []),
        (obj(a=ANY_NUMBER), obj(a=NUMBER), ["v1: spec.a: int-or-string becomes integer"]),
        (obj(a=KEEP), obj(a=TEXT), ["v1: spec.a: any value becomes string"]),
    ],
)  # fmt: skip
def test_what_a_schema_loses_is_named_by_its_path(old: Any, new: Any, lost: list[str]) -> None:
    found = [str(loss) for loss in losses(definition(old), definition(new))]
    assert len(found) == len(lost)
    assert all(text.startswith(start) for text, start in zip(found, lost, strict=True)), found


def test_what_a_kind_loses_is_named() -> None:
    old = definition(obj(), subresources={"status": {}, "scale": {}})
    old["spec"]["versions"].append({"name": "v1alpha1", "served": True, "storage": False})
    old["status"] = {"storedVersions": ["v1alpha1", "v1"]}
    new = copy.deepcopy(definition(obj(), served=False, subresources={"status": {}}))
    new["spec"] |= {"scope": "Cluster", "names": {"kind": "Other"}}
    assert [str(loss) for loss in losses(old, new)] == [
        "kind: Thing becomes Other",
        "scope: Namespaced becomes Cluster",
        "v1: the subresource scale is removed",
        "v1: the version is no longer served",
        f"v1alpha1: {STORED}",
        "v1alpha1: the version is removed",
    ]


def test_a_definition_loses_nothing_to_itself() -> None:
    old = definition(obj(a=obj(b={"type": "object", "additionalProperties": TEXT}), c=KEEP, d=ANY_NUMBER))
    assert losses(old, copy.deepcopy(old)) == []


def test_of_very_many_losses_the_first_are_listed_and_the_rest_counted() -> None:
    old = definition(obj(**{f"f{number:03}": TEXT for number in range(50)}))
    lines = summary(losses(old, definition(obj()))).splitlines()
    assert len(lines) == 21
    assert lines[0] == "  v1: spec.f000: the field is removed: its values are pruned at the next write of each object"
    assert lines[-1] == "  and 30 more"
