from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.fields.sets import FieldSet
from operatorkit.controlplane.embedded.registry.preparation import (
    allocate_cluster_ip,
    field_filter,
    prepare_create,
    prepare_update,
)
from operatorkit.controlplane.embedded.registry.selectable import selectable_fields, unknown_field
from operatorkit.controlplane.embedded.scheme.defaults import set_defaults
from operatorkit.names import GroupVersionKind

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
CUSTOM = GroupVersionKind("example.com", "v1", "Thing")
POD, SECRET = GroupVersionKind("", "v1", "Pod"), GroupVersionKind("", "v1", "Secret")


def deployment(**more):
    return {"metadata": {"name": "d", "generation": 1}, "spec": {"replicas": 1}, "status": {"replicas": 1}, **more}


def test_an_update_of_the_object_leaves_its_status_alone():
    new = deployment(status={"replicas": 9})
    prepare_update(DEPLOYMENT, new, deployment())
    assert new["status"] == {"replicas": 1}
    assert new["metadata"]["generation"] == 1


def test_a_change_of_the_spec_counts_a_generation():
    new = deployment(spec={"replicas": 2})
    prepare_update(DEPLOYMENT, new, deployment())
    assert new["metadata"]["generation"] == 2


def test_an_update_of_the_status_leaves_everything_else_alone():
    new = deployment(spec={"replicas": 5}, status={"replicas": 7})
    new["metadata"]["labels"] = {"new": "label"}
    prepare_update(DEPLOYMENT, new, deployment(), subresource="status")
    assert new == deployment(status={"replicas": 7})


def test_a_custom_resource_counts_changes_of_everything_but_metadata_and_status():
    old = {"metadata": {"name": "t", "generation": 3}, "spec": {"a": 1}, "data": 1, "status": {}}
    for change, generation in (({"status": {"x": 1}}, 3), ({"data": 2}, 4), ({"spec": {}}, 4)):
        new = {**old, "metadata": {"name": "t"}, **change}
        prepare_update(CUSTOM, new, old, custom=True)
        assert new["metadata"]["generation"] == generation, change


def test_without_a_status_subresource_the_status_is_part_of_the_object():
    old = {"metadata": {"name": "t", "generation": 3}, "status": {}}
    new = {"metadata": {"name": "t"}, "status": {"x": 1}}
    prepare_update(CUSTOM, new, old, custom=True, status=False)
    assert new == {"metadata": {"name": "t", "generation": 4}, "status": {"x": 1}}


def test_text_of_a_secret_becomes_data():
    secret = {"metadata": {}, "data": {"a": "eA=="}, "stringData": {"b": "x", "a": "y"}}
    assert set_defaults(SECRET, secret)["data"] == {"a": "eQ==", "b": "eA=="}
    assert "stringData" not in secret


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}, "Burstable"),
    ],
)
def test_a_pod_begins_with_its_quality_of_service(resources, quality):
    pod = {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}, "status": {"phase": "Lies"}}
    prepare_create(POD, pod)
    assert pod["status"] == {"phase": "Pending", "qosClass": quality}


def test_a_service_gets_an_address_that_is_free():
    service = {"metadata": {}, "spec": {"type": "ClusterIP"}}
    allocate_cluster_ip(service, ["10.96.0.2", "10.96.0.3"])
    assert service["spec"]["clusterIP"] == "10.96.0.4"
    assert service["spec"]["ipFamilies"] == ["IPv4"]
    with pytest.raises(OverflowError, match="range is full"):
        allocate_cluster_ip({"spec": {"type": "ClusterIP"}}, [f"10.96.0.{it}" for it in range(256)])


def test_a_service_that_is_only_a_name_gets_none():
    service = {"metadata": {}, "spec": {"type": "ExternalName"}}
    allocate_cluster_ip(service, [])
    assert "clusterIP" not in service["spec"]


def test_who_writes_an_endpoint_owns_only_what_it_changes():
    fields = FieldSet.named("spec.replicas", "status.replicas", "metadata.labels.a")
    assert set(field_filter(DEPLOYMENT)(fields)) == set(FieldSet.named("spec.replicas", "metadata.labels.a"))
    assert set(field_filter(CUSTOM, "status", custom=True)(fields)) == set(FieldSet.named("status.replicas"))
    assert set(field_filter(SECRET)(fields)) == set(fields)


def test_pods_are_selected_by_node_and_phase():
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}}
    fields = selectable_fields(POD, pod, namespaced=True)
    assert fields["spec.nodeName"] == "x"
    assert fields["status.phase"] == "Running"
    assert fields["spec.hostNetwork"] == "false"
    assert fields["metadata.namespace"] == "n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (POD, "field label not supported: foo"),
        (DEPLOYMENT, '"foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        (GroupVersionKind("batch", "v1", "Job"), 'field label "foo" not supported for Job'),
    ],
)
def test_an_unknown_field_is_rejected_in_the_words_of_its_kind(kind, text):
    assert unknown_field(kind, "foo") == text
