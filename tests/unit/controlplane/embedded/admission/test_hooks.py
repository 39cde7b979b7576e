"""Which webhooks a request concerns: a table of rules against one request."""

from __future__ import annotations

from typing import Any

import pytest

from operatorkit.controlplane.embedded.admission.hooks import Attributes, Hook, Matcher, hooks_in
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.registry.selectors import LabelSelector
from operatorkit.controlplane.embedded.request.user import User

RULE = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}


def attributes(core: Core, *, subresource: str = "", namespace: str = "n", operation: str = "CREATE") -> Attributes:
    served = core.registry.find("apps", "v1", "deployments")
    assert served is not None
    return Attributes(
        operation=operation,
        served=served,
        subresource=subresource,
        kind=served.gvk,
        namespace=namespace,
        name="a",
        user=User("me"),
        dry_run=False,
        options={},
    )


@pytest.mark.parametrize(
    ("change", "subresource", "matches"),
    [
        ({}, "", True),
        ({}, "status", False),
        ({"operations": ["UPDATE", "DELETE"]}, "", False),
        ({"operations": ["*"]}, "", True),
        ({"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}, "", True),
        ({"apiGroups": [""]}, "", False),
        ({"apiVersions": ["v1beta1"]}, "", False),
        ({"resources": ["*"]}, "scale", False),
        ({"resources": ["*/*"]}, "scale", True),
        ({"resources": ["*/*"]}, "", True),
        ({"resources": ["*/scale"]}, "scale", True),
        ({"resources": ["deployments/*"]}, "status", True),
        ({"resources": ["deployments/*"]}, "", True),
        ({"resources": ["replicasets/*"]}, "status", False),
        ({"scope": "Namespaced"}, "", True),
        ({"scope": "Cluster"}, "", False),
    ],
)
def test_a_rule_matches_by_operation_group_version_resource_and_scope(
    change: dict[str, Any], subresource: str, matches: bool
) -> None:
    core = Core()
    hook = Hook("h", {"rules": [RULE | change]}, LabelSelector(), LabelSelector())
    found = Matcher(core.storage, core.registry).match(hook, attributes(core, subresource=subresource), None, {})
    assert (found is not None) is matches


def test_hooks_come_in_the_order_of_their_configurations_names() -> None:
    core = Core()
    collection = core.storage.collection("validatingwebhookconfigurations.admissionregistration.k8s.io")
    assert not core.webhooks.validating
    for name, hooks in ("b", ["3"]), ("a", ["2", "1"]):
        body = {"metadata": {"name": name, "uid": name}, "webhooks": [{"name": it} for it in hooks]}
        core.storage.put(collection, body, None)
    assert [it.name for it in hooks_in(collection)] == ["2", "1", "3"]
    assert [it.name for it in core.webhooks.validating] == ["2", "1", "3"]


def test_no_webhook_is_called_without_webhooks_nor_about_webhooks() -> None:
    core = Core()
    pods = core.registry.find("", "v1", "pods")
    configurations = core.registry.find("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
    assert pods is not None
    assert configurations is not None
    assert not core.webhooks.concern(pods)
    collection = core.storage.collection(configurations.collection)
    core.storage.put(collection, {"metadata": {"name": "a", "uid": "a"}, "webhooks": [{"name": "h"}]}, None)
    assert core.webhooks.concern(pods)
    assert not core.webhooks.concern(configurations)
