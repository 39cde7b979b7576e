"""Which changes of a template a running pod can get."""

from __future__ import annotations

import copy

import pytest

from operators.petset.in_place import InPlaceChange, in_place_change

PLAIN = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "web:1", "ports": [{"containerPort": 80}]}]},
}


def changed(path, value):
    """Return PLAIN with one field set; numbers in the path are places in lists."""
    result = copy.deepcopy(PLAIN)
    *parents, last = path
    place = result
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    place[last] = value
    return result


def with_resources(resources):
    return changed(("spec", "containers", 0, "resources"), resources)


def test_images_labels_and_annotations_change_in_place():
    new = changed(("spec", "containers", 0, "image"), "web:2")
    new["metadata"] = {"labels": {"app": "web", "tier": "db"}, "annotations": {"a": "b"}}
    assert in_place_change(PLAIN, new) == InPlaceChange(
        {
            "metadata": {"labels": {"tier": "db"}, "annotations": {"a": "b"}},
            "spec": {"containers": [{"name": "app", "image": "web:2"}]},
        }
    )


def test_a_label_that_is_gone_is_removed_in_place():
    old = changed(("metadata", "labels", "tier"), "db")
    assert in_place_change(old, PLAIN) == InPlaceChange({"metadata": {"labels": {"tier": None}}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "containers", 0, "env"), [{"name": "A", "value": "1"}]),
        (("spec", "nodeSelector"), {"disk": "fast"}),
        (("spec", "containers"), [{"name": "other", "image": "web:1"}]),
        (("spec", "containers"), []),
    ],
)
def test_other_changes_need_a_new_pod(path, value):
    assert in_place_change(PLAIN, changed(path, value)) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "200m"}}),
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "100m", "memory": "1Gi"}}),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "2", "memory": "1Gi"}}),
    ],
    ids=["requests", "one more", "limits of the class Guaranteed"],
)
def test_cpu_and_memory_of_containers_change_by_a_resize(before, after):
    change = in_place_change(with_resources(before), with_resources(after))
    assert change == InPlaceChange({}, {"spec": {"containers": [{"name": "app", "resources": after}]}})


def test_equal_quantities_are_no_change():
    before, after = with_resources({"requests": {"cpu": "1000m"}}), with_resources({"requests": {"cpu": 1}})
    assert in_place_change(before, after) == InPlaceChange()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"requests": {"cpu": "100m"}}),
        ({"requests": {"cpu": "100m", "memory": "1Gi"}}, {"requests": {"cpu": "100m"}}),
        ({"requests": {"example.org/gpu": 1}}, {"requests": {"example.org/gpu": 2}}),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}},
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}},
        ),
    ],
    ids=["another class", "one removed", "another resource", "from Guaranteed to Burstable"],
)
def test_other_changes_of_resources_need_a_new_pod(before, after):
    assert in_place_change(with_resources(before), with_resources(after)) is None
