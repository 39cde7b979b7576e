from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from operatorkit.controlplane.embedded.registry import preparation
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.defaults import set_defaults
from operatorkit.names import GroupVersionKind

# What a kube-apiserver 1.36.3 answered; tests/real/record_defaults.py records it anew.
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("defaults.json").read_text())
# What a server makes up: names, addresses and ports differ from one run to the next.
INVENTED = ("uid", "creationTimestamp", "managedFields", "resourceVersion", "namespace")


def names():
    return [f"{number}-{case['sent']['kind']}" for number, case in enumerate(RECORDED)]


def strip(obj, sent):
    result = copy.deepcopy(obj)
    for name in INVENTED:
        result["metadata"].pop(name, None)
    if obj["kind"] == "Service":
        for name in ("clusterIP", "clusterIPs"):
            if sent["spec"].get(name) is None:
                result["spec"].pop(name, None)
        for port in result["spec"].get("ports", ()):
            port.pop("nodePort", None)
    if obj["kind"] == "PersistentVolume":
        result["status"].pop("lastPhaseTransitionTime", None)
    if obj["kind"] == "Pod" and "serviceAccountName" not in sent["spec"]:
        # The recording server runs without the admission plugin that sets these.
        result["spec"].pop("serviceAccountName", None)
        result["spec"].pop("serviceAccount", None)
    if obj["kind"] == "Job":
        result["spec"].pop("selector")
        result["spec"]["template"]["metadata"].pop("labels", None)
        result["metadata"].pop("labels", None)
    return result


@pytest.mark.parametrize("case", RECORDED, ids=names())
def test_a_new_object_becomes_what_a_real_server_makes_of_it(case):
    kind = GroupVersionKind.of(case["sent"]["apiVersion"], case["sent"]["kind"])
    obj = set_defaults(kind, codec.decode(kind, case["sent"]).object)
    obj["metadata"]["uid"] = "1"
    preparation.complete(kind, obj)
    preparation.prepare_create(kind, obj)
    if kind.kind == "Job":
        preparation.generate_job_selector(obj)
    if kind.kind == "Service":
        preparation.allocate_cluster_ip(obj, [])
    assert strip(codec.decode(kind, obj).object, case["sent"]) == strip(case["answer"], case["sent"])


@pytest.mark.parametrize("case", RECORDED, ids=names())
def test_reading_and_defaulting_what_the_server_wrote_changes_nothing(case):
    kind = GroupVersionKind.of(case["sent"]["apiVersion"], case["sent"]["kind"])
    decoded = codec.decode(kind, case["answer"])
    assert decoded.unexpected == []
    assert set_defaults(kind, decoded.object) == case["answer"]
