"""Record what a real API server makes of minimal objects, as data for the tests of defaults.

    python tests/real/record_defaults.py https://127.0.0.1:6443 TOKEN

The server needs no nodes and no controllers; everything is created in the namespace `default` and deleted again.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

OUT = Path("tests/unit/controlplane/embedded/scheme/data/defaults.json")
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTOR = {"matchLabels": {"a": "b"}}
RICH = {
    "containers": [
        {
            "name": "c",
            "image": "registry:5000/i:v1",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "readinessProbe": {"grpc": {"port": 80}},
            "startupProbe": {"tcpSocket": {"port": "x"}, "periodSeconds": 3},
            "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        },
        {"name": "d", "image": "i:latest", "command": []},
        {"name": "e", "image": "i@sha256:" + "a" * 64, "resources": {"requests": {"cpu": "0.5"}}},
    ],
    "initContainers": [{"name": "init", "image": "i"}],
    "volumes": [
        {"name": "a"},
        {"name": "b", "secret": {"secretName": "s"}},
        {"name": "c", "configMap": {"name": "s"}},
        {"name": "d", "hostPath": {"path": "/x"}},
        {"name": "e", "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "f", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "g", "emptyDir": {"sizeLimit": "1.5Gi"}},
    ],
    "serviceAccountName": "x",
    "restartPolicy": "Never",
    "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
}
RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
HOOK = {
    "name": "a.b.c",
    "clientConfig": {"service": {"name": "s", "namespace": "n"}},
    "rules": RULES,
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
CRD_SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
DEFINITION = {
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": CRD_SCHEMA}],
    },
}


def named(kind: str, api_version: str, plural: str, **rest: object) -> tuple[str, dict[str, object]]:
    prefix = "/api/" if "/" not in api_version else "/apis/"
    cluster = rest.pop("cluster", False)
    path = f"{prefix}{api_version}/{'' if cluster else 'namespaces/default/'}{plural}"
    return path, {"apiVersion": api_version, "kind": kind, "metadata": {"name": "sample"}, **rest}


APPS, BATCH, NET, ADMISSION = "apps/v1", "batch/v1", "networking.k8s.io/v1", "admissionregistration.k8s.io/v1"
EXTENSIONS = "apiextensions.k8s.io/v1"
RBAC, STORAGE, AUTO = "rbac.authorization.k8s.io/v1", "storage.k8s.io/v1", "autoscaling/v2"
PORTS = [{"port": 80}, {"port": 443, "name": "s", "targetPort": "x"}]
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}
ROLE = {"kind": "Role", "name": "r"}
INVOLVED = {"kind": "Pod", "name": "p", "namespace": "default"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1000Mi"}}}
METRIC = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": APPS}, "maxReplicas": 3}
CASES = [
    named("ConfigMap", "v1", "configmaps", data={"a": "b"}, binaryData={}),
    named("Secret", "v1", "secrets", stringData={"a": "b"}, data={"c": "ZA=="}),
    named("Namespace", "v1", "namespaces", cluster=True),
    named("Service", "v1", "services", spec={"selector": {"a": "b"}, "ports": [{"port": 80}]}),
    named("Service", "v1", "services", spec={"type": "NodePort", "ports": PORTS[:1], "sessionAffinity": "ClientIP"}),
    named("Service", "v1", "services", spec={"type": "LoadBalancer", "ports": PORTS[1:]}),
    named("Service", "v1", "services", spec={"type": "ExternalName", "externalName": "x.example.com"}),
    named("Service", "v1", "services", spec={"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 1}]}),
    named("Pod", "v1", "pods", spec=TEMPLATE["spec"]),
    named("Pod", "v1", "pods", spec=RICH),
    named("ServiceAccount", "v1", "serviceaccounts"),
    named("PersistentVolumeClaim", "v1", "persistentvolumeclaims", spec=CLAIM),
    named(
        "PersistentVolume",
        "v1",
        "persistentvolumes",
        cluster=True,
        spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
    ),
    named("Endpoints", "v1", "endpoints", subsets=[{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 1}]}]),
    named("Event", "v1", "events", involvedObject=INVOLVED),
    named("ReplicationController", "v1", "replicationcontrollers", spec={"template": TEMPLATE}),
    named("ResourceQuota", "v1", "resourcequotas", spec={"hard": {"cpu": "1000m"}}),
    named("LimitRange", "v1", "limitranges", spec={"limits": [{"type": "Container", "max": {"cpu": "2"}}]}),
    named("PodTemplate", "v1", "podtemplates", template=TEMPLATE),
    named("Deployment", APPS, "deployments", spec={"selector": SELECTOR, "template": TEMPLATE}),
    named(
        "Deployment",
        APPS,
        "deployments",
        spec={"selector": SELECTOR, "template": TEMPLATE, "strategy": {"type": "Recreate"}, "replicas": 0},
    ),
    named("ReplicaSet", APPS, "replicasets", spec={"selector": SELECTOR, "template": TEMPLATE}),
    named("DaemonSet", APPS, "daemonsets", spec={"selector": SELECTOR, "template": TEMPLATE}),
    named(
        "StatefulSet",
        APPS,
        "statefulsets",
        spec={
            "selector": SELECTOR,
            "template": TEMPLATE,
            "serviceName": "s",
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": CLAIM}],
        },
    ),
    named("ControllerRevision", APPS, "controllerrevisions", revision=1, data={"a": {"b": 1}}),
    named("Job", BATCH, "jobs", spec={"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}),
    named(
        "CronJob",
        BATCH,
        "cronjobs",
        spec={
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}},
        },
    ),
    named("HorizontalPodAutoscaler", AUTO, "horizontalpodautoscalers", spec=METRIC),
    named(
        "HorizontalPodAutoscaler",
        AUTO,
        "horizontalpodautoscalers",
        spec={**METRIC, "behavior": {"scaleUp": {"selectPolicy": "Min"}}},
    ),
    named("Ingress", NET, "ingresses", spec={"defaultBackend": BACKEND}),
    named("IngressClass", NET, "ingressclasses", cluster=True, spec={"controller": "a.b/c"}),
    named("NetworkPolicy", NET, "networkpolicies", spec={"podSelector": {}, "egress": [{"ports": [{"port": 80}]}]}),
    named("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", spec={"minAvailable": 1, "selector": SELECTOR}),
    named("Role", RBAC, "roles", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
    named("ClusterRole", RBAC, "clusterroles", cluster=True),
    named(
        "RoleBinding",
        RBAC,
        "rolebindings",
        roleRef=ROLE,
        subjects=[{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "default"}],
    ),
    named("Lease", "coordination.k8s.io/v1", "leases", spec={"renewTime": "2026-01-02T03:04:05.100000Z"}),
    named("StorageClass", STORAGE, "storageclasses", cluster=True, provisioner="a.b/c"),
    named("CSIDriver", STORAGE, "csidrivers", cluster=True, spec={}),
    named("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", cluster=True, value=5),
    named(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        "endpointslices",
        addressType="IPv4",
        endpoints=[{"addresses": ["10.1.1.1"]}],
        ports=[{"port": 80}],
    ),
    named(
        "ValidatingWebhookConfiguration", ADMISSION, "validatingwebhookconfigurations", cluster=True, webhooks=[HOOK]
    ),
    named("MutatingWebhookConfiguration", ADMISSION, "mutatingwebhookconfigurations", cluster=True, webhooks=[HOOK]),
    named("CustomResourceDefinition", EXTENSIONS, "customresourcedefinitions", cluster=True, **DEFINITION),
    named("Node", "v1", "nodes", cluster=True),
]


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()

    def call(method: str, path: str, body: object = None) -> object:
        request = urllib.request.Request(
            url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "tester/1"},
        )
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.read().decode()}") from error

    recorded = []
    for path, sent in CASES:
        # Namespaces and custom resources stay behind without controllers: a dry run leaves nothing.
        answer = call("POST", f"{path}?dryRun=All", sent)
        recorded.append({"path": path, "sent": sent, "answer": answer})
    OUT.write_text("[\n" + ",\n".join(json.dumps(it, sort_keys=True) for it in recorded) + "\n]\n")
    sys.stdout.write(f"{len(recorded)} cases\n")


if __name__ == "__main__":
    main()
