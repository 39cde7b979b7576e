"""The manifest of a kind, and the options that are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from kubernetes.client.models import V1PodTemplateSpec

from operatorkit.crd.definition import by_kind, plural_of
from operatorkit.crd.render import render
from operatorkit.errors import DefinitionError
from operatorkit.resource import Model, NoSpec, NoStatus, PrinterColumn, Resource, Rule, Scale


class PoolSpec(Model):
    replicas: int = 1
    color: str


class PoolStatus(Model):
    replicas: int | None = None
    selector: str | None = None


class Pool(
    Resource[PoolSpec, PoolStatus],
    group="x.example.io",
    version="v1beta1",
    short_names=["po"],
    categories=["all"],
    printer_columns=[
        PrinterColumn("Color", ".spec.color", description="Paint."),
        PrinterColumn("Age", ".metadata.creationTimestamp", type="date", priority=1),
    ],
    scale=Scale(label_selector_path=".status.selector"),
    rules=[Rule("self.metadata.name != 'none'", message="choose a name")],
    selectable_fields=[".spec.color"],
    deprecated="use v1",
):
    """A pool of things."""


class Note(Resource[NoSpec, NoStatus], group="x.example.io", version="v1", scope="Cluster", plural="notices"):
    text: str
    tags: list[str] = []


def test_a_manifest_says_all_that_the_class_says() -> None:
    manifest = Pool.crd()
    assert manifest["metadata"] == {"name": "pools.x.example.io"}
    assert manifest["spec"]["names"] == {
        "kind": "Pool",
        "listKind": "PoolList",
        "plural": "pools",
        "singular": "pool",
        "shortNames": ["po"],
        "categories": ["all"],
    }
    (version,) = manifest["spec"]["versions"]
    schema = version.pop("schema")["openAPIV3Schema"]
    assert version == {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "deprecated": True,
        "deprecationWarning": "use v1",
        "additionalPrinterColumns": [
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "description": "Paint."},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    }
    assert schema["description"] == "A pool of things."
    assert schema["required"] == ["spec"]
    assert schema["x-kubernetes-validations"][0]["message"] == "choose a name"
    assert schema["properties"]["metadata"] == {"type": "object"}


def test_a_kind_without_spec_and_status_has_fields_of_its_own() -> None:
    spec = Note.crd()["spec"]
    assert spec["scope"] == "Cluster"
    assert spec["names"]["plural"] == "notices"
    (version,) = spec["versions"]
    assert "subresources" not in version
    schema = version["schema"]["openAPIV3Schema"]
    assert list(schema["properties"]) == ["apiVersion", "kind", "metadata", "text", "tags"]
    assert schema["required"] == ["text"]
    note = Note.read({"apiVersion": "x.example.io/v1", "kind": "Note", "metadata": {"name": "a"}, "text": "hi"})
    assert note.text == "hi"
    assert "spec" not in note.write()


def test_yaml_is_stable_and_says_the_same() -> None:
    manifests = [Pool.crd(), Note.crd()]
    text = render(manifests)
    assert text == render([Pool.crd(), Note.crd()])
    assert list(yaml.safe_load_all(text)) == manifests
    assert "&id" not in text


def test_texts_of_several_lines_are_written_as_blocks() -> None:
    assert render([{"a": "one\ntwo\n"}]) == "---\na: |\n  one\n  two\n"


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Postgres", "postgreses"), ("Policy", "policies"), ("Gateway", "gateways"), ("Box", "boxes"),
        ("Batch", "batches"), ("Pod", "pods"), ("Y", "ys"),
    ],
)  # fmt: skip
def test_a_plural_is_english(kind: str, plural: str) -> None:
    assert plural_of(kind) == plural


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"printer_columns": [PrinterColumn("A", "spec.a")]},
            "printer column 'A' has json_path='spec.a': start it with a dot",
        ),
        ({"printer_columns": [PrinterColumn("A", ".a", type="str")]}, "is of type 'str': did you mean 'string'"),  # type: ignore[arg-type]
        ({"printer_columns": [PrinterColumn("", ".a")]}, "a printer column has no name"),
        (
            {"scale": Scale(spec_replicas_path=".status.replicas")},
            "spec_replicas_path='.status.replicas': give a path below",
        ),
        ({"scale": Scale(label_selector_path="selector")}, "label_selector_path='selector'"),
        ({"selectable_fields": ["spec.color"]}, "selectable_fields has 'spec.color'"),
        ({"selectable_fields": [".metadata.name"]}, "not of metadata"),
        ({"selectable_fields": [f".spec.f{at}" for at in range(9)]}, "too many selectable_fields: 8 is the maximum"),
        ({"deprecated": "x" * 257}, "the warning in deprecated= is too long"),
        ({"plural": "Pools"}, "plural has 'Pools'"),
        ({"version": "1"}, "version='1' is not a version"),
        ({"categories": ["All"]}, "categories has 'All'"),
        ({"rules": [Rule("")]}, "Bad: a rule is empty"),
    ],
)
def test_an_option_that_a_server_would_reject_is_rejected(options: dict[str, Any], message: str) -> None:
    given = {"group": "x.example.io", "version": "v1", **options}
    with pytest.raises(DefinitionError, match=message):
        type(Resource)("Bad", (Resource[PoolSpec, PoolStatus],), {"__module__": __name__}, **given)


def version_of(name: str, **options: Any) -> dict[str, Any]:
    given = {"group": "x.example.io", "version": name, "kind": "Pool", **options}
    kind = type(Resource)("Pool", (Resource[PoolSpec, NoStatus],), {"__module__": __name__}, **given)
    manifest: dict[str, Any] = kind.crd()
    return manifest


def test_the_versions_of_a_kind_are_one_definition() -> None:
    old, new = version_of("v1beta1", storage=False, served=False), version_of("v1")
    (merged,) = by_kind([old, new])
    assert [(version["name"], version["storage"]) for version in merged["spec"]["versions"]] == [
        ("v1beta1", False),
        ("v1", True),
    ]
    assert len(old["spec"]["versions"]) == 1


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ([version_of("v1"), version_of("v2")], "has 2 storage versions of v1, v2: write storage=False"),
        ([version_of("v1", storage=False)], "has 0 storage versions of v1"),
        ([version_of("v1"), version_of("v1", storage=False)], "two classes are version v1 of pools.x.example.io"),
        (
            [version_of("v1"), version_of("v2", storage=False, scope="Cluster")],
            "the classes v1 and v2 are versions of pools.*differ in scope=: v1 has 'Namespaced', v2 has 'Cluster'",
        ),
        (
            [version_of("v1"), version_of("v2", storage=False, short_names=["po"])],
            r"differ in short_names=: v1 has None, v2 has \['po'\]: make them equal",
        ),
    ],
)
def test_versions_that_contradict_each_other_are_rejected(manifests: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        by_kind(manifests)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.nope", "is not a field of the kind"),
        (".spec.tags", "is of type array"),
        (".spec.ratio", "is of type number"),
        (".spec", "is of type object"),
        (".spec.tags.first", "is not a field of the kind"),
        (".spec.template.spec.nope", "is not a field of the kind"),
    ],
)
def test_a_selectable_field_must_be_a_field_that_can_be_selected(path: str, found: str) -> None:
    class Spec(Model):
        color: str = ""
        tags: list[str] = []
        ratio: float = 1.0
        template: V1PodTemplateSpec | None = None

    def define() -> None:
        class Thing(Resource[Spec, NoStatus], group="x.example.io", version="v1", selectable_fields=[path]): ...

        Thing.crd()

    with pytest.raises(DefinitionError, match=rf"Thing: selectable_fields has '{re.escape(path)}', which {found}"):
        define()


def test_fields_of_official_models_can_be_selected() -> None:
    class Spec(Model):
        template: V1PodTemplateSpec | None = None

    path = ".spec.template.spec.nodeName"

    class Thing(Resource[Spec, NoStatus], group="x.example.io", version="v1", selectable_fields=[path]): ...

    assert Thing.crd()["spec"]["versions"][0]["selectableFields"] == [{"jsonPath": path}]


def test_a_field_is_selected_once() -> None:
    with pytest.raises(DefinitionError, match="selectable_fields names a field twice"):

        class Thing(
            Resource[PoolSpec, NoStatus],
            group="x.example.io",
            version="v1",
            selectable_fields=[".spec.color", ".spec.color"],
        ): ...
