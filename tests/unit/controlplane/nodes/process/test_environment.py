from __future__ import annotations

import base64
from typing import Any

import pytest

from operatorkit.controlplane.nodes.process.environment import (
    PodFacts,
    command_line,
    environment,
    expand,
    resource_value,
)
from operatorkit.controlplane.nodes.process.images import Image

FACTS = PodFacts("127.2.1.2", "127.2.1.1", {"cpu": "64", "memory": "256Gi"}, "127.0.0.1", 6443)
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": 'x"y'}},
    "spec": {"containers": [{"name": "main"}]},
}
OBJECTS = {
    ("ConfigMap", "conf"): {"data": {"A": "1", "B": "2"}},
    ("Secret", "keys"): {"data": {"A": base64.b64encode(b"hidden").decode()}},
}


def lookup(kind: str, name: str) -> dict[str, Any] | None:
    return OBJECTS.get((kind, name))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(A", "$(A"),
        ("$A ${A}", "$A ${A}"),
        ("$()", "$()"),
    ],
)
def test_references_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def test_env_goes_before_env_from_and_the_image() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "conf"}}, {"prefix": "S_", "secretRef": {"name": "keys"}}],
        "env": [
            {"name": "B", "value": "own"},
            {"name": "C", "value": "$(A)-$(B)-$(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    }
    image = Image(env={"A": "image", "IMAGE": "i"})
    found = environment(POD, container, image, FACTS, lookup)  # type: ignore[arg-type]
    assert found.items() >= {"A": "1", "B": "own", "S_A": "hidden", "IMAGE": "i"}.items()
    assert found["C"] == "1-own-$(LATER)"
    assert found["KUBERNETES_SERVICE_PORT"] == "6443"


def test_an_optional_reference_that_is_missing_sets_nothing() -> None:
    source = {"configMapKeyRef": {"name": "nowhere", "key": "a", "optional": True}}
    container = {"env": [{"name": "A", "valueFrom": source}]}
    assert "A" not in environment(POD, container, Image(), FACTS, lookup)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resources", "reference", "value"),
    [
        ({"limits": {"cpu": "1500m"}}, {"resource": "limits.cpu"}, "2"),
        ({"limits": {"cpu": "1500m"}}, {"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"requests": {"memory": "1Gi"}}, {"resource": "requests.memory"}, str(1024**3)),
        ({"limits": {"memory": "1G"}}, {"resource": "limits.memory", "divisor": "1Mi"}, "954"),
        ({"limits": {"memory": "1e3"}}, {"resource": "limits.memory"}, "1000"),
        ({}, {"resource": "limits.cpu"}, "64"),
        ({}, {"resource": "requests.cpu"}, "0"),
    ],
)
def test_resources_are_counted_in_divisors_and_rounded_up(
    resources: dict[str, Any], reference: dict[str, str], value: str
) -> None:
    container = {"name": "main", "resources": resources}
    assert resource_value(POD, reference, FACTS, default=container) == value


@pytest.mark.parametrize(
    ("container", "line"),
    [
        ({}, ["server", "--default"]),
        ({"args": ["--own"]}, ["server", "--own"]),
        ({"command": ["other"]}, ["other"]),
        ({"command": ["other", "$(A)"], "args": ["$(B)"]}, ["other", "1", "2"]),
    ],
)
def test_command_and_args_replace_those_of_the_image(container: dict[str, Any], line: list[str]) -> None:
    image = Image(command=("server",), args=("--default",))
    assert command_line(container, image, {"A": "1", "B": "2"}) == line
