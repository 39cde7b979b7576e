from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.scheme.convert import convert
from operatorkit.names import GroupVersionKind

CORE, NEW = GroupVersionKind("", "v1", "Event"), GroupVersionKind("events.k8s.io", "v1", "Event")
ONE = GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscaler")
TWO = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")


def test_an_event_has_other_words_in_its_own_group():
    event = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "message": "text",
        "count": 3,
        "firstTimestamp": None,
        "reportingComponent": "c",
        "series": {"count": 2},
    }
    converted = convert(event, NEW)
    assert converted["regarding"] == {"kind": "Pod", "name": "p"}
    assert (converted["note"], converted["deprecatedCount"]) == ("text", 3)
    assert converted["reportingController"] == "c"
    assert "message" not in converted
    assert convert(converted, CORE) == event


def cpu(percentage):
    target = {"type": "Utilization", "averageUtilization": percentage}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def test_an_autoscaler_keeps_in_annotations_what_the_old_version_cannot_say():
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Value", "averageValue": "1Gi"}}}
    new = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "metrics": [cpu(50), memory], "behavior": {"scaleUp": {"selectPolicy": "Min"}}},
        "status": {"desiredReplicas": 1, "currentReplicas": 1, "currentMetrics": None},
    }
    old = convert(new, ONE)
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    assert set(old["metadata"]["annotations"]) == {
        "autoscaling.alpha.kubernetes.io/metrics",
        "autoscaling.alpha.kubernetes.io/behavior",
    }
    assert convert(old, TWO) == new


def test_an_annotation_that_was_broken_is_no_reason_to_fail():
    annotations = {"autoscaling.alpha.kubernetes.io/metrics": "{", "own": "x"}
    old = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": "h", "annotations": annotations},
        "spec": {"maxReplicas": 3},
    }
    assert convert(old, TWO)["metadata"]["annotations"] == {"own": "x"}


def test_the_same_version_is_no_conversion():
    obj = {"kind": "Event", "apiVersion": "v1", "message": "x"}
    assert convert(obj, CORE) == obj


def test_other_kinds_are_not_converted():
    with pytest.raises(ValueError, match="cannot be converted"):
        convert({"kind": "Pod", "apiVersion": "v1"}, GroupVersionKind("apps", "v1", "Pod"))
