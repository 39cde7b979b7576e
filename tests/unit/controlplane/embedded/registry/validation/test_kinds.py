from __future__ import annotations

import json
from pathlib import Path

import pytest

from operatorkit.controlplane.embedded.registry import preparation
from operatorkit.controlplane.embedded.registry.validation.kinds import validate
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.defaults import set_defaults
from operatorkit.names import GroupVersionKind

# What a kube-apiserver 1.36.3 answered; tests/real/record_validation.py records it anew.
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("validation.json").read_text())


def text(message):
    """Leave out what shows the server's own structs, and differences of objects: we write the API's fields there."""
    message = message.split("\n")[0]
    head, brace, _ = message.partition("{")
    return head if brace else message


def faults(case):
    sent = case["sent"]
    kind = GroupVersionKind.of(sent["apiVersion"], sent["kind"])
    obj = set_defaults(kind, codec.decode(kind, sent).object)
    if kind.group != "cluster":
        obj["metadata"].setdefault("namespace", "default")
    old = case.get("live")
    if old is None:
        obj["metadata"]["uid"] = "1"
        preparation.prepare_create(kind, obj)
    else:
        preparation.prepare_update(kind, obj, old)
        if kind.kind == "Pod":
            for name in ("tolerations", "priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"):
                if name in old["spec"]:
                    obj["spec"].setdefault(name, old["spec"][name])
    return validate(kind, obj, old)


@pytest.mark.parametrize("case", RECORDED, ids=[f"{at}-{case['sent']['kind']}" for at, case in enumerate(RECORDED)])
def test_a_wrong_object_has_the_errors_that_a_real_server_finds(case):
    wanted = [(it["field"], it["reason"], text(it["message"])) for it in case["causes"]]
    assert [(it.path, it.reason, text(it.message)) for it in faults(case)] == wanted
