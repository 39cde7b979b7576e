"""Record how a real API server refuses objects whose JSON has the wrong types or unknown fields, as data for tests.

python tests/real/record_decoding.py https://127.0.0.1:6443 TOKEN
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

OUT = Path("tests/unit/controlplane/embedded/scheme/data/decoding.json")
CORE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
META = {"metadata": {"name": "sample"}}


def container(**fields: object) -> dict[str, object]:
    return {**META, "spec": {"containers": [{"name": "a", "image": "b", **fields}]}}


CASES: list[tuple[str, str, object]] = [
    (f"{APPS}/deployments", "Deployment", {**META, "spec": {"replicas": "3"}}),
    (f"{APPS}/deployments", "Deployment", {**META, "spec": "a"}),
    (f"{APPS}/deployments", "Deployment", {**META, "spec": {"template": {"spec": {"containers": {"a": 1}}}}}),
    (
        f"{APPS}/deployments",
        "Deployment",
        {**META, "spec": {"template": {"spec": {"containers": [{"ports": [{"containerPort": "x"}]}]}}}},
    ),
    (
        f"{APPS}/deployments",
        "Deployment",
        {**META, "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"bar": 1}], "x": 2}}}},
    ),
    (f"{CORE}/pods", "Pod", container(env=[{"name": 1}])),
    (f"{CORE}/pods", "Pod", container(tty="x")),
    (f"{CORE}/pods", "Pod", container(command="sh")),
    (f"{CORE}/pods", "Pod", container(command=[1])),
    (f"{CORE}/pods", "Pod", container(livenessProbe=[])),
    (f"{CORE}/pods", "Pod", container(livenessProbe={"httpGet": {"port": True}})),
    (f"{CORE}/pods", "Pod", container(resources={"limits": {"cpu": "abc"}})),
    (f"{CORE}/pods", "Pod", container(resources={"limits": {"cpu": "1.5.5"}})),
    (f"{CORE}/pods", "Pod", container(resources={"limits": "x"})),
    (f"{CORE}/pods", "Pod", container(ports=[{"containerPort": 1.5}])),
    (f"{CORE}/pods", "Pod", container(ports=[{"containerPort": 99999999999}])),
    (f"{CORE}/pods", "Pod", container(ports=[{"protocol": 5}])),
    (f"{CORE}/pods", "Pod", container(securityContext={"runAsUser": "x"})),
    (f"{CORE}/pods", "Pod", {**META, "spec": {"nodeSelector": ["a"]}}),
    (f"{CORE}/pods", "Pod", {**META, "spec": {"volumes": [{"name": "v", "secret": {"items": {}}}]}}),
    (f"{CORE}/pods", "Pod", {**META, "status": {"phase": 1}}),
    (f"{CORE}/services", "Service", {**META, "spec": {"ports": [{"port": 80, "targetPort": {}}]}}),
    (f"{CORE}/services", "Service", {**META, "spec": {"selector": {"a": 1}}}),
    (f"{CORE}/secrets", "Secret", {**META, "data": {"a": "b!"}}),
    (f"{CORE}/secrets", "Secret", {**META, "data": {"a": 5}}),
    (f"{CORE}/secrets", "Secret", {**META, "stringData": {"a": 5}}),
    (f"{CORE}/configmaps", "ConfigMap", {**META, "data": {"a": True}}),
    (f"{CORE}/configmaps", "ConfigMap", {**META, "data": []}),
    (f"{CORE}/configmaps", "ConfigMap", {**META, "binaryData": {"a": "###"}}),
    (f"{CORE}/configmaps", "ConfigMap", {**META, "immutable": "yes"}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": 1}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": 5}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "labels": {"a": 1}}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "finalizers": "a"}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "ownerReferences": [{"controller": "x"}]}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "creationTimestamp": "foo"}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "creationTimestamp": 5}}),
    (f"{CORE}/configmaps", "ConfigMap", {"metadata": {"name": "x", "generation": "1"}}),
    (
        f"{CORE}/configmaps",
        "ConfigMap",
        '{"metadata":{"name":"x","foo":1,"labels":{"a":"b","a":"c"}},"data":{"a":"1","a":"2"},"foo":1,"foo":2}',
    ),
    (f"{CORE}/configmaps", "ConfigMap", '{"metadata":{"name":"x","name":"y"},"data":{},"data":{}}'),
    (
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        "Lease",
        {**META, "spec": {"renewTime": "x"}},
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
        "Role",
        {**META, "rules": [{"verbs": "get"}]},
    ),
    (
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        {**META, "spec": {"metrics": [{"resource": {"target": {"averageValue": "x"}}}]}},
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        "Ingress",
        {**META, "spec": {"rules": [{"http": {"paths": "x"}}]}},
    ),
]


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()
    recorded = []
    for path, kind, body in CASES:
        text = body if isinstance(body, str) else json.dumps(body)
        request = urllib.request.Request(
            f"{url}{path}?dryRun=All&fieldValidation=Strict",
            data=text.encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                raise SystemExit(f"{text}: {answer.status}")
        except urllib.error.HTTPError as error:
            status = json.load(error)
        version = path.split("/namespaces")[0].removeprefix("/apis/").removeprefix("/api/")
        recorded.append({"apiVersion": version, "kind": kind, "sent": text, "message": status["message"]})
    OUT.write_text("[\n" + ",\n".join(json.dumps(it, sort_keys=True) for it in recorded) + "\n]\n")
    sys.stdout.write(f"{len(recorded)} cases\n")


if __name__ == "__main__":
    main()
