from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operatorkit.clock import parse_time
from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.fields import managed
from operatorkit.controlplane.embedded.fields.patch import json_patch, merge_patch
from operatorkit.controlplane.embedded.fields.schema import of_kind, of_structural
from operatorkit.controlplane.embedded.fields.strategic import strategic_merge_patch
from operatorkit.controlplane.embedded.registry import preparation
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.defaults import set_defaults
from operatorkit.crd import Structural
from operatorkit.crd.kubernetes import kinds
from operatorkit.names import GroupVersionKind

# What a kube-apiserver 1.36.3 answered; tests/real/record_fields.py records it anew.
DATA = json.loads(Path(__file__).with_name("data").joinpath("writes.json").read_text())
SCHEMA = DATA["crd"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
STEPS = DATA["steps"]
ACCEPTED = [it for it in STEPS if "object" in it]
REJECTED = [it for it in STEPS if "refusal" in it and it["code"] != 422]


def name(step):
    return f"{step['sequence']}, {STEPS.index(step)}: {step['verb']} by {step['manager']}"


class Server:
    """The few steps of a write that matter here, for one kind."""

    def __init__(self, step):
        obj = step["live"] or step["body"]
        self.kind = GroupVersionKind.of(obj["apiVersion"], obj["kind"])
        self.custom = self.kind not in kinds()
        self.step = step

    @property
    def tracking(self):
        return managed.Tracking(
            kind=self.kind,
            schema=of_structural(SCHEMA) if self.custom else of_kind(self.kind),
            empty={} if self.custom else codec.decode(self.kind, {}).object,
            subresource=self.step["subresource"],
            filter=preparation.field_filter(self.kind, self.step["subresource"], custom=self.custom),
        )

    def decoded(self, obj):
        if not self.custom:
            return set_defaults(self.kind, codec.decode(self.kind, obj).object)
        structural = Structural(SCHEMA)
        obj = copy.deepcopy(obj)
        metadata = obj.pop("metadata")
        return {**structural.default(structural.prune(obj)), "metadata": metadata}

    def prepared(self, new, live):
        subresource = self.step["subresource"]
        if live is None:
            new["metadata"]["uid"] = "1"
            preparation.prepare_create(self.kind, new, custom=self.custom)
            if self.kind.kind == "Service":
                preparation.allocate_cluster_ip(new, [])
        else:
            new["metadata"] |= {it: live["metadata"][it] for it in ("uid", "creationTimestamp")}
            preparation.prepare_update(self.kind, new, live, subresource=subresource, custom=self.custom)
        return new

    def write(self, now):
        step, live = self.step, copy.deepcopy(self.step["live"])
        body, manager = step["body"], step["manager"]
        match step["verb"]:
            case "apply" | "force":
                force = step["verb"] == "force"
                result = managed.apply(self.tracking, live, body, manager=manager, force=force, now=now)
                return self.prepared(self.decoded(result), live)
            case "merge":
                new = merge_patch(live, body)
            case "json":
                new = json_patch(live, body)
            case "strategic":
                new = strategic_merge_patch(self.kind, live, body)
            case _:
                new = body
        prepared = self.prepared(self.decoded(new), live)
        return managed.track(self.tracking, live, prepared, manager=manager, now=now)


def untimed(entries):
    return [{key: it for key, it in entry.items() if key != "time"} for entry in entries]


def comparable(obj):
    result = copy.deepcopy(obj)
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        result["metadata"].pop(field, None)
    result["metadata"]["managedFields"] = sorted(
        untimed(result["metadata"].get("managedFields", ())), key=lambda it: json.dumps(it, sort_keys=True)
    )
    if obj["kind"] == "Service":
        for field in ("clusterIP", "clusterIPs"):
            result["spec"].pop(field, None)
    return result


@pytest.mark.parametrize("step", ACCEPTED, ids=name)
def test_a_write_leaves_the_object_and_its_owners_as_a_real_server_does(step):
    wanted = step["object"]
    times = [parse_time(it["time"]) for it in wanted["metadata"].get("managedFields", ()) if "time" in it]
    now = max(times, default=datetime(2026, 1, 1, tzinfo=UTC))
    written = Server(step).write(now)
    assert comparable(written) == comparable(wanted)


@pytest.mark.parametrize("step", [it for it in ACCEPTED if it["verb"] == "apply" and it["live"]], ids=name)
def test_applying_again_what_was_applied_changes_nothing(step):
    server = Server({**step, "live": step["object"]})
    again = server.write(datetime(2100, 1, 1, tzinfo=UTC))
    again["metadata"]["resourceVersion"] = step["object"]["metadata"]["resourceVersion"]
    again = managed.keep_times(again, step["object"])
    assert again["metadata"].get("managedFields") == step["object"]["metadata"].get("managedFields")
    assert comparable(again) == comparable(step["object"])


@pytest.mark.parametrize("step", REJECTED, ids=name)
def test_a_rejected_write_is_rejected_in_the_same_words(step):
    with pytest.raises(ApiError) as caught:
        Server(step).write(datetime(2026, 1, 1, tzinfo=UTC))
    error, rejection = caught.value, step["refusal"]
    assert (error.code, error.message) == (step["code"], rejection["message"])
    causes = rejection.get("details", {}).get("causes", [])
    assert [(it["reason"], it["message"], it["field"]) for it in (error.details or {}).get("causes", ())] == [
        (it["reason"], it["message"], it["field"]) for it in causes
    ]
