from __future__ import annotations

from operatorkit.controlplane.embedded.scheme.resources import builtin_resources
from operatorkit.crd.kubernetes import kinds
from operatorkit.names import ApiResource, GroupVersionKind

RESOURCES = {(it.group, it.version, it.plural): it for it in builtin_resources()}


def test_a_resource_knows_what_clients_ask_about_it():
    pods = RESOURCES["", "v1", "pods"]
    assert pods.api_resource == ApiResource("", "v1", "Pod", "pods", True)
    assert (pods.short_names, pods.categories) == (("po",), ("all",))
    assert pods.subresource("eviction").kind == "Eviction"
    assert pods.subresource("eviction").group == "policy"
    assert pods.subresource("nothing") is None


def test_every_resource_has_a_definition():
    assert {it.gvk for it in builtin_resources()} <= set(kinds())


def test_scale_is_the_same_kind_everywhere():
    scales = [it.subresource("scale") for it in builtin_resources() if it.subresource("scale")]
    assert len(scales) == 4
    assert {(it.group, it.version, it.kind) for it in scales} == {("autoscaling", "v1", "Scale")}


def test_the_preferred_version_of_a_group_comes_first():
    autoscaling = [it.version for it in builtin_resources() if it.group == "autoscaling"]
    assert autoscaling == ["v2", "v1"]


def test_objects_of_two_versions_are_stored_once():
    assert RESOURCES["events.k8s.io", "v1", "events"].stored_as == GroupVersionKind("", "v1", "Event")
    assert RESOURCES["apps", "v1", "deployments"].stored_as == GroupVersionKind("apps", "v1", "Deployment")
