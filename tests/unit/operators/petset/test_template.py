"""Pod templates: what is equal, what overrides do, and what can be changed in place."""

from __future__ import annotations

import copy

import pytest

from operators.petset.template import overridden, override_hash, same_template, template_of, to_data

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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "restartPolicy"), "Always"),
        (("spec", "dnsPolicy"), "ClusterFirst"),
        (("spec", "schedulerName"), "default-scheduler"),
        (("spec", "terminationGracePeriodSeconds"), 30),
        (("spec", "securityContext"), {}),
        (("spec", "hostNetwork"), False),
        (("spec", "containers", 0, "imagePullPolicy"), "IfNotPresent"),
        (("spec", "containers", 0, "terminationMessagePath"), "/dev/termination-log"),
        (("spec", "containers", 0, "resources"), {}),
        (("spec", "containers", 0, "ports", 0, "protocol"), "TCP"),
        (("metadata", "creationTimestamp"), None),
        (("metadata", "annotations"), {}),
    ],
)
def test_an_explicit_default_is_no_change(path, value):
    assert same_template(to_data(PLAIN), to_data(changed(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "restartPolicy"), "Never"),
        (("spec", "hostNetwork"), True),
        (("spec", "containers", 0, "image"), "web:2"),
        (("spec", "containers", 0, "imagePullPolicy"), "Always"),
        (("spec", "containers", 0, "ports", 0, "protocol"), "UDP"),
        (("spec", "containers", 0, "env"), [{"name": "A", "value": "1"}]),
        (("metadata", "labels", "tier"), "db"),
    ],
)
def test_everything_else_is(path, value):
    assert not same_template(to_data(PLAIN), to_data(changed(path, value)))


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1000m"), ("1Gi", "1024Mi"), (1, "1"), ("1500m", "1.5"), ("1k", "1000")]
)
def test_quantities_are_compared_by_value(one, other):
    first = changed(("spec", "containers", 0, "resources"), {"requests": {"cpu": one}})
    second = changed(("spec", "containers", 0, "resources"), {"requests": {"cpu": other}})
    assert same_template(to_data(first), to_data(second))


def test_data_is_that_of_a_statefulset_and_gives_the_template_back():
    data = to_data(PLAIN)
    assert data["spec"]["template"]["$patch"] == "replace"
    assert template_of(data) == PLAIN


def test_overrides_merge_lists_by_their_keys():
    patch = {
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "containers": [
                {"name": "app", "env": [{"name": "A", "value": "1"}]},
                {"name": "side", "image": "side:1"},
            ],
        }
    }
    found = overridden(PLAIN, [patch])
    assert found["spec"]["nodeSelector"] == {"disk": "fast"}
    assert found["spec"]["containers"] == [
        {"name": "app", "image": "web:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]},
        {"name": "side", "image": "side:1"},
    ]
    assert "nodeSelector" not in PLAIN["spec"]


def test_overrides_remove_with_null_and_with_patch_delete():
    base = overridden(PLAIN, [{"spec": {"containers": [{"name": "side", "image": "side:1"}], "priority": 1}}])
    patch = {"spec": {"priority": None, "containers": [{"name": "side", "$patch": "delete"}]}}
    assert overridden(base, [patch]) == PLAIN


def test_overrides_replace_where_they_say_so():
    found = overridden(PLAIN, [{"metadata": {"labels": {"$patch": "replace", "only": "this"}}}])
    assert found["metadata"]["labels"] == {"only": "this"}


def test_the_hash_of_an_override_shows_changes():
    assert override_hash([]) == ""
    assert override_hash([{"a": 1}]) == override_hash([{"a": 1}]) != override_hash([{"a": 2}])
