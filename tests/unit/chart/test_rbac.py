"""The rules of an operator's roles are the fewest that people can read, each with its reason."""

from __future__ import annotations

from kubernetes.client.models import V1Namespace, V1Pod, V1ReplicaSet, V1Secret

from operatorkit import Model, Operator, Resource, Watch
from operatorkit.chart import Rule, rules
from operatorkit.permissions import permissions
from operatorkit.resource import NoStatus


class KeySpec(Model):
    size: int = 1


class Key(Resource[KeySpec, NoStatus], group="keys.example.io", version="v1"):
    """A key."""


async def nothing(obj, ctx):
    return None


def declared() -> Operator:
    app = Operator("keys")
    app.reconcile(Key, owns=[V1Secret], watches=[Watch(V1Pod, to=lambda pod, reader: [])])(nothing)
    app.reads(V1Namespace)
    app.needs(V1ReplicaSet, "get", reason="its Deployment is told")
    return app


def rule(resource: str, app: Operator | None = None) -> Rule:
    [found] = [one for one in rules(permissions(app or declared())) if one.resource == resource]
    return found


def test_the_verbs_of_one_resource_are_one_rule_in_kubernetes_own_order():
    assert rule("secrets").verbs == ("list", "watch", "create", "patch", "delete")
    assert rule("events").verbs == ("get", "list", "create", "patch")


def test_each_rule_says_what_needs_which_verb():
    assert rule("secrets").reasons == (
        "list, watch: it is a child of Key",
        "create, patch: Key applies it",
        "delete: Key prunes it",
    )
    assert rule("pods").reasons == ("list, watch: its changes trigger Key",)
    assert rule("keys/status").reasons == ("patch: its status is written after a run",)
    assert rule("replicasets").reasons == ("get: its Deployment is told",)


def test_every_permission_is_in_just_one_rule():
    needed = permissions(declared())
    granted = [(one.group, one.resource, verb) for one in rules(needed) for verb in one.verbs]
    assert sorted(granted) == sorted((one.group, one.resource, one.verb) for one in needed)
    assert len(granted) == len(set(granted))


def test_only_cluster_scoped_resources_need_a_cluster_role_of_their_own():
    assert [one.resource for one in rules(permissions(declared())) if not one.namespaced] == ["namespaces"]


def test_a_finalize_function_adds_the_finalizer_and_its_reason():
    app = declared()
    app.finalize(Key)(nothing)
    assert rule("keys", app).verbs == ("list", "watch", "patch")
    assert "patch: its finalizer is set and removed" in rule("keys", app).reasons


def test_nothing_is_granted_by_a_wildcard():
    for one in rules(permissions(declared())):
        assert "*" not in (one.group, one.resource, *one.verbs)
