from __future__ import annotations

import enum
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.models import (
    CoreV1Event,
    EventsV1Event,
    V1ConfigMap,
    V1Container,
    V1Deployment,
    V1EnvVar,
    V1Lease,
    V1LeaseSpec,
    V1Namespace,
    V1ObjectMeta,
    V1Pod,
    V1PodSpec,
    V1PodTemplateSpec,
    V1Secret,
)
from pydantic import BaseModel, Field

from operatorkit.conditions import Condition, set_condition
from operatorkit.errors import DefinitionError, InvalidObject
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import (
    Duration,
    IntOrString,
    Model,
    NoSpec,
    NoStatus,
    Nullable,
    ObjectMeta,
    OwnerReference,
    Quantity,
    Resource,
    Time,
    api_resource_of,
    read,
    write,
)


class Color(enum.StrEnum):
    RED = "red"


class Storage(Model):
    size: Quantity = "1Gi"
    class_name: str | None = Field(None, alias="class")


class PostgresSpec(Model):
    replicas: Annotated[int, Field(ge=1)] = 1
    color: Color = Color.RED
    storage: Storage = Storage()
    wait: Duration = timedelta(minutes=5)
    port: IntOrString = 80
    until: Time | None = None
    zone: Annotated[str | None, Nullable()] = None
    template: V1PodTemplateSpec | None = None
    env: list[V1EnvVar] = []
    by_name: dict[str, V1Container] = {}


class PostgresStatus(Model):
    phase: str | None = None
    conditions: list[Condition] = []


class Postgres(Resource[PostgresSpec, PostgresStatus], group="db.example.io", version="v1"):
    """A PostgreSQL server."""


def stored(**parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": "db.example.io/v1",
        "kind": "Postgres",
        "metadata": {"name": "main", "namespace": "team"},
        **parts,
    }


def test_a_resource_knows_what_it_is() -> None:
    assert Postgres.api_version == "db.example.io/v1"
    assert Postgres.kind == "Postgres"
    assert Postgres.api_resource() == ApiResource("db.example.io", "v1", "Postgres", "postgreses", namespaced=True)
    assert Postgres.read(stored()).key == ObjectKey("team", "main")


def test_absent_spec_and_status_are_made_from_defaults_and_not_written() -> None:
    pg = Postgres.read(stored())
    assert pg.spec.replicas == 1
    assert pg.status.conditions == []
    assert pg.write() == stored()


def test_a_status_with_required_fields_is_none_until_it_is_there() -> None:
    class Strict(Model):
        phase: str

    class Thing(Resource[NoSpec, Strict], group="x.example.io", version="v1"):
        pass

    obj = {"apiVersion": "x.example.io/v1", "kind": "Thing", "metadata": {"name": "a"}}
    thing = Thing.read(obj)
    assert thing.status is None
    assert thing.write() == obj
    thing.status = Strict(phase="Ready")
    assert thing.write()["status"] == {"phase": "Ready"}


def test_only_what_was_set_or_changed_is_written() -> None:
    pg = Postgres(metadata=ObjectMeta(name="a", namespace="b"), spec=PostgresSpec(replicas=2))
    assert pg.write() == {
        "apiVersion": "db.example.io/v1",
        "kind": "Postgres",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"replicas": 2},
    }
    pg.spec.storage.size = "2Gi"
    pg.metadata.labels["a"] = "b"
    set_condition(pg.status.conditions, "Ready", True, "Issued", now=datetime(2026, 1, 2, tzinfo=UTC))
    written = pg.write()
    assert written["spec"] == {"replicas": 2, "storage": {"size": "2Gi"}}
    assert written["metadata"]["labels"] == {"a": "b"}
    assert written["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


def test_a_default_that_was_set_by_hand_is_written() -> None:
    assert PostgresSpec(replicas=1).model_fields_set == {"replicas"}
    pg = Postgres(metadata=ObjectMeta(name="a"), spec=PostgresSpec(replicas=1))
    assert pg.write()["spec"] == {"replicas": 1}


def test_none_is_not_written_unless_null_means_something() -> None:
    pg = Postgres(metadata=ObjectMeta(name="a"), spec=PostgresSpec(until=None, zone=None))
    assert pg.write()["spec"] == {"zone": None}


def test_values_are_written_as_kubernetes_writes_them() -> None:
    spec = PostgresSpec(
        color=Color.RED,
        wait=timedelta(hours=1, minutes=30),
        port="http",
        until=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        storage=Storage(size="500Mi", class_name="fast"),
    )
    assert Postgres(metadata=ObjectMeta(name="a"), spec=spec).write()["spec"] == {
        "color": "red",
        "wait": "1h30m0s",
        "port": "http",
        "until": "2026-01-02T03:04:05Z",
        "storage": {"size": "500Mi", "class": "fast"},
    }


def test_a_moment_without_a_time_zone_is_not_written() -> None:
    pg = Postgres(metadata=ObjectMeta(name="a"), spec=PostgresSpec(until=datetime(2026, 1, 2)))  # noqa: DTZ001
    with pytest.raises(InvalidObject, match="no time zone"):
        pg.write()


def test_a_value_of_a_wrong_type_is_not_written() -> None:
    pg = Postgres.read(stored())
    pg.status.phase = 5  # type: ignore[assignment]
    with pytest.raises(InvalidObject, match=r"Postgres team/main cannot be written: phase: expected str, found 5"):
        pg.write()


def test_fields_of_a_newer_version_survive() -> None:
    obj = stored(
        spec={
            "future": {"deep": [None, {"x": 1}]},
            "storage": {"size": "1Gi", "tier": "gold"},
            "template": {
                "spec": {
                    "containers": [{"name": "x", "resources": {"limits": {"cpu": "1"}}, "newField": {"a": None}}],
                    "newer": True,
                }
            },
            "env": [{"name": "A", "value": "b", "secret": {"x": 1}}],
            "byName": {"main": {"name": "m", "extra": 1}},
        },
        status={"phase": "Ready", "more": 1},
        data={"x": 1},
    )
    obj["metadata"]["managedFields"] = [{"manager": "x", "fieldsV1": {"f:spec": {}}}]
    pg = Postgres.read(obj)
    assert pg.write() == obj
    assert pg.spec.template is not None
    assert isinstance(pg.spec.template, V1PodTemplateSpec)
    assert pg.spec.env[0].value == "b"
    assert pg.spec.by_name["main"].name == "m"


def test_a_quantity_may_be_a_number() -> None:
    spec = {
        "storage": {"size": 5},
        "template": {"spec": {"containers": [{"name": "x", "resources": {"limits": {"cpu": 1}}}]}},
    }
    pg = Postgres.read(stored(spec=spec))
    assert pg.spec.storage.size == "5"
    assert pg.spec.template is not None
    assert pg.spec.template.spec.containers[0].resources.limits == {"cpu": "1"}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (stored(spec={"replicas": "many"}), "Postgres team/main cannot be read: spec.replicas: .*found 'many'"),
        (stored(spec={"replicas": 0}), "spec.replicas: .*greater than or equal to 1, found 0"),
        (
            stored(spec={"template": {"spec": "no"}}),
            "Postgres team/main cannot be read: spec.template.spec: .*found 'no'",
        ),
        (stored(spec={"env": [{"name": {}}]}), r"spec.env.0.name: .*found \{\}"),
        (stored(spec=5), "spec: .*found 5"),
        (stored(kind="Other"), "team/main is a Other.v1.db.example.io, not a Postgres.v1.db.example.io"),
        ({"kind": "Postgres", "apiVersion": "db.example.io/v2"}, "an object without a name is a Postgres.v2"),
    ],
)
def test_an_object_that_cannot_be_decoded_is_named_with_field_and_value(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidObject, match=message):
        Postgres.read(obj)


def test_a_reading_does_not_change_what_was_read() -> None:
    obj = stored(spec={"template": {"spec": {"containers": [{"name": "x", "new": [1]}]}}})
    pg = read(Postgres, obj)
    pg.metadata.labels["a"] = "b"
    assert pg.spec.template is not None
    pg.spec.template.spec.containers[0].name = "y"
    assert obj == stored(spec={"template": {"spec": {"containers": [{"name": "x", "new": [1]}]}}})


def test_metadata_has_its_parts() -> None:
    metadata = {
        "name": "a",
        "namespace": "b",
        "uid": "u",
        "generation": 3,
        "resourceVersion": "7",
        "finalizers": ["x/y"],
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "deletionTimestamp": "2026-01-02T03:04:06Z",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "q", "controller": True}],
    }
    obj = Postgres.read({**stored(), "metadata": metadata})
    assert obj.metadata.generation == 3
    assert obj.metadata.deletion_timestamp == datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
    owner = OwnerReference(api_version="v1", kind="Pod", name="p", uid="q", controller=True)
    assert obj.metadata.owner_references == [owner]
    assert obj.write()["metadata"] == metadata


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (V1Deployment, ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True)),
        (V1Namespace, ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)),
        (CoreV1Event, ApiResource("", "v1", "Event", "events", namespaced=True)),
        (EventsV1Event, ApiResource("events.k8s.io", "v1", "Event", "events", namespaced=True)),
        (Postgres, ApiResource("db.example.io", "v1", "Postgres", "postgreses", namespaced=True)),
    ],
)
def test_a_class_is_enough_to_know_how_a_kind_is_served(model: type[Any], expected: ApiResource) -> None:
    assert api_resource_of(model) == expected


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (V1PodSpec, "V1PodSpec is not a kind"),
        (dict, "'dict' is not a kind"),
        (Resource, "Resource has no group"),
    ],
)
def test_what_is_no_kind_is_rejected(type_: type[Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        api_resource_of(type_)


def test_official_models_are_written_by_their_names_in_json_with_their_kind() -> None:
    secret = V1Secret(metadata=V1ObjectMeta(name="a", labels={"x": "y"}), string_data={"k": "v"}, type=None)
    assert write(secret) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "stringData": {"k": "v"},
    }


def test_official_models_keep_what_they_do_not_know() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"containers": [{"name": "x", "newer": {"y": None}}]},
        "also": [1],
    }
    pod = read(V1Pod, obj)
    assert isinstance(pod, V1Pod)
    assert pod.spec.containers[0].name == "x"
    assert write(pod) == obj


def test_a_misspelt_field_is_rejected_where_a_piece_is_made() -> None:
    with pytest.raises(TypeError, match="PostgresSpec has no field 'replcas': did you mean 'replicas'"):
        PostgresSpec(replcas=3)
    assert Storage(**{"class": "fast"}).class_name == "fast"
    assert PostgresSpec.model_validate({"replcas": 3}).model_extra == {"replcas": 3}
    assert PostgresSpec(replicas=3).model_copy(deep=True).replicas == 3


def test_an_official_object_that_cannot_be_decoded_is_named() -> None:
    with pytest.raises(InvalidObject, match=r"n/p: V1Pod cannot be read: spec.containers: .*found 'none'"):
        read(V1Pod, {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": "none"}})


def test_micro_times_have_six_digits_and_times_none() -> None:
    lease = V1Lease(
        metadata=V1ObjectMeta(name="l", creation_timestamp=datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)),
        spec=V1LeaseSpec(renew_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    )
    written = write(lease)
    assert written["spec"]["renewTime"] == "2026-01-02T03:04:05.000000Z"
    assert written["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"


def test_a_dictionary_is_written_as_it_is() -> None:
    obj = {"apiVersion": "v1", "kind": "X", "spec": {"a": None}}
    assert write(obj) == obj
    assert write(obj) is not obj


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(max_size=5), below, max_size=3)),
    max_leaves=8,
)
UNKNOWN = st.dictionaries(st.text(min_size=1, max_size=6).map(lambda name: f"x{name}"), JSON, max_size=3)


@given(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
def test_unknown_fields_survive_at_every_level(
    top: dict[str, Any], spec: dict[str, Any], metadata: dict[str, Any], container: dict[str, Any]
) -> None:
    template = {"spec": {"containers": [{"name": "x", **container}]}}
    obj = {
        **top,
        **stored(spec={"template": template, **spec}),
        "metadata": {"name": "a", **metadata},
    }
    assert Postgres.read(obj).write() == obj


@given(UNKNOWN, UNKNOWN)
def test_unknown_fields_of_official_objects_survive(top: dict[str, Any], data: dict[str, Any]) -> None:
    obj = {**top, "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **data}}
    assert write(read(V1ConfigMap, obj)) == obj


def define(source: str) -> None:
    names = {
        "Resource": Resource,
        "Model": Model,
        "NoSpec": NoSpec,
        "NoStatus": NoStatus,
        "BaseModel": BaseModel,
        "PostgresSpec": PostgresSpec,
        "PostgresStatus": PostgresStatus,
        "Any": Any,
    }
    exec(source, names)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            'class A(Resource[NoSpec, NoStatus], group="x.io", version="v1", scop="Cluster"): ...',
            "A: scop= .*mean scope=",
        ),
        ('class A(Resource[NoSpec, NoStatus], version="v1"): ...', "A: group='' is not a domain name"),
        ('class A(Resource[NoSpec, NoStatus], group="x", version="v1"): ...', "A: group='x' is not a domain name"),
        ('class A(Resource[NoSpec, NoStatus], group="a.k8s.io", version="v1"): ...', "belongs to Kubernetes"),
        ('class A(Resource[NoSpec, NoStatus], group="x.io"): ...', "A: version='' is not a version"),
        ('class a(Resource[NoSpec, NoStatus], group="x.io", version="v1"): ...', "'a' is not a kind"),
        ('class A(Resource[NoSpec, NoStatus], group="x.io", version="v1", scope="Global"): ...', "scope='Global'"),
        (
            'class A(Resource[NoSpec, NoStatus], group="x.io", version="v1", short_names=["A B"]): ...',
            "short_names has",
        ),
        (
            'class A(Resource[int, NoStatus], group="x.io", version="v1"): ...',
            "the type of its spec, int, is not a model",
        ),
        ('class A(Resource, group="x.io", version="v1"): ...', "A: the types of spec and status are missing"),
        (
            'class S(BaseModel): ...\nclass A(Resource[S, NoStatus], group="x.io", version="v1"): ...',
            "the type of its spec, S, is not a model: derive it from operatorkit.Model, or write operatorkit.resource.NoS",
        ),
        (
            'class A(Resource[NoSpec, NoStatus], group="x.io", version="v1"):\n    metadata: str',
            "A: metadata is reserved for Kubernetes",
        ),
        (
            'class S(Model):\n    a_b: int = 0\n    aB: int = 0\nclass A(Resource[S, NoStatus], group="x.io", version="v1"): ...',
            "A, field spec: two fields of S are aB in JSON: rename aB, or the other one",
        ),
    ],
)
def test_a_wrong_class_is_rejected_when_it_is_defined(source: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        define(source)


def test_importing_resources_loads_neither_kopf_nor_the_official_client() -> None:
    code = "import sys, operatorkit.resource; print([m for m in ('kopf', 'kubernetes', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
