from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from kubernetes.client.models import V1PodTemplateSpec
from pydantic import Field

from operatorkit import DefinitionError, Model, Resource, Rule
from operatorkit.crd.text import cel_name
from operatorkit.resource import (
    Embedded,
    IntOrString,
    NoStatus,
    PreserveUnknown,
    at_most_one_of,
    exactly_one_of,
)


class Part(Model):
    port: int = 80
    name: str = ""


class Spec(Model):
    size: int = 1
    name: str = ""
    namespace: str = ""
    dashed: Annotated[str, Field(alias="a-b")] = ""
    part: Part = Part()
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    free: Annotated[dict[str, Any], PreserveUnknown()] = {}
    anything: Any = None
    whole: Annotated[dict[str, Any], Embedded()] = {}
    either: IntOrString = 1
    template: V1PodTemplateSpec | None = None


def define(*rules: Rule, on: str = "root") -> type[Resource[Any, Any]]:
    spec: type[Model] = Spec
    if on == "spec":
        spec = type("Ruled", (Spec,), {"__module__": __name__, "class_rules": rules})
    options = {"rules": rules} if on == "root" else {}
    made: type[Resource[Any, Any]] = type(
        "Thing", (Resource[spec, NoStatus],), {"__module__": __name__}, group="x.example.io", version="v1", **options
    )
    made.crd()
    return made


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("self.spec.nope > 1", "names self.spec.nope, and there is no 'nope' among size, name"),
        ("has(self.spec.nope)", "self.spec.nope"),
        ("self.spec.part.nope == 1", "there is no 'nope' among port, name"),
        ("!has(self.spec.size) || self . spec . nope > 1", "self.spec.nope"),
        ("self.spec.by_name['a'].port > 1", "there is no 'by_name'"),
        ("self.spec.byName.a.nope > 1", "there is no 'nope' among port, name"),
        ("self.spec.name.first == 'a'", "'first' is looked for in a value of type string, which has no fields"),
        ("self.spec.parts.port == 1", "'port' is looked for in a value of type array"),
        ("self.metadata.labels.size() == 1", "there is no 'labels' among name, generateName"),
        ("self.spec.size == oldSelf.spec.nope", "oldSelf.spec.nope"),
        ("self.spec.namespace == ''", "there is no 'namespace' among"),
        ("self.status.ready", "there is no 'status'"),
        ("self.spec.template.nope == 1", "there is no 'nope' among metadata, spec"),
        ("self.spec.whole.metadata.labels == 1", "there is no 'labels' among name, generateName"),
    ],
)
def test_a_rule_on_a_field_that_is_not_there_is_rejected(rule: str, found: str) -> None:
    with pytest.raises(DefinitionError, match=r"Thing: a rule on the whole object names") as caught:
        define(Rule(rule, message="m"))
    assert found in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        "self.spec.size > 1 && self.metadata.name.startsWith('a') && self.kind == 'Thing'",
        "self.spec.name.size() > 1 && self.spec.parts.all(p, p.nope == 1)",
        "self.spec.parts.all(self, self.nope == 1)",
        "self.spec.parts.all(i, self, self.nope == i)",
        "self.spec.name != 'self.spec.nope' && self.spec.name != \"self.nope\" // self.spec.nope",
        r"self.spec.name.matches(r'\self.nope') && self.spec.name != '''self.nope'''",
        "self.spec.free.whatever == 1 && self.spec.anything.whatever == 1 && self.spec.whole.spec.whatever == 1",
        "self.spec.byName.a.port > 1 && self.spec.byName['nope'].port > 1",
        "self.spec.__namespace__ != '' && self.spec.a__dash__b != ''",
        "self.spec.?nope.orValue(1) == 1 && type(self.spec.either) == int",
        "myself.spec.nope == 1 || x.self.nope == 1",
        "self.spec.template.spec.containers.size() > 0",
        "self.spec.whole.metadata.name != '' && self.spec.whole.kind != ''",
        "self.spec == oldSelf.spec",
    ],
)
def test_a_rule_that_may_be_valid_is_taken(rule: str) -> None:
    define(Rule(rule, message="m"))


def test_the_value_of_an_optional_old_self_is_not_looked_into() -> None:
    define(Rule("oldSelf.orValue(self).spec.size == 1", message="m", optional_old_self=True))
    define(Rule("oldSelf.hasValue() && oldSelf.value().spec.size == 1", message="m", optional_old_self=True))


def test_messages_and_field_paths_are_looked_up_too() -> None:
    define(Rule("self.size > 1", message_expression="'not ' + string(self.size)", field_path=".part.port"), on="spec")
    with pytest.raises(DefinitionError, match=r"a rule on spec names self\.nope"):
        define(Rule("self.size > 1", message_expression="string(self.nope)"), on="spec")
    with pytest.raises(DefinitionError, match=r"fieldPath: Invalid value: \"\.part\.nope\""):
        define(Rule("self.size > 1", message="m", field_path=".part.nope"), on="spec")


def test_rules_on_items_and_values_are_found_where_they_stand() -> None:
    class Item(Model):
        class_rules = (Rule("self.nope > 1", message="m"),)
        port: int = 1

    class Items(Model):
        items: list[Item] = []

    with pytest.raises(DefinitionError, match=r"a rule on spec\.items\[\] names self\.nope"):

        class Thing(Resource[Items, NoStatus], group="x.example.io", version="v1"): ...


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("size", "size"),
        ("namespace", "__namespace__"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("__x", "__underscores__x"),
    ],
)
def test_names_are_escaped_as_cel_has_them(name: str, escaped: str) -> None:
    assert cel_name(name) == escaped


def test_rules_that_are_made_for_authors_escape_names() -> None:
    assert "has(self.__namespace__)" in exactly_one_of("namespace", "size").rule
    assert "has(self.a__dash__b)" in at_most_one_of("a-b", "size").rule

    class First(Model):
        type: Literal["first"]
        namespace: str

    class Second(Model):
        type: Literal["second"]

    class Union(Model):
        one: Annotated[First | Second, Field(discriminator="type")]

    class Thing(Resource[Union, NoStatus], group="x.example.io", version="v1"): ...

    rules = Thing.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["one"]
    assert all("self.namespace" not in rule["rule"] for rule in rules["x-kubernetes-validations"])
