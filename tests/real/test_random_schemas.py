"""Random schemas and values: Structural and a real kube-apiserver say the same about each.

A failure prints schema and value: add them to tests/unit/crd/schema_cases.py when it is mended.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from operatorkit.controlplane.real import RealControlPlane, find
from operatorkit.crd import FieldError, Structural
from operatorkit.testing import eventually
from operatorkit.testing.user import Answer, User

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        find() is None,
        reason="no programs of a real control plane: set KUBEBUILDER_ASSETS, or make test-real where Go is",
    ),
]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TRASH = [None, 1, 0, -1, 2.5, 1.0, "a", "ab", "", True, [], {}, ["a"], {"a": 1}, 1234567.5, 1e7]
TYPED = {
    "integer": [-2, -1, 0, 1, 2, 3, 4, 1.0, 2.0, 1.5, 2**31, 10**7],
    "number": [-1, 0, 0.5, 1, 1.5, 2, 0.3, 3, 1e7, 2.75],
    "string": ["", "a", "b", "ab", "abc", "abcd", "2026-01-02", "10.0.0.1", "1h", "YQ=="],
    "boolean": [True, False],
}
KEYWORDS = {
    "integer": {
        "minimum": [-1, 0, 1, 0.5], "maximum": [0, 1, 2.5, 1e6], "multipleOf": [1, 2, 0.5], "enum": [[1, 2], [0, 3]],
        "format": ["int32", "int64", "double", "date"], "nullable": [True],
    },
    "number": {
        "minimum": [0, 0.5, 3], "maximum": [1, 2.5, 1e7], "multipleOf": [0.1, 0.25, 2], "enum": [[1.5, 2]],
        "format": ["float", "int64"], "nullable": [True], "exclusiveMinimum": [True],
    },
    "string": {
        "minLength": [0, 1, 3], "maxLength": [0, 1, 3], "pattern": ["^a", "b$", "^[a-c]*$", "(?i)A"],
        "format": ["date", "uuid", "ipv4", "duration", "hostname", "byte", "uri"], "enum": [["a", "ab"], [""]],
        "nullable": [True],
    },
    "boolean": {"nullable": [True], "enum": [[True]]},
}  # fmt: skip
WRONG = {
    "type": ["null", "", "map"], "items": [{}], "uniqueItems": [True], "default": [5, "x", {}], "pattern": ["["],
    "additionalProperties": [False, {"type": "string"}], "x-kubernetes-list-type": ["set", "map", "bag"],
    "x-kubernetes-map-type": ["atomic", "bag"], "x-kubernetes-list-map-keys": [["a"]], "nullable": [True],
    "x-kubernetes-int-or-string": [True], "x-kubernetes-embedded-resource": [True],
    "x-kubernetes-preserve-unknown-fields": [True, False], "anyOf": [[{"type": "string"}], [{"title": "x"}]],
    "not": [{"properties": {"zz": {}}}, {"items": {}}], "$ref": ["#/x"], "required": [["zz"]],
}  # fmt: skip


def some_schema(chance: random.Random, depth: int) -> dict[str, Any]:
    schema = some_leaf(chance) if depth == 0 or chance.random() < 0.35 else some_container(chance, depth)
    if "type" in schema and chance.random() < 0.4:
        composition = chance.choice(["anyOf", "oneOf", "allOf"])
        schema[composition] = [some_restriction(chance, schema) for _ in range(chance.randint(1, 3))]
    if "type" in schema and chance.random() < 0.1:
        schema["not"] = some_restriction(chance, schema)
    return schema


def some_leaf(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice([*TYPED, "any", "either"])
    if kind == "any":
        return {"x-kubernetes-preserve-unknown-fields": True}
    if kind == "either":
        return {"x-kubernetes-int-or-string": True}
    chosen = {word: chance.choice(values) for word, values in KEYWORDS[kind].items() if chance.random() < 0.3}
    return {"type": kind, **chosen}


def some_container(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.choice(["object", "object", "list", "map"])
    if kind == "list":
        schema = {"type": "array", "items": some_schema(chance, depth - 1), "maxItems": chance.randint(1, 3)}
        scalar = schema["items"].get("type") in TYPED and not schema["items"].get("nullable")
        return schema | ({"x-kubernetes-list-type": "set"} if scalar and chance.random() < 0.4 else {})
    if kind == "map":
        return {"type": "object", "additionalProperties": some_schema(chance, depth - 1)}
    names = chance.sample("abcd", chance.randint(1, 3))
    properties = {name: some_schema(chance, depth - 1) for name in names}
    return {"type": "object", "properties": properties, "required": chance.sample(names, chance.randint(0, 1))}


def some_restriction(chance: random.Random, schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind in TYPED:
        return {
            word: chance.choice(values)
            for word, values in KEYWORDS[kind].items()
            if word not in {"nullable", "format"} and chance.random() < 0.4
        }
    if kind == "array":
        return chance.choice([{"minItems": 1}, {"maxItems": 1}, {"items": some_restriction(chance, schema["items"])}])
    if not schema.get("properties"):
        return {"minProperties": 1}
    name = chance.choice(list(schema["properties"]))
    nested = {"properties": {name: some_restriction(chance, schema["properties"][name])}}
    return chance.choice([{"required": [name]}, nested, {**nested, "required": [name]}, {"maxProperties": 1}])


def some_value(chance: random.Random, schema: dict[str, Any]) -> Any:
    if chance.random() < 0.12:
        return chance.choice(TRASH)
    kind = schema.get("type")
    if kind in TYPED:
        return chance.choice(TYPED[kind])
    if kind == "array":
        return [some_value(chance, schema["items"]) for _ in range(chance.randint(0, 3))]
    if kind is None:
        return chance.choice([1, "x", {"z": 1}, [None], 1.5])
    if "additionalProperties" in schema:
        keys = chance.sample(["k", "l", "m.n"], chance.randint(0, 2))
        return {key: some_value(chance, schema["additionalProperties"]) for key in keys}
    return {name: some_value(chance, each) for name, each in schema["properties"].items() if chance.random() < 0.7}


def break_somewhere(chance: random.Random, schema: dict[str, Any]) -> None:
    """Put a keyword that may be wrong there into the schema, at some depth."""
    below = [each for key in ("items", "additionalProperties", "not") if isinstance(each := schema.get(key), dict)]
    below += list(schema.get("properties", {}).values()) + [
        each for key in ("anyOf", "allOf") for each in schema.get(key, [])
    ]
    if below and chance.random() < 0.6:
        break_somewhere(chance, chance.choice(below))
        return
    word = chance.choice(list(WRONG))
    schema[word] = copy.deepcopy(chance.choice(WRONG[word]))


def with_spec(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def crd(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.random.example.io"},
        "spec": {
            "group": "random.example.io",
            "names": {"kind": kind, "plural": plural},
            "scope": "Cluster",
            "versions": [version],
        },
    }


def reported(errors: list[FieldError]) -> list[list[str]]:
    return sorted([error.path, error.reason, error.message] for error in errors)


def answered(answer: Answer) -> list[list[str]]:
    if answer.status < 300:
        return []
    causes = answer.json.get("details", {}).get("causes")
    assert causes, answer.text
    return sorted([cause["field"], cause["reason"], cause["message"]] for cause in causes)


@pytest.fixture(scope="module")
def admin() -> Iterator[User]:
    with RealControlPlane() as controlplane:
        yield User.of(controlplane)


@pytest.mark.parametrize("seed", range(2))
async def test_values_are_evaluated_alike(admin: User, seed: int) -> None:
    chance = random.Random(seed)
    fields = {f"f{at}": some_schema(chance, 3) for at in range(60)}
    kind = f"Value{seed}"
    assert admin.request("POST", CRDS, crd(kind, with_spec(fields))).status == 201
    path = f"/apis/random.example.io/v1/{kind.lower()}s"
    await eventually(lambda: admin.request("GET", path).status == 200)
    differences = []
    for name, schema in fields.items():
        evaluate = Structural(with_spec({name: schema}))
        for _ in range(5):
            value = some_value(chance, schema)
            obj = {"apiVersion": "random.example.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {name: value}}
            theirs = answered(admin.request("POST", f"{path}?dryRun=All", obj))
            own = reported(evaluate.validate(evaluate.prune(evaluate.default(copy.deepcopy(obj)))))
            if own != theirs:
                differences.append((json.dumps(schema), json.dumps(value), own, theirs))
    assert differences == []


@pytest.mark.parametrize("seed", range(2))
def test_broken_schemas_are_rejected_alike(admin: User, seed: int) -> None:
    chance = random.Random(seed + 100)
    differences = []
    for _ in range(100):
        schema = some_schema(chance, 2)
        break_somewhere(chance, schema)
        whole = with_spec({"x": schema})
        answer = admin.request("POST", f"{CRDS}?dryRun=All", crd("Broken", whole))
        if answer.status == 400:  # it could not be read at all
            continue
        own, theirs = reported(Structural(whole).check()), answered(answer)
        if own != theirs:
            differences.append((json.dumps(schema), own, theirs))
    assert differences == []
