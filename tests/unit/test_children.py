"""What an apply sends, and when it is certain that sending it would change nothing."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.models import V1ConfigMap, V1Namespace, V1Secret, V1Service

from operatorkit.applied import own_entry_only, would_change_nothing
from operatorkit.children import Children, LastApplied, body_to_send
from operatorkit.errors import ChildConflict, Conflict, DefinitionError, FieldManagerConflict, Invalid
from operatorkit.names import LABEL_OWNER_UID
from operatorkit.resource import api_resource_of, write

CONFIG_MAPS, SERVICES = api_resource_of(V1ConfigMap), api_resource_of(V1Service)


def live(body, fields, *, manager="me", subresource="", operation="Apply"):
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    if subresource:
        entry["subresource"] = subresource
    found = copy.deepcopy(body)
    found["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": [entry]}
    return found


def body(**content):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, **content}


SAME = [
    pytest.param(body(data={"k": "v"}), {"f:data": {"f:k": {}}}, id="a map"),
    pytest.param(body(data={}), {"f:data": {}}, id="an empty map"),
    pytest.param(
        body(spec={"ports": [{"name": "web", "port": 80}]}),
        {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}}}},
        id="a list map whose key the server filled in",
    ),
    pytest.param(
        body(spec={"ports": [{"port": 80}]}),
        {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:protocol": {}}}}},
        id="a list map whose key the server filled in and owns in our name",
    ),
    pytest.param(body(spec={"hosts": ["x", "y"]}), {"f:spec": {"f:hosts": {'v:"x"': {}, 'v:"y"': {}}}}, id="a set"),
    pytest.param(body(spec={"args": ["x", "x"]}), {"f:spec": {"f:args": {}}}, id="an atomic list"),
    pytest.param(body(spec={"selector": {"a": "b"}}), {"f:spec": {"f:selector": {}}}, id="an atomic map"),
]


@pytest.mark.parametrize(("wanted", "fields"), SAME)
def test_a_live_object_with_just_our_fields_and_values_needs_no_request(wanted, fields):
    found = live(wanted, fields)
    for port in found.get("spec", {}).get("ports", []):
        port["protocol"] = "TCP"
    found["status"] = {"seen": True}
    found["data2"] = "somebody else's"
    assert would_change_nothing(wanted, found, "me")


DIFFERENT = [
    pytest.param(body(data={"k": "v"}), {"f:data": {"f:k": {}, "f:gone": {}}}, {}, id="a field to release"),
    pytest.param(body(data={"k": "v", "l": "w"}), {"f:data": {"f:k": {}}}, {}, id="a field to take"),
    pytest.param(body(data={"k": "v"}), {"f:data": {"f:k": {}}}, {"data": {"k": "other"}}, id="another value"),
    pytest.param(body(data={"k": "1"}), {"f:data": {"f:k": {}}}, {"data": {"k": 1}}, id="another type"),
    pytest.param(body(spec={"x": True}), {"f:spec": {"f:x": {}}}, {"spec": {"x": 1}}, id="true is not 1"),
    pytest.param(body(spec={"h": ["x"]}), {"f:spec": {"f:h": {'v:"x"': {}, 'v:"y"': {}}}}, {}, id="a set item to drop"),
    pytest.param(body(spec={"a": ["x"]}), {"f:spec": {"f:a": {}}}, {"spec": {"a": ["x", "y"]}}, id="a longer list"),
    pytest.param(body(data={"k": "v"}), {"f:data": {"f:k": {}}}, {"data": {}}, id="a field that is gone"),
]


@pytest.mark.parametrize(("wanted", "fields", "changes"), DIFFERENT)
def test_any_difference_is_sent(wanted, fields, changes):
    assert not would_change_nothing(wanted, live(wanted, fields) | changes, "me")


@pytest.mark.parametrize("entry", [{"manager": "other"}, {"operation": "Update"}, {"subresource": "status"}], ids=str)
def test_what_others_own_is_not_owned(entry):
    wanted = body(data={"k": "v"})
    assert not would_change_nothing(wanted, live(wanted, {"f:data": {"f:k": {}}}, **entry), "me")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _fields(value):
    """What the server would record, were every list atomic."""
    if isinstance(value, dict) and value:
        return {f"f:{key}": _fields(inner) for key, inner in value.items()}
    return {}


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_what_was_sent_and_is_so_needs_no_request_and_one_change_is_seen(spec):
    sent = body_to_send({"metadata": {"name": "a"}, "spec": spec}, CONFIG_MAPS)
    found = live(sent, {"f:spec": _fields(sent["spec"])})
    assert would_change_nothing(sent, found, "me")
    changed = {**sent, "spec": {**sent["spec"], "one more": 1}}
    assert not would_change_nothing(changed, found, "me")


def test_only_what_is_set_is_sent():
    secret = V1Secret(metadata={"name": "a", "resourceVersion": "5", "uid": "u", "labels": {"x": "y"}}, type="Opaque")
    assert body_to_send(write(secret), api_resource_of(V1Secret)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "type": "Opaque",
    }


def test_what_is_none_is_not_sent_at_any_depth():
    written = {"metadata": {"name": "a"}, "data": None, "spec": {"a": None, "b": [{"c": None, "d": 1}], "e": {}}}
    sent = body_to_send(written, CONFIG_MAPS)
    assert sent == {**body(spec={"b": [{"d": 1}], "e": {}}), "metadata": {"name": "a"}}


def test_of_managed_fields_only_our_own_entry_is_kept():
    obj = {"metadata": {"managedFields": [{"manager": "other"}, {"manager": "me", "operation": "Apply"}]}}
    assert own_entry_only(obj, "me")["metadata"]["managedFields"] == [{"manager": "me", "operation": "Apply"}]
    assert own_entry_only({"metadata": {"managedFields": [{"manager": "other"}]}}, "me") == {"metadata": {}}


class Nowhere:
    """No live objects but those given, and no cluster."""

    def __init__(self, *objects):
        self.objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}

    def get(self, resource, key):
        return self.objects.get((resource.kind, key.name))

    def labelled(self, resource, owner_uid):
        return []

    def put(self, resource, obj):
        raise AssertionError("nothing should have been written")


class Recorder:
    """A cluster that notes how it was patched, or refuses."""

    def __init__(self, error=None):
        self.forced, self.deleted, self.error = [], [], error

    async def delete(self, resource, name, **options):
        self.deleted.append(name)

    async def patch(self, resource, name, body, *, force, **options):
        self.forced.append(force)
        if self.error is not None:
            raise self.error
        return {**body, "metadata": {**body["metadata"], "uid": "u5", "resourceVersion": "8"}}


class Remembering(Nowhere):
    def put(self, resource, obj):
        self.objects[obj["kind"], obj["metadata"]["name"]] = obj


def children(*, namespace="n", objects=(), api=None, live=None, last_applied=None):
    meta = {"name": "parent", "uid": "u1"} | ({"namespace": namespace} if namespace else {})
    return Children(
        parent={"metadata": meta},
        parent_resource=SERVICES,
        owned=[CONFIG_MAPS, api_resource_of(V1Namespace)],
        api=api,
        live=live or (Nowhere(*objects) if api is None else Remembering(*objects)),
        manager="me",
        last_applied=LastApplied() if last_applied is None else last_applied,
    )


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (V1Secret(metadata={"name": "s"}), "add V1Secret to owns="),
        (V1ConfigMap(metadata={"namespace": "n"}), "without metadata.name"),
        (V1ConfigMap(metadata={"name": "c", "namespace": "other"}), "in another namespace"),
        (V1Namespace(metadata={"name": "c"}), "which is cluster-scoped"),
    ],
)
async def test_a_child_that_cannot_be_one_is_rejected_with_a_remedy(child, message):
    with pytest.raises(DefinitionError, match=r"Service n/parent applies") as caught:
        await children().apply(child)
    assert message in str(caught.value)


async def test_a_namespaced_child_of_a_cluster_scoped_parent_needs_a_namespace():
    with pytest.raises(DefinitionError, match=r"without metadata\.namespace"):
        await children(namespace="").apply(V1ConfigMap(metadata={"name": "c"}))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"ownerReferences": [{"kind": "X", "name": "y", "uid": "u2", "controller": True}]}, "is controlled by X y"),
        ({"labels": {LABEL_OWNER_UID: "u2"}}, "was not made by me"),
        ({}, "was not made by me"),
    ],
)
async def test_what_belongs_to_another_owner_is_rejected(meta, message):
    not_owned = body() | {"metadata": {"name": "a", "namespace": "n", **meta}}
    with pytest.raises(ChildConflict, match=message):
        await children(objects=[not_owned]).apply(V1ConfigMap(metadata={"name": "a"}))


async def test_what_a_deleted_parent_of_the_same_name_left_behind_is_waited_for():
    former = {"apiVersion": "v1", "kind": "Service", "name": "parent", "uid": "u0", "controller": True}
    left_behind = body() | {"metadata": {"name": "a", "namespace": "n", "ownerReferences": [former]}}
    with pytest.raises(Conflict, match="the garbage collector deletes it"):
        await children(objects=[left_behind]).apply(V1ConfigMap(metadata={"name": "a"}))


async def test_force_is_used_on_its_own_objects_only():
    api, live = Recorder(), Remembering()
    for text in ("1", "2"):
        await children(api=api, live=live).apply(V1ConfigMap(metadata={"name": "a"}, data={"k": text}))
    assert api.forced == [False, True]


async def test_an_object_that_the_cache_does_not_know_yet_is_not_taken_from_its_owner():
    api = Recorder(FieldManagerConflict('conflict with "kubectl": .data.k'))
    with pytest.raises(
        ChildConflict, match=r"other field managers set its fields: conflict with \"kubectl\": \.data\.k"
    ):
        await children(api=api).apply(V1ConfigMap(metadata={"name": "a"}, data={"k": "1"}))


async def test_the_same_body_is_not_sent_twice_to_an_object_that_stayed_as_it_was_answered():
    api, live, last_applied = Recorder(), Remembering(), LastApplied()
    for _ in range(2):
        await children(api=api, live=live, last_applied=last_applied).apply(
            V1ConfigMap(metadata={"name": "a"}, data={"k": "1"})
        )
    assert api.forced == [False]


async def test_a_child_is_applied_once_in_a_run():
    one, other = (V1ConfigMap(metadata={"name": "a"}, data={"k": text}) for text in "12")
    api = Recorder()
    with pytest.raises(DefinitionError, match="Service n/parent applies ConfigMap n/a twice in one run"):
        await children(api=api).apply(one, other)
    assert api.forced == [], "nothing is sent where both are seen at once"
    family = children(api=api)
    await family.apply(one)
    with pytest.raises(DefinitionError, match="twice in one run"):
        await family.apply(other)
    assert api.forced == [False]


async def test_a_child_may_be_applied_again_after_an_apply_that_failed_or_its_deletion():
    api = Recorder(Invalid("the field is immutable"))
    family = children(api=api)
    with pytest.raises(Invalid):
        await family.apply(V1ConfigMap(metadata={"name": "a"}, data={"k": "1"}))
    api.error = None
    child = V1ConfigMap(metadata={"name": "a", "namespace": "n"}, data={"k": "1"})
    await family.apply(child)
    await family.delete(child)
    await family.apply(child)
    assert api.deleted == ["a"]
