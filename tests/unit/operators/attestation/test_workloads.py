"""Every image of an object is found, wherever it stands."""

from __future__ import annotations

import pytest

from operators.attestation.workloads import ImageUse, images_in

POD = {
    "initContainers": [{"image": "init"}],
    "containers": [{"image": "one"}, {"image": "two"}],
    "ephemeralContainers": [{"image": "debug"}],
    "volumes": [{"emptyDir": {}}, {"image": {"reference": "data"}}],
}
FIELDS = [
    ("init", "initContainers[0].image"),
    ("one", "containers[0].image"),
    ("two", "containers[1].image"),
    ("debug", "ephemeralContainers[0].image"),
    ("data", "volumes[1].image.reference"),
]


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Pod", "spec"), ("PodTemplate", "template.spec"), ("CronJob", "spec.jobTemplate.spec.template.spec")]
    + [
        (kind, "spec.template.spec")
        for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController", "PetSet")
    ],
)
def test_each_image_is_found_with_its_field(kind, path):
    obj = POD
    for part in reversed(path.split(".")):
        obj = {part: obj}
    assert images_in(kind, obj) == [ImageUse(image, f"{path}.{field}") for image, field in FIELDS]


def test_an_image_that_is_absent_or_not_text_is_the_empty_one():
    spec = {"containers": [{}, {"image": 5}, "x"], "volumes": [{"image": {}}]}
    assert [use.image for use in images_in("Pod", {"spec": spec})] == ["", "", "", ""]


@pytest.mark.parametrize(
    ("kind", "obj"), [("Pod", None), ("Pod", {}), ("Pod", {"spec": []}), ("Deployment", {"spec": {}})]
)
def test_an_object_without_containers_has_no_images(kind, obj):
    assert images_in(kind, obj) == []


def test_containers_that_are_no_list_are_an_image_that_no_policy_admits():
    assert images_in("Pod", {"spec": {"containers": {"image": "x"}}}) == [ImageUse("", "spec.containers")]
