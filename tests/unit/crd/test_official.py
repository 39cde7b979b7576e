"""The models of the official client are read and written without loss, all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes.client.models as models
import pytest

from operatorkit.crd import official
from operatorkit.crd._builtin import _names
from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.crd.served import resources_by_model
from operatorkit.names import ApiResource

MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "500m",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "http",
    MICRO_TIME: "2026-01-02T03:04:05.000006Z",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "2026-01-02T03:04:05Z",
}
SCALARS = {"integer": 5, "boolean": True, "number": 1.5, None: {"y": 1}}


def sample(schema: dict[str, Any], *, newer: bool, inside: tuple[str, ...] = ()) -> Any:
    """Return a value with every field of a schema set and, if `newer`, with a field that it does not know."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF_PREFIX)
        if name in inside:
            return None
        return SPECIAL.get(name) or sample(definitions()[name], newer=newer, inside=(*inside, name))
    kind = schema.get("type")
    if "properties" in schema:
        fields = {key: sample(child, newer=newer, inside=inside) for key, child in schema["properties"].items()}
        known = {key: value for key, value in fields.items() if value is not None}
        return {**known, "newerField": {"a": [None, 1]}} if newer else known
    if kind == "array":
        item = sample(schema["items"], newer=newer, inside=inside)
        return None if item is None else [item]
    if kind == "object":
        values = schema.get("additionalProperties")
        value = sample(values, newer=newer, inside=inside) if values else {"x": None}
        return None if value is None else {"k": value}
    if kind == "string":
        return "YQ==" if schema.get("format") == "byte" else schema.get("enum", ["x"])[0]
    return SCALARS[kind]


DEFINITIONS = {(kind.group, kind.version, kind.kind): name for kind, name in kinds().items()}
STABLE = {
    model: DEFINITIONS[resource.group, resource.version, resource.kind]
    for model, resource in resources_by_model().items()
    if (resource.group, resource.version, resource.kind) in DEFINITIONS
}


@pytest.mark.parametrize("newer", [False, True], ids=["same release", "newer release"])
@pytest.mark.parametrize("model", sorted(STABLE))
def test_an_object_with_every_field_survives(model: str, newer: bool) -> None:
    obj = sample(definitions()[STABLE[model]], newer=newer)
    assert official.plain(official.read(getattr(models, model), obj)) == obj


def required_containers(schema: dict[str, Any], inside: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all required lists and maps below a schema, outside of lists."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF_PREFIX)
        return [] if name in inside or name in SPECIAL else required_containers(definitions()[name], (*inside, name))
    found: list[tuple[str, ...]] = []
    for key, child in schema.get("properties", {}).items():
        is_container = child.get("type") == "array" or "additionalProperties" in child
        if key in schema.get("required", ()) and is_container:
            found.append((key,))
        found += [(key, *path) for path in required_containers(child, inside)]
    return found


NULLS = [(model, path) for model, name in sorted(STABLE.items()) for path in required_containers(definitions()[name])]


@pytest.mark.parametrize(("model", "path"), NULLS, ids=[f"{model}.{'.'.join(path)}" for model, path in NULLS])
def test_a_required_list_that_is_served_as_null_is_read_as_empty(model: str, path: tuple[str, ...]) -> None:
    """Go writes a nil slice or map of a required field as null: the drivers of a CSINode, for one."""
    obj = sample(definitions()[STABLE[model]], newer=False)
    where = obj
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = None
    written = official.plain(official.read(getattr(models, model), obj))
    for key in path[:-1]:
        written = written[key]
    assert not written[path[-1]]


def test_the_drivers_of_a_node_may_be_null() -> None:
    assert ("V1CSINode", ("spec", "drivers")) in NULLS
    node = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "n"}, "spec": {"drivers": None}}
    assert official.read(models.V1CSINode, node).spec.drivers == []


def test_most_kinds_were_tried() -> None:
    assert len(STABLE) > 60


def test_the_fields_that_are_micro_times_are_those_of_kubernetes() -> None:
    found = set()
    by_definition = {definition: model for model, definition in _names().items() if hasattr(models, model)}
    for name, definition in definitions().items():
        for key, child in definition.get("properties", {}).items():
            if child.get("$ref", "").endswith(MICRO_TIME) and name in by_definition:
                model = getattr(models, by_definition[name])
                found.add((model.__name__, official._keys(model)[key]))
    assert found <= official._MICRO_TIMES
    assert ("V1LeaseSpec", "renew_time") in found


def test_kinds_are_served_as_a_real_server_says() -> None:
    lines = (Path(__file__).parent / "discovery.txt").read_text().splitlines()
    discovered = set()
    for group_version, kind, plural, scope in map(str.split, lines):
        group, _, version = group_version.rpartition("/")
        discovered.add(ApiResource(group, version, kind, plural, namespaced=scope == "namespaced"))
    own = {resource for resource in resources_by_model().values() if re.fullmatch(r"v\d+", resource.version)}
    assert own <= discovered
    assert {"Pod", "Deployment", "Lease", "CustomResourceDefinition", "Role"} <= {resource.kind for resource in own}
