"""What an operator needs to be allowed to do follows from what it declares."""

from __future__ import annotations

import pytest
from kubernetes.client.models import V1Namespace, V1Pod, V1ReplicaSet, V1Secret

from operatorkit import DefinitionError, Model, Operator, Resource, Watch
from operatorkit.permissions import permissions
from operatorkit.resource import NoStatus
from operatorkit.webhooks import Allowed


class KeySpec(Model):
    size: int = 1


class Key(Resource[KeySpec, NoStatus], group="keys.example.io", version="v1"):
    """A key."""


async def nothing(obj, ctx):
    return None


def of(app: Operator, group: str, resource: str) -> set[str]:
    return {p.verb for p in permissions(app) if (p.group, p.resource) == (group, resource)}


def declared() -> Operator:
    app = Operator("keys")
    app.reconcile(Key, owns=[V1Secret], watches=[Watch(V1Pod, to=lambda pod, reader: [])])(nothing)
    app.reads(V1Namespace)
    return app


def test_each_way_to_declare_a_kind_needs_its_verbs_and_no_more():
    app = declared()
    assert of(app, "keys.example.io", "keys") == {"list", "watch"}
    assert of(app, "keys.example.io", "keys/status") == {"patch"}
    assert of(app, "", "secrets") == {"list", "watch", "create", "patch", "delete"}
    assert of(app, "", "pods") == of(app, "", "namespaces") == {"list", "watch"}
    assert of(app, "", "events") == {"create", "patch", "get", "list"}


def test_replicas_that_elect_a_leader_need_their_lease_and_no_other():
    found = [p for p in permissions(declared(), lease="keys-lease") if p.resource == "leases"]
    assert {(p.verb, p.names, p.own, p.required) for p in found} == {
        ("create", (), True, True),  # a name cannot limit it
        ("get", ("keys-lease",), True, True),
        ("update", ("keys-lease",), True, True),
    }
    assert of(declared(), "coordination.k8s.io", "leases") == set()


def test_a_reconcile_function_that_only_reads_needs_no_permission_to_write():
    app = Operator("keys")
    app.reconcile(V1Pod, only_reads=True)(nothing)
    assert of(app, "", "pods") == {"list", "watch"}
    assert of(app, "", "pods/status") == set()


def test_a_finalize_function_needs_to_change_the_object_itself():
    app = declared()
    app.finalize(Key)(nothing)
    assert of(app, "keys.example.io", "keys") == {"list", "watch", "patch"}


def test_a_permission_reads_as_in_kubernetes_own_rejections():
    [status] = [p for p in permissions(declared()) if p.resource == "keys/status"]
    assert str(status) == 'patch keys/status in API group "keys.example.io"'


def test_cluster_scoped_kinds_are_not_asked_for_in_a_namespace():
    assert {p.resource for p in permissions(declared()) if not p.namespaced} == {"namespaces"}


def test_requests_past_the_caches_are_declared_with_their_reason():
    app = declared()
    app.needs(V1ReplicaSet, "get", "list", reason="its Deployment is told")
    found = [p for p in permissions(app) if p.resource == "replicasets"]
    assert [(p.verb, p.required, p.reasons) for p in found] == [
        ("get", False, ("its Deployment is told",)),
        ("list", False, ("its Deployment is told",)),
    ]
    with pytest.raises(DefinitionError, match="give a reason"):
        app.needs(V1ReplicaSet, "get", reason="")


def test_a_request_of_a_subresource_is_a_permission_of_that_alone():
    app = declared()
    app.needs(V1ReplicaSet, "patch", subresource="scale", reason="it is scaled")
    found = [(p.verb, p.resource) for p in permissions(app) if p.resource.startswith("replicasets")]
    assert found == [("patch", "replicasets/scale")]
    for wrong in ("replicasets/scale", "Scale", "scale 2"):
        with pytest.raises(DefinitionError, match=f"subresource='{wrong}'"):
            app.needs(V1ReplicaSet, "patch", subresource=wrong, reason="it is scaled")


def test_what_is_missed_on_some_clusters_only_is_not_required():
    assert {p.resource for p in permissions(declared()) if not p.required} == {"keys/finalizers"}


def test_a_verb_that_two_things_need_is_one_permission_with_two_reasons():
    app = declared()
    app.reads(V1Secret)
    [listed] = [p for p in permissions(app) if (p.resource, p.verb) == ("secrets", "list")]
    assert listed.reasons == ("it is a child of Key", "reconcile functions read it from the cache")


def test_webhooks_need_their_own_secret_and_their_own_webhook_configuration():
    app = declared()

    @app.validate(Key)
    async def evaluate(new, old, request):
        return Allowed()

    found = set(permissions(app)) - set(permissions(declared()))
    assert {(p.resource, p.verb) for p in found if p.own} == {
        ("secrets", verb) for verb in ("get", "list", "watch", "create", "update")
    }
    assert {p.names for p in found if p.own and p.verb != "create"} == {("keys-webhook-tls",)}
    assert {(p.resource, p.names) for p in found if p.verb == "patch"} == {
        ("validatingwebhookconfigurations", ("keys-webhook.operatorkit-system.operatorkit.dev",))
    }
    assert not any(p.required for p in found)
