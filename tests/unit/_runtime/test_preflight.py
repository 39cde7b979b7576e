"""What an operator needs to be allowed to do follows from what it declares."""

from __future__ import annotations

from kubernetes.client.models import V1Namespace, V1Pod, V1Secret

from operatorkit import Model, Operator, Resource, Watch
from operatorkit._runtime.preflight import permissions
from operatorkit.resource import NoStatus


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


def test_a_finalize_function_needs_to_change_the_object_itself():
    app = declared()
    app.finalize(Key)(nothing)
    assert of(app, "keys.example.io", "keys") == {"list", "watch", "patch"}


def test_a_permission_reads_as_in_kubernetes_own_refusals():
    [status] = [p for p in permissions(declared()) if p.resource == "keys/status"]
    assert str(status) == 'patch keys/status in API group "keys.example.io"'


def test_cluster_scoped_kinds_are_not_asked_for_in_a_namespace():
    assert {p.resource for p in permissions(declared()) if not p.namespaced} == {"namespaces"}
