"""What each Python type becomes in a custom resource definition, and what is refused."""

from __future__ import annotations

import enum
import ipaddress
import itertools
import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import pytest
from kubernetes.client.models import V1Container, V1JobTemplateSpec, V1PodTemplateSpec, V1ResourceRequirements, V1Secret
from pydantic import AnyUrl, Base64Bytes, BaseModel, Field, StringConstraints

from operatorkit.conditions import Condition
from operatorkit.crd import Structural
from operatorkit.errors import DefinitionError
from operatorkit.resource import (
    Atomic,
    Duration,
    Embedded,
    IntOrString,
    LabelSelector,
    ListMap,
    ListSet,
    Model,
    NoStatus,
    Nullable,
    ObjectMeta,
    PreserveUnknown,
    Quantity,
    Resource,
    Rule,
    Time,
    at_most_one_of,
    exactly_one_of,
    immutable,
)

T = TypeVar("T")


def spec_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """Return the schema of a spec with one field `x` of this type."""
    namespace = {"__annotations__": {"x": annotation}, "__module__": __name__}
    if default is not ...:
        namespace["x"] = default
    spec = type(Model)("Spec", (Model,), namespace)
    kind = type(Resource)("Thing", (Resource[spec, NoStatus],), {"__module__": __name__}, group="x.io", version="v1")
    schema = kind.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert Structural(schema).check() == []
    return schema["properties"]["spec"]


def schema_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    return spec_of(annotation, default)["properties"]["x"]


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Port(Model):
    """A port."""

    name: str
    number: int = 80


ANY = {"x-kubernetes-preserve-unknown-fields": True}
INT = {"type": "integer", "format": "int64"}
STR = {"type": "string"}
PORT = {
    "description": "A port.",
    "type": "object",
    "properties": {"name": STR, "number": {**INT, "default": 80}},
    "required": ["name"],
}
EITHER = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, {"type": "boolean"}),
        (int, INT),
        (float, {"type": "number"}),
        (str, STR),
        (Any, ANY),
        (datetime, {**STR, "format": "date-time"}),
        (Time, {**STR, "format": "date-time"}),
        (date, {**STR, "format": "date"}),
        (uuid.UUID, {**STR, "format": "uuid"}),
        (ipaddress.IPv4Address, {**STR, "format": "ipv4"}),
        (ipaddress.IPv6Address, {**STR, "format": "ipv6"}),
        (ipaddress.IPv4Network, {**STR, "format": "cidr"}),
        (AnyUrl, {**STR, "format": "uri"}),
        (Base64Bytes, {**STR, "format": "byte"}),
        (Color, {**STR, "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Literal["a", "b"], {**STR, "enum": ["a", "b"]}),
        (Literal["a"] | Color, {**STR, "enum": ["a", "red", "blue"]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (int | str, EITHER),
        (IntOrString, EITHER),
        (int | float, {"type": "number"}),
        (str | None, STR),
        (Annotated[str | None, Nullable()], {**STR, "nullable": True}),
        (list[str], {"type": "array", "items": STR}),
        (Sequence[int], {"type": "array", "items": INT}),
        (list[list[int]], {"type": "array", "items": {"type": "array", "items": INT}}),
        (dict[str, str], {"type": "object", "additionalProperties": STR}),
        (Mapping[str, list[int]], {"type": "object", "additionalProperties": {"type": "array", "items": INT}}),
        (dict[str, Any], {"type": "object", **ANY}),
        (dict, {"type": "object", **ANY}),
        (Annotated[dict[str, str], PreserveUnknown()], {"type": "object", **ANY}),
        (Annotated[dict[str, Any], Embedded()], {"type": "object", "x-kubernetes-embedded-resource": True, **ANY}),
        (Port, PORT),
        (list[Port], {"type": "array", "items": PORT}),
        (Annotated[Port, PreserveUnknown()], {**PORT, **ANY}),
        (Annotated[int, Field(ge=1, le=5)], {**INT, "minimum": 1, "maximum": 5}),
        (
            Annotated[float, Field(gt=0, lt=1.5, multiple_of=0.5)],
            {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1.5,
                "exclusiveMaximum": True,
                "multipleOf": 0.5,
            },
        ),
        (
            Annotated[str, Field(min_length=1, max_length=5, pattern="^a")],
            {**STR, "minLength": 1, "maxLength": 5, "pattern": "^a"},
        ),
        (Annotated[str, StringConstraints(min_length=2, pattern="b$")], {**STR, "minLength": 2, "pattern": "b$"}),
        (Annotated[int, Field(ge=1)] | None, {**INT, "minimum": 1}),
        (
            Annotated[list[str], Field(min_length=1, max_length=2)],
            {"type": "array", "items": STR, "minItems": 1, "maxItems": 2},
        ),
        (
            Annotated[dict[str, int], Field(max_length=2)],
            {"type": "object", "additionalProperties": INT, "maxProperties": 2},
        ),
        (list[Annotated[str, Field(max_length=3)]], {"type": "array", "items": {**STR, "maxLength": 3}}),
        (Annotated[list[str], ListSet()], {"type": "array", "items": STR, "x-kubernetes-list-type": "set"}),
        (Annotated[list[str], Atomic()], {"type": "array", "items": STR, "x-kubernetes-list-type": "atomic"}),
        (Annotated[Port, Atomic()], {**PORT, "x-kubernetes-map-type": "atomic"}),
        (
            Annotated[list[Port], ListMap("name", "number")],
            {
                "type": "array",
                "items": PORT,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name", "number"],
            },
        ),
        (
            Annotated[str, immutable()],
            {**STR, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        ),
        (
            Annotated[int, Rule("self % 2 == 0", message="must be even", reason="FieldValueInvalid")],
            {
                **INT,
                "x-kubernetes-validations": [
                    {"rule": "self % 2 == 0", "message": "must be even", "reason": "FieldValueInvalid"}
                ],
            },
        ),
        (Annotated[str, Field(json_schema_extra={"format": "hostname"})], {**STR, "format": "hostname"}),
        (Annotated[str, Field(description="What it is.")], {**STR, "description": "What it is."}),
    ],
)
def test_a_type_has_its_schema(annotation: Any, expected: dict[str, Any]) -> None:
    assert schema_of(annotation) == expected


def test_a_duration_and_a_quantity_have_patterns() -> None:
    assert set(schema_of(Duration)) == {"type", "maxLength", "pattern"}
    assert schema_of(Quantity)["x-kubernetes-int-or-string"] is True
    evaluate = Structural({"type": "object", "properties": {"x": schema_of(Quantity), "d": schema_of(Duration)}})
    for good in ("1", 1, "500m", "1.5Gi", "1e3", "-1", ".5"):
        assert evaluate.validate({"x": good}) == []
    for bad in ("1 Gi", "x", "", "1GiB"):
        assert evaluate.validate({"x": bad}) != []
    for good in ("1h", "1h30m0s", "250ms", "1.5h"):
        assert evaluate.validate({"d": good}) == []
    for bad in ("1", "-1h", "1 h", "1d", ""):
        assert evaluate.validate({"d": bad}) != []


def test_a_bound_of_a_duration_is_a_rule() -> None:
    schema = schema_of(Annotated[Duration, Field(ge=timedelta(hours=1), lt=timedelta(days=2))])
    assert schema["x-kubernetes-validations"] == [
        {"rule": "duration(self) >= duration('1h0m0s')", "message": "must be at least 1h0m0s"},
        {"rule": "duration(self) < duration('48h0m0s')", "message": "must be less than 48h0m0s"},
    ]


def test_a_label_selector_is_atomic() -> None:
    schema = schema_of(LabelSelector)
    assert schema["x-kubernetes-map-type"] == "atomic"
    assert list(schema["properties"]) == ["matchLabels", "matchExpressions"]


def test_conditions_are_a_map_by_their_type() -> None:
    schema = schema_of(list[Condition])
    assert schema["x-kubernetes-list-type"] == "map"
    assert schema["x-kubernetes-list-map-keys"] == ["type"]
    assert set(schema["items"]["required"]) == {"type", "status", "lastTransitionTime", "reason", "message"}


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int, 3, 3),
        (int, 0, 0),
        (bool, False, False),
        (str, "a", "a"),
        (str, "", None),
        (str | None, None, None),
        (list[str], [], None),
        (list[str], ["a"], ["a"]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Color, Color.BLUE, "blue"),
        (Duration, timedelta(minutes=90), "1h30m0s"),
        (IntOrString, "25%", "25%"),
        (Port | None, Port(name="http"), {"name": "http"}),
        (list[Port], [Port(name="a", number=1)], [{"name": "a", "number": 1}]),
    ],
)
def test_a_default_is_written_unless_it_is_empty(annotation: Any, default: Any, expected: Any) -> None:
    spec = spec_of(annotation, default)
    assert spec["properties"]["x"].get("default") == expected
    assert "required" not in spec


class Sizes(Model):
    low: int = 1
    high: int = 2


class CheckedSizes(Sizes):
    class_rules = (Rule("self.low <= self.high"),)


def test_defaults_inside_of_an_absent_object_take_effect() -> None:
    assert schema_of(Sizes, Sizes())["default"] == {}
    assert spec_of(Sizes, Sizes())["default"] == {}


def test_a_default_is_complete_where_a_rule_looks_at_it() -> None:
    assert schema_of(CheckedSizes, CheckedSizes())["default"] == {"low": 1, "high": 2}
    assert spec_of(CheckedSizes, CheckedSizes())["default"] == {"x": {"low": 1, "high": 2}}


class S3(Model):
    type: Literal["s3"]
    bucket: str
    region: str | None = None


class Disk(Model):
    class_rules = (Rule("self.path.startsWith('/')", message="must be absolute"),)

    type: Literal["disk", "ssd"]
    path: str
    region: str | None = None


def test_models_that_a_field_distinguishes_become_one_object_with_rules() -> None:
    schema = schema_of(Annotated[S3 | Disk, Field(discriminator="type")])
    assert schema["properties"] == {
        "type": {"type": "string", "enum": ["s3", "disk", "ssd"]},
        "bucket": STR,
        "region": STR,
        "path": STR,
    }
    assert schema["required"] == ["type"]
    assert [rule["rule"] for rule in schema["x-kubernetes-validations"]] == [
        "!has(self.bucket) || self.type == 's3'",
        "has(self.bucket) || !(self.type == 's3')",
        "!has(self.path) || self.type == 'disk' || self.type == 'ssd'",
        "has(self.path) || !(self.type == 'disk' || self.type == 'ssd')",
        "self.type != 'disk' || (self.path.startsWith('/'))",
        "self.type != 'ssd' || (self.path.startsWith('/'))",
    ]
    assert schema_of(Annotated[S3 | Disk, Field(discriminator="type")] | None, None) == schema


class Tape(Model):
    type: Literal["tape"]
    path: str


def test_what_all_models_of_a_union_require_is_required_and_needs_no_rule() -> None:
    schema = schema_of(Annotated[Disk | Tape, Field(discriminator="type")])
    assert schema["required"] == ["type", "path"]
    assert not any(rule["rule"].startswith("has(self.path)") for rule in schema["x-kubernetes-validations"])


def test_models_of_a_union_agree_about_common_fields() -> None:
    class Cloud(Model):
        type: Literal["cloud"]
        path: int

    with pytest.raises(DefinitionError, match="the field path is not the same in all models of the union"):
        schema_of(Annotated[Disk | Cloud, Field(discriminator="type")])


def test_class_rules_stand_on_the_object() -> None:
    class Ranged(Model):
        class_rules = (exactly_one_of("a", "b"), at_most_one_of("c", "d"), Rule("true", field_path=".a"))

        a: str | None = None
        b: str | None = None
        c: str | None = None
        d: str | None = None

    rules = schema_of(Ranged)["x-kubernetes-validations"]
    assert rules[0] == {
        "rule": "[has(self.a), has(self.b)].filter(set, set).size() == 1",
        "message": "exactly one of a, b must be set",
    }
    assert rules[1]["rule"].endswith("<= 1")
    assert rules[2] == {"rule": "true", "fieldPath": ".a"}


def test_descriptions_come_from_docstrings() -> None:
    class Described(Model):
        """What the spec is."""

        a: int
        """What a is.

        More about it.
        """
        b: Port
        c: Port
        """Another port."""

    schema = schema_of(Described)
    assert schema["description"] == "What the spec is."
    assert schema["properties"]["a"]["description"] == "What a is.\n\nMore about it."
    assert schema["properties"]["b"]["description"] == "A port."
    assert schema["properties"]["c"]["description"] == "Another port."


class Tree(Model):
    children: list[Tree] = []


class Plain(BaseModel):
    a: int


class Box(Model, Generic[T]):
    item: T


def test_generic_models_are_models() -> None:
    assert schema_of(Box[int]) == {"type": "object", "properties": {"item": INT}, "required": ["item"]}


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (tuple[int, str], r"Thing, field spec\.x: tuple\[int, str\] cannot be in a custom resource: use list"),
        (set[str], r"ListSet\(\)"),
        (frozenset[str], r"ListSet\(\)"),
        (timedelta, "use operatorkit.resource.Duration"),
        (Decimal, "use operatorkit.resource.Quantity"),
        (bytes, "use pydantic.Base64Bytes"),
        (list, "has no item type"),
        (dict[int, str], "has keys that are not str"),
        (S3 | Disk, r"the union S3 \| Disk has no structural schema: .*discriminator"),
        (int | bool | str, "has no structural schema"),
        (Literal["a", 1], "are of several types"),
        (Tree, r"field spec\.x\.children\[\]: Tree contains itself"),
        (Plain, r"Plain is a plain pydantic model.*class Plain\(Model\)"),
        (
            Annotated[str, Field(pattern="^(?=a)")],
            r"Spec, field x: the pattern '\^\(\?=a\)' .*RE2, which has no look-around",
        ),
        (Annotated[int, ListSet()], "ListSet is set on something that is not a list"),
        (Annotated[list[Port], ListSet()], "ListSet is set on a list of objects"),
        (Annotated[list[Port], ListMap()], "names no key"),
        (
            Annotated[list[Port], ListMap("label")],
            "ListMap names 'label', which the items do not have: they have name, number",
        ),
        (Annotated[list[S3], ListMap("region")], "the key 'region' of ListMap may be absent"),
        (Annotated[list[str], ListMap("name")], "not a list of objects"),
        (Annotated[str, Atomic()], "Atomic is set on a single value"),
        (Annotated[str, PreserveUnknown()], "PreserveUnknown is set on a value without fields"),
        (Annotated[Port, Embedded()], "Embedded is set on something that is not an object"),
        (Annotated[str, Rule(" ")], "a rule is empty"),
        (Annotated[str, Rule("a ||\nb")], "a rule of several lines has no message"),
        (Annotated[str, Field(ge="a")], "bound >= 'a' is set on something that is not a number"),
        (Box, "was not filled in"),
    ],
)
def test_what_has_no_schema_is_rejected_with_field_and_remedy(annotation: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        schema_of(annotation)


def test_a_default_that_breaks_the_schema_is_rejected() -> None:
    with pytest.raises(DefinitionError, match=r"properties\[x\]\.default: Invalid value: 9: .*less than or equal to 5"):
        schema_of(Annotated[int, Field(le=5)], 9)


def test_a_pod_template_is_a_full_schema_without_descriptions() -> None:
    schema = schema_of(V1PodTemplateSpec)
    containers = schema["properties"]["spec"]["properties"]["containers"]
    ports = containers["items"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"
    assert containers["items"]["properties"]["resources"]["properties"]["limits"]["additionalProperties"]["pattern"]
    assert list(schema["properties"]["metadata"]["properties"]) == [
        "annotations",
        "finalizers",
        "generateName",
        "labels",
        "name",
        "namespace",
    ]
    assert "description" not in json.dumps(schema)


@pytest.mark.parametrize("model", [V1PodTemplateSpec, V1JobTemplateSpec, V1Container, V1ResourceRequirements, V1Secret])
def test_a_definition_with_an_official_model_stays_small(model: type[Any]) -> None:
    assert len(json.dumps(schema_of(model), separators=(",", ":"))) < 200_000


MARKED = {
    "Quantity": Quantity,
    "IntOrString": IntOrString,
    "Duration": Duration,
    "Time": Time,
    "Base64Bytes": Base64Bytes,
    "Nullable": Annotated[Quantity, Nullable()],
    "Rule": Annotated[str, immutable()],
    "ListSet": Annotated[list[str], ListSet()],
    "Field": Annotated[str, Field(max_length=3)],
}


@pytest.mark.parametrize("name", MARKED)
def test_what_carries_a_mark_can_be_optional(name: str) -> None:
    marked = MARKED[name]
    plain = schema_of(marked)
    for annotation in (marked | None, Optional[marked], Union[marked, None]):  # noqa: UP007, UP045 - as people write it
        assert schema_of(annotation, None) == plain
    for container in (list[marked], dict[str, marked]):
        assert schema_of(container | None, None) == schema_of(container)


def test_a_mark_that_cannot_be_hashed_is_no_obstacle_where_python_allows_it() -> None:
    assert schema_of(Annotated[str, ["of", "somebody", "else"]]) == {"type": "string"}
    assert schema_of(list[Annotated[str, {"of": "somebody else"}]])["items"] == {"type": "string"}
    assert schema_of(dict[str, Annotated[V1Container, ["x"]]])["type"] == "object"


def test_a_list_of_keys_is_rejected_by_the_mark() -> None:
    with pytest.raises(DefinitionError, match=r"ListMap\(\['name'\]\): give the names of the fields one by one"):
        ListMap(["name"])  # type: ignore[arg-type]


COUNTER = itertools.count()


@pytest.mark.parametrize(
    ("annotation", "factory", "message"),
    [
        (str, lambda: uuid.uuid4().hex, "field spec.x: its default_factory returns a different value each time"),
        (datetime, lambda: datetime.now(UTC), "returns a different value each time"),
        (date, date.today, "returns a different value each time"),
        (int, lambda: next(COUNTER), "returns a different value each time"),
        (int, lambda values: values["y"], "takes the values of other fields, which a definition cannot express"),
        (int, lambda: {}["missing"], "its default_factory failed (KeyError: 'missing')"),
    ],
)
def test_a_factory_whose_values_differ_is_rejected(annotation: Any, factory: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(message)):
        schema_of(annotation, Field(default_factory=factory))


@pytest.mark.parametrize(
    ("annotation", "factory", "default"),
    [
        (list[str], list, None),
        (dict[str, str], lambda: {"a": "b"}, {"a": "b"}),
        (int, lambda: 7, 7),
        (Duration, lambda: timedelta(minutes=90), "1h30m0s"),
    ],
)
def test_a_factory_that_always_gives_the_same_is_a_default(annotation: Any, factory: Any, default: Any) -> None:
    assert schema_of(annotation, Field(default_factory=factory)).get("default") == default


def test_the_metadata_of_a_template_has_what_a_template_can_say() -> None:
    class Template(Model):
        metadata: ObjectMeta = ObjectMeta()

    schema = schema_of(Template)["properties"]["metadata"]
    names = {"annotations", "finalizers", "generateName", "labels", "name", "namespace"}
    assert set(schema["properties"]) == names
    assert "default" not in schema
    assert not any("default" in child for child in schema["properties"].values())


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (
            Annotated[int, Field(le=2**63 - 1)],
            "the bound <= 9223372036854775807 is a whole number of more than 53 bits",
        ),
        (Annotated[int, Field(le=2**63 - 1)], "such as 9223372036854774784"),
        (Annotated[int, Field(lt=2**63)], "which the API server keeps as 9223372036854775808"),
        (Annotated[int, Field(ge=-(2**63) - 1)], "such as -9223372036854775808"),
        (Annotated[int, Field(le=2**53 + 1)], "which the API server keeps as 9007199254740992"),
        (Annotated[int, Field(ge=-(2**53) - 1)], "such as -9007199254740992"),
        (Annotated[int, Field(le=10**400)], "which no API server can keep"),
        (Annotated[float, Field(le=math.inf)], "the bound <= inf is not a number in JSON"),
    ],
)
def test_a_bound_that_an_api_server_cannot_hold_is_rejected(annotation: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(message)):
        schema_of(annotation, 1)


@pytest.mark.parametrize("bound", [2**53, 2**63 - 1024, -(2**63), 0, -1])
def test_a_bound_that_an_api_server_can_hold_is_taken(bound: int) -> None:
    assert schema_of(Annotated[int, Field(le=bound)])["maximum"] == bound
