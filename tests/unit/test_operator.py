"""Declaring an operator: what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes.client.models import V1ConfigMap, V1Node, V1ObjectMeta, V1Pod, V1Secret

from operatorkit import DefinitionError, Model, Operator, Requeue, Resource, Settings, Watch
from operatorkit.operator import annotations_changed, generation_changed, labels_changed
from operatorkit.resource import NoStatus, ObjectMeta


class ThingSpec(Model):
    size: int = 1


class Thing(Resource[ThingSpec, NoStatus], group="example.io", version="v1"):
    """A thing."""


async def nothing(obj, ctx):
    return None


def test_every_declared_kind_is_known_once_in_the_order_declared():
    app = Operator("things")
    app.reconcile(Thing, owns=[V1Secret], watches=[Watch(V1Node, to=lambda node, reader: [])])(nothing)
    app.index(V1Pod, "node", lambda pod: [])
    app.reads(V1ConfigMap, V1Secret)
    assert app.kinds() == [Thing, V1Secret, V1Node, V1Pod, V1ConfigMap]
    assert [resource.qualified for resource in app.resources()] == [
        "things.example.io",
        "secrets",
        "nodes",
        "pods",
        "configmaps",
    ]


def test_the_decorated_function_stays_what_it_was():
    assert Operator("things").reconcile(Thing)(nothing) is nothing


def blocking(obj, ctx):
    return None


async def alone(obj):
    return None


def declare_twice(app):
    app.reconcile(Thing)(nothing)
    app.reconcile(Thing)(nothing)


def index_twice(app):
    app.index(V1Pod, "node", lambda pod: [])
    app.index(V1Pod, "node", lambda pod: [])


def validate_twice(app):
    app.validate(Thing)(nothing)
    app.validate(Thing)(nothing)


def finalize_twice(app):
    app.finalize(Thing)(nothing)
    app.finalize(Thing)(nothing)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda app: app.reconcile(Thing)(blocking), "asyncio.to_thread"),
        (
            lambda app: app.reconcile(Thing)(alone),
            "(too many positional arguments): write `async def alone(thing, ctx)`",
        ),
        (lambda app: app.finalize(Thing)(alone), "alone for Thing must accept an object and its Context"),
        (lambda app: app.reconcile(V1ObjectMeta), ".reconcile(V1ObjectMeta): V1ObjectMeta is not a kind: it is a part"),
        (lambda app: app.reconcile(Thing, owns=[int]), ".reconcile(Thing): 'int' is not a kind"),
        (lambda app: app.reconcile("Pod"), ".reconcile('Pod'): 'Pod' is not a kind"),
        (lambda app: app.reads(V1Pod, dict), ".reads(V1Pod): 'dict' is not a kind"),
        (lambda app: app.reconcile(Thing, workers=0), "at least 1"),
        (declare_twice, "two reconcile functions"),
        (index_twice, "two indexes named 'node'"),
        (finalize_twice, "two finalize functions"),
        (validate_twice, "two validate functions"),
    ],
)
def test_a_wrong_declaration_is_rejected_where_it_is_made(declare, message):
    with pytest.raises(DefinitionError) as caught:
        declare(Operator("things"))
    assert str(caught.value).startswith("Operator('things')")
    assert message in str(caught.value)


def test_one_worker_is_enough():
    app = Operator("things")
    app.reconcile(Thing, workers=1)(nothing)
    assert app.reconcilers[0].workers == 1


def test_two_kinds_may_have_indexes_of_one_name():
    app = Operator("things")
    app.index(V1Pod, "node", lambda pod: [])
    app.index(V1Secret, "node", lambda secret: [])
    assert [(index.kind, index.name) for index in app.indexes] == [(V1Pod, "node"), (V1Secret, "node")]


def test_settings_that_are_given_are_kept():
    settings = Settings(workers=7)
    assert Operator("things", settings=settings).settings is settings


@pytest.mark.parametrize("name", ["", "My Operator", "a" * 64])
def test_a_name_that_cannot_be_a_field_manager_and_a_label_is_rejected(name):
    with pytest.raises(DefinitionError, match="becomes a field manager and a label"):
        Operator(name)


def test_a_requeue_in_the_past_is_rejected():
    with pytest.raises(ValueError, match="lies in the past"):
        Requeue(after=timedelta(seconds=-1))


def test_a_moment_to_run_again_has_a_time_zone_and_no_duration_beside_it():
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert Requeue(at=moment).at == moment
    with pytest.raises(ValueError, match=r"has no time zone: give an aware datetime"):
        Requeue(at=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="has both: give one of them"):
        Requeue(timedelta(0), at=moment)


def test_a_finalize_function_may_be_declared_before_or_after_the_reconcile_function():
    before, after = Operator("a"), Operator("b")
    before.finalize(Thing)(nothing)
    before.reconcile(Thing)(nothing)
    after.reconcile(Thing)(nothing)
    after.finalize(Thing)(nothing)
    assert [app.reconcilers[0].finalize for app in (before, after)] == [nothing, nothing]


def thing(**meta) -> Thing:
    return Thing(metadata=ObjectMeta(name="a", **meta))


@pytest.mark.parametrize(
    ("predicate", "old", "new", "counts"),
    [
        (generation_changed, None, thing(), True),
        (generation_changed, thing(generation=1), thing(generation=2), True),
        (generation_changed, thing(generation=1), thing(generation=1, labels={"a": "b"}), False),
        (labels_changed, thing(), thing(labels={"a": "b"}), True),
        (labels_changed, thing(), thing(generation=2), False),
        (labels_changed, V1Pod(metadata=V1ObjectMeta()), V1Pod(metadata=V1ObjectMeta(labels={})), False),
        (annotations_changed, V1Pod(metadata=V1ObjectMeta(annotations={})), V1Pod(metadata=V1ObjectMeta()), False),
        (annotations_changed, thing(annotations={"a": "b"}), thing(), True),
        (annotations_changed, thing(), thing(labels={"a": "b"}), False),
    ],
)
def test_a_predicate_says_which_changes_count(predicate, old, new, counts):
    assert predicate(old, new) is counts


def test_importing_the_public_names_loads_neither_kopf_nor_kubernetes_nor_aiohttp():
    code = (
        "import sys, operatorkit\n"
        "for name in operatorkit.__all__: getattr(operatorkit, name)\n"
        "loaded = {'kopf', 'kubernetes', 'aiohttp'} & sys.modules.keys()\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_kind_may_be_finalized_only() -> None:
    app = Operator("tester")

    @app.finalize(Thing)
    async def clean(obj: Thing, ctx: object) -> None: ...

    (reconciler,) = app.reconcilers
    assert (reconciler.kind, reconciler.finalize, reconciler.only_finalizes) == (Thing, clean, True)
    assert app.kinds() == [Thing]

    @app.reconcile(Thing, owns=[V1Secret])
    async def reconcile(obj: Thing, ctx: object) -> None: ...

    (reconciler,) = app.reconcilers
    assert (reconciler.function, reconciler.finalize, reconciler.only_finalizes) == (reconcile, clean, False)
    assert reconciler.owns == (V1Secret,)
