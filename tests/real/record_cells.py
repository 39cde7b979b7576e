"""Record the rows of Tables in which a real API server shows objects, as data for the tests of columns.

python tests/real/record_cells.py https://127.0.0.1:6443 TOKEN
"""

from __future__ import annotations

import email.utils
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from record_defaults import CASES, CLAIM, TEMPLATE, named

OUT = Path("tests/unit/controlplane/embedded/printers/data/cells.json")
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
OLD = "2026-01-01T00:00:00Z"
POD = TEMPLATE["spec"]
SIDECAR = {"name": "side", "image": "s", "restartPolicy": "Always"}


def ran(name: str, state: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "name": name,
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
        **more,
    }


RUNNING = {"running": {"startedAt": OLD}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": OLD}}
FAILED = {"terminated": {"exitCode": 3, "finishedAt": OLD}}
KILLED = {"terminated": {"exitCode": 137, "signal": 9, "finishedAt": OLD}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


READY = [{"type": "Ready", "status": "True"}]
PODS: list[dict[str, Any]] = [
    {"phase": "Pending", "containerStatuses": [ran("c", waiting("ContainerCreating"))]},
    {"phase": "Running", "conditions": READY, "containerStatuses": [ran("c", RUNNING, ready=True)]},
    {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "containerStatuses": [ran("c", RUNNING)]},
    {
        "phase": "Running",
        "containerStatuses": [ran("c", waiting("CrashLoopBackOff"), restartCount=4, lastState=FAILED)],
    },
    {"phase": "Succeeded", "containerStatuses": [ran("c", DONE)]},
    {"phase": "Failed", "containerStatuses": [ran("c", FAILED)]},
    {"phase": "Failed", "containerStatuses": [ran("c", KILLED)]},
    {"phase": "Failed", "reason": "Evicted"},
    {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
    {"phase": "Pending", "nominatedNodeName": "n1", "containerStatuses": []},
]
INIT_PODS: list[dict[str, Any]] = [
    {"phase": "Pending", "initContainerStatuses": [ran("one", RUNNING), ran("side", waiting("PodInitializing"))]},
    {"phase": "Pending", "initContainerStatuses": [ran("one", waiting("ErrImagePull"))]},
    {"phase": "Pending", "initContainerStatuses": [ran("one", FAILED)]},
    {"phase": "Pending", "initContainerStatuses": [ran("one", KILLED, restartCount=2)]},
    {
        "phase": "Running",
        "conditions": [*READY, {"type": "Initialized", "status": "True"}],
        "initContainerStatuses": [ran("one", DONE), ran("side", RUNNING, ready=True, started=True, restartCount=2)],
        "containerStatuses": [ran("c", RUNNING, ready=True, restartCount=1)],
    },
    {
        "phase": "Running",
        "conditions": READY,
        "initContainerStatuses": [ran("one", DONE), ran("side", RUNNING, ready=True, started=True)],
        "containerStatuses": [ran("c", DONE)],
    },
]


def with_status(case: tuple[str, dict[str, Any]], status: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return case[0], case[1], status


def of(kind: str, index: int = 0) -> tuple[str, dict[str, Any]]:
    return [it for it in CASES if it[1]["kind"] == kind][index]


METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "1"}}}
]
INGRESS = {"loadBalancer": {"ingress": [{"ip": "10.9.9.9"}, {"hostname": "a.example.com"}]}}
STATUSES = [
    *[with_status(named("Pod", "v1", "pods", spec=POD), it) for it in PODS],
    *[
        with_status(
            named("Pod", "v1", "pods", spec={**POD, "initContainers": [{"name": "one", "image": "o"}, SIDECAR]}), it
        )
        for it in INIT_PODS
    ],
    with_status(of("Deployment"), {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}),
    with_status(of("ReplicaSet"), {"replicas": 3, "readyReplicas": 2, "availableReplicas": 2}),
    with_status(of("StatefulSet"), {"replicas": 3, "readyReplicas": 2}),
    with_status(
        of("DaemonSet"),
        {
            "desiredNumberScheduled": 5,
            "currentNumberScheduled": 4,
            "numberReady": 3,
            "numberMisscheduled": 0,
            "updatedNumberScheduled": 2,
            "numberAvailable": 1,
        },
    ),
    with_status(of("Job"), {"startTime": OLD, "active": 1, "ready": 0, "terminating": 0}),
    with_status(of("CronJob"), {"lastScheduleTime": OLD}),
    with_status(of("Service", 2), INGRESS),
    with_status(of("Ingress"), INGRESS),
    with_status(of("HorizontalPodAutoscaler"), {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": METRICS}),
    with_status(of("Namespace"), {"phase": "Active"}),
    with_status(of("ResourceQuota"), {"hard": {"cpu": "2", "limits.memory": "1Gi"}, "used": {"cpu": "500m"}}),
    with_status(
        of("PersistentVolumeClaim"),
        {"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"]},
    ),
    with_status(
        of("Node"),
        {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}, {"type": "Hostname", "address": "h"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.3",
                "osImage": "Simulated",
                "kernelVersion": "6.1",
                "architecture": "amd64",
                "containerRuntimeVersion": "sim://1",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
            },
        },
    ),
]
RBAC, NET, STORAGE = "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1", "storage.k8s.io/v1"
RULES = [{"host": f"{it}.example.com", "http": {"paths": []}} for it in "abcd"]
SUBJECTS = [
    {"kind": "User", "name": "u"},
    {"kind": "Group", "name": "g"},
    {"kind": "User", "name": "v"},
    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
]
EVENT = {
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "fieldPath": "spec.containers{c}"},
    "reason": "Because",
    "message": " something happened \n",
    "type": "Warning",
    "source": {"component": "kubelet", "host": "n1"},
    "firstTimestamp": OLD,
    "lastTimestamp": "2026-06-01T00:00:00Z",
    "count": 7,
}
MORE = [
    named("Event", "v1", "events", **EVENT),
    named(
        "Event",
        "v1",
        "events",
        involvedObject=EVENT["involvedObject"],
        eventTime="2026-05-01T00:00:00.000000Z",
        reportingComponent="example.com/c",
        reportingInstance="c-1",
        action="Act",
        reason="R",
        type="Normal",
        series={"count": 5, "lastObservedTime": "2026-07-01T00:00:00.000000Z"},
    ),
    named("RoleBinding", RBAC, "rolebindings", roleRef={"kind": "Role", "name": "r"}, subjects=SUBJECTS),
    named("StorageClass", STORAGE, "storageclasses", cluster=True, provisioner="a.b/c", allowVolumeExpansion=True),
    named("PersistentVolumeClaim", "v1", "persistentvolumeclaims", spec={**CLAIM, "storageClassName": "fast"}),
    named(
        "NetworkPolicy",
        NET,
        "networkpolicies",
        spec={"podSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["b", "a"]}]}},
    ),
    named("Lease", "coordination.k8s.io/v1", "leases", spec={"holderIdentity": "me"}),
    named("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", cluster=True, value=5, globalDefault=True),
    named("ControllerRevision", "apps/v1", "controllerrevisions", revision=3, data={"a": {"b": 1}}),
    named(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        "endpointslices",
        addressType="IPv4",
        endpoints=[{"addresses": [f"10.1.1.{it}"]} for it in range(1, 6)],
        ports=[{"name": "a", "port": 80}, {"name": "b"}],
    ),
    named(
        "Endpoints",
        "v1",
        "endpoints",
        subsets=[{"addresses": [{"ip": f"10.1.1.{it}"} for it in range(1, 6)], "ports": [{"port": 1}]}],
    ),
]


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()

    def call(method: str, path: str, body: object = None, **headers: str) -> tuple[str, Any]:
        request = urllib.request.Request(
            url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.headers["Date"], json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.read().decode()}") from error

    recorded = []

    def record(date: str, table: Any) -> None:
        row = table["rows"][0]
        now = email.utils.parsedate_to_datetime(date).isoformat()
        recorded.append(
            {"now": now, "object": row["object"], "cells": row["cells"], "conditions": row.get("conditions", [])}
        )

    for path, sent in (*CASES, *MORE):
        record(*call("POST", f"{path}?dryRun=All&includeObject=Object", sent, Accept=TABLE))
    for path, sent, status in STATUSES:
        call("POST", path, sent)
        target = f"{path}/{sent['metadata']['name']}"
        query = "/status?dryRun=All&includeObject=Object"
        patch = {"Content-Type": "application/merge-patch+json"}
        try:
            record(*call("PATCH", target + query, {"status": status}, Accept=TABLE, **patch))
        finally:
            call("PATCH", target, {"metadata": {"finalizers": None}}, **patch)
            call("DELETE", f"{target}?gracePeriodSeconds=0")
            if sent["kind"] == "Namespace":
                finished = {**sent, "spec": {"finalizers": []}}
                call("PUT", f"{target}/finalize", finished)
    OUT.write_text("[\n" + ",\n".join(json.dumps(it, sort_keys=True) for it in recorded) + "\n]\n")
    sys.stdout.write(f"{len(recorded)} rows\n")


if __name__ == "__main__":
    main()
