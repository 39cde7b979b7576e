"""Record how a real API server refuses wrong objects, as data for the tests of validation.

python tests/real/record_validation.py https://127.0.0.1:6443 TOKEN
"""

from __future__ import annotations

import copy
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

OUT = Path("tests/unit/controlplane/embedded/registry/validation/data/validation.json")
RBAC = "rbac.authorization.k8s.io/v1"
PLURALS = {
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Namespace": "namespaces",
    "Service": "services",
    "Pod": "pods",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Event": "events",
    "ServiceAccount": "serviceaccounts",
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "Role": "roles",
    "ClusterRole": "clusterroles",
    "RoleBinding": "rolebindings",
    "ClusterRoleBinding": "clusterrolebindings",
    "Lease": "leases",
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "StorageClass": "storageclasses",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PriorityClass": "priorityclasses",
}
CLUSTER = {"Namespace", "ClusterRole", "ClusterRoleBinding", "StorageClass", "PriorityClass"}
C = {"name": "c", "image": "i"}
LABELS = {"metadata": {"labels": {"a": "b"}}}
POD = {"containers": [C]}
TEMPLATE = {**LABELS, "spec": POD}
SELECTOR = {"matchLabels": {"a": "b"}}
WORK = {"selector": SELECTOR, "template": TEMPLATE}
PORT = {"ports": [{"port": 80}]}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def obj(kind: str, api_version: str = "v1", name: str = "sample", **rest: object) -> dict[str, object]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **rest}


def pod(**spec: object) -> dict[str, object]:
    return obj("Pod", spec={**POD, **spec})


def container(**fields: object) -> dict[str, object]:
    return pod(containers=[{**C, **fields}])


WRONG = [
    obj("Namespace", name="Under_score"),
    obj("Namespace", name="a.b"),
    obj("Service", name="1abc.x", spec=PORT),
    obj("ServiceAccount", name="A"),
    obj("ClusterRole", RBAC, name="a/b"),
    obj("ConfigMap", data={"a b": "x"}),
    obj("ConfigMap", data={"a": "x"}, binaryData={"a": "eA=="}),
    obj("ConfigMap", data={"..": "x"}),
    obj("Secret", data={"a/b": "eA=="}),
    obj("Secret", type="kubernetes.io/tls"),
    obj("Secret", type="kubernetes.io/tls", data={"tls.crt": "eA=="}),
    obj("Secret", type="kubernetes.io/basic-auth"),
    obj("Secret", type="kubernetes.io/ssh-auth"),
    obj("Secret", type="kubernetes.io/dockerconfigjson"),
    obj("Secret", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "eA=="}),
    obj("Secret", type="kubernetes.io/service-account-token"),
    obj("Pod"),
    pod(containers=[]),
    pod(containers=[{}]),
    pod(containers=[{"name": "c"}]),
    pod(containers=[{"name": "C_", "image": "i"}]),
    pod(containers=[C, C]),
    pod(restartPolicy="Sometimes"),
    pod(dnsPolicy="x"),
    pod(terminationGracePeriodSeconds=-1),
    pod(activeDeadlineSeconds=0),
    pod(nodeSelector={"a b": "c"}),
    pod(serviceAccountName="A_"),
    pod(nodeName="A_"),
    pod(volumes=[{"name": "v"}, {"name": "v"}]),
    pod(volumes=[{"name": "V_"}]),
    pod(volumes=[{}]),
    pod(volumes=[{"name": "v", "secret": {}}]),
    pod(volumes=[{"name": "v", "configMap": {}}]),
    pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]),
    pod(volumes=[{"name": "v", "hostPath": {"path": ""}}]),
    pod(volumes=[{"name": "v", "persistentVolumeClaim": {}}]),
    pod(volumes=[{"name": "v", "secret": {"secretName": "s", "items": [{"key": "", "path": "../x"}]}}]),
    pod(volumes=[{"name": "v", "secret": {"secretName": "s", "defaultMode": 10000}}]),
    pod(volumes=[{"name": "v", "projected": {"sources": [{}]}}]),
    pod(tolerations=[{"operator": "x"}]),
    pod(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
    pod(hostNetwork=True, containers=[{**C, "ports": [{"containerPort": 80, "hostPort": 81}]}]),
    pod(initContainers=[C]),
    pod(initContainers=[{**C, "name": "d", "readinessProbe": {"exec": {"command": ["x"]}}}]),
    pod(imagePullSecrets=[{}]),
    pod(hostname="A_"),
    container(volumeMounts=[{"name": "missing", "mountPath": "/x"}]),
    container(volumeMounts=[{"name": "", "mountPath": ""}]),
    container(imagePullPolicy="Never again"),
    container(ports=[{"containerPort": 0}]),
    container(ports=[{"containerPort": 70000}]),
    container(ports=[{"containerPort": 80, "protocol": "x"}]),
    container(ports=[{"containerPort": 80, "name": "way-too-long-for-a-port"}]),
    container(ports=[{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]),
    container(env=[{"name": ""}]),
    container(env=[{"name": "a=b"}]),
    container(env=[{"name": "a", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
    container(env=[{"name": "a", "valueFrom": {}}]),
    container(env=[{"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}]),
    container(env=[{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]),
    container(envFrom=[{}]),
    container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
    container(resources={"limits": {"cpu": "-1"}}),
    container(resources={"limits": {"foo": "1"}}),
    container(livenessProbe={}),
    container(livenessProbe={"httpGet": {"port": 0}}),
    container(livenessProbe={"httpGet": {"port": "x"}, "exec": {"command": ["x"]}}),
    container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
    container(livenessProbe={"tcpSocket": {"port": 1}, "periodSeconds": -1}),
    container(lifecycle={"preStop": {}}),
    container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
    container(securityContext={"runAsUser": -1}),
    container(terminationMessagePolicy="x"),
    obj("Service"),
    obj("Service", spec={"ports": [{}]}),
    obj("Service", spec={"ports": [{"port": 80}, {"port": 81}]}),
    obj("Service", spec={"ports": [{"port": 80, "name": "A_"}]}),
    obj("Service", spec={"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}),
    obj("Service", spec={"ports": [{"port": 80, "protocol": "x"}]}),
    obj("Service", spec={"ports": [{"port": 80, "targetPort": "A_"}]}),
    obj("Service", spec={**PORT, "type": "x"}),
    obj("Service", spec={**PORT, "clusterIP": "x"}),
    obj("Service", spec={**PORT, "sessionAffinity": "x"}),
    obj("Service", spec={"type": "ExternalName"}),
    obj("Service", spec={**PORT, "type": "LoadBalancer", "clusterIP": "None"}),
    obj("Service", spec={**PORT, "selector": {"a b": "c"}}),
    obj("Service", spec={"ports": [{"port": 80, "nodePort": 30000}]}),
    obj("PersistentVolumeClaim"),
    obj("PersistentVolumeClaim", spec={"accessModes": ["x"], "resources": {"requests": {"storage": "1Gi"}}}),
    obj("PersistentVolumeClaim", spec={"accessModes": ["ReadWriteOnce"]}),
    obj("PersistentVolumeClaim", spec={**CLAIM, "resources": {"requests": {"storage": "0"}}}),
    obj("PersistentVolumeClaim", spec={**CLAIM, "storageClassName": "A_"}),
    obj("Event", involvedObject={"namespace": "other", "name": "x", "kind": "Pod"}),
    obj("Deployment", "apps/v1"),
    obj("Deployment", "apps/v1", spec={"selector": SELECTOR, "template": {"spec": POD}}),
    obj("Deployment", "apps/v1", spec={"selector": {}, "template": TEMPLATE}),
    obj("Deployment", "apps/v1", spec={**WORK, "replicas": -1}),
    obj("Deployment", "apps/v1", spec={**WORK, "strategy": {"type": "x"}}),
    obj("Deployment", "apps/v1", spec={**WORK, "strategy": {"type": "Recreate", "rollingUpdate": {}}}),
    obj(
        "Deployment",
        "apps/v1",
        spec={**WORK, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
    ),
    obj("Deployment", "apps/v1", spec={**WORK, "strategy": {"rollingUpdate": {"maxSurge": "x%"}}}),
    obj("Deployment", "apps/v1", spec={**WORK, "progressDeadlineSeconds": 1, "minReadySeconds": 5}),
    obj("Deployment", "apps/v1", spec={**WORK, "template": {**LABELS, "spec": {**POD, "restartPolicy": "Never"}}}),
    obj(
        "Deployment",
        "apps/v1",
        spec={**WORK, "selector": {"matchExpressions": [{"key": "a", "operator": "x"}]}},
    ),
    obj("Deployment", "apps/v1", spec={**WORK, "selector": {"matchLabels": {"a": "b c"}}}),
    obj("ReplicaSet", "apps/v1", spec={}),
    obj("StatefulSet", "apps/v1", spec={}),
    obj("StatefulSet", "apps/v1", spec={**WORK, "podManagementPolicy": "x"}),
    obj("StatefulSet", "apps/v1", spec={**WORK, "updateStrategy": {"type": "x"}}),
    obj("DaemonSet", "apps/v1", spec={}),
    obj("DaemonSet", "apps/v1", spec={**WORK, "updateStrategy": {"type": "x"}}),
    obj("Job", "batch/v1", spec={"template": {"spec": POD}}),
    obj("Job", "batch/v1", spec={}),
    obj("Job", "batch/v1", spec={"parallelism": -1, "template": {"spec": {**POD, "restartPolicy": "Never"}}}),
    obj("CronJob", "batch/v1", spec={}),
    obj(
        "CronJob",
        "batch/v1",
        spec={"schedule": "x", "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}}},
    ),
    obj("Role", RBAC, rules=[{}]),
    obj("Role", RBAC, rules=[{"verbs": ["get"]}]),
    obj("Role", RBAC, rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
    obj("Role", RBAC, rules=[{"verbs": ["get"], "resources": ["pods"]}]),
    obj("RoleBinding", RBAC, roleRef={"kind": "x", "name": ""}),
    obj("RoleBinding", RBAC, roleRef={"kind": "Role", "name": "r"}, subjects=[{"kind": "x", "name": "u"}]),
    obj(
        "RoleBinding",
        RBAC,
        roleRef={"kind": "Role", "name": "r"},
        subjects=[{"kind": "ServiceAccount", "name": "u"}],
    ),
    obj("ClusterRoleBinding", RBAC, roleRef={"kind": "Role", "name": "r"}),
    obj("Lease", "coordination.k8s.io/v1", spec={"leaseDurationSeconds": 0, "leaseTransitions": -1}),
    obj("Ingress", "networking.k8s.io/v1", spec={}),
    obj("Ingress", "networking.k8s.io/v1", spec={"defaultBackend": {}}),
    obj(
        "Ingress",
        "networking.k8s.io/v1",
        spec={"rules": [{"host": "A_", "http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {}}]}}]},
    ),
    obj("NetworkPolicy", "networking.k8s.io/v1", spec={"podSelector": {}, "policyTypes": ["x"]}),
    obj("PodDisruptionBudget", "policy/v1", spec={"minAvailable": 1, "maxUnavailable": 1, "selector": SELECTOR}),
    obj("PodDisruptionBudget", "policy/v1", spec={"minAvailable": -1, "selector": SELECTOR}),
    obj("StorageClass", "storage.k8s.io/v1"),
    obj("StorageClass", "storage.k8s.io/v1", provisioner="a.b/c", reclaimPolicy="x"),
    obj("HorizontalPodAutoscaler", "autoscaling/v2", spec={"scaleTargetRef": {}, "maxReplicas": 0}),
    obj(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        spec={"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 5, "maxReplicas": 3},
    ),
    obj("PriorityClass", "scheduling.k8s.io/v1", value=2000000000),
]


def changed(before: dict[str, object], path: str, value: object) -> tuple[dict[str, object], dict[str, object]]:
    after = copy.deepcopy(before)
    *parents, last = path.split("/")
    target: dict[str, object] = after
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})  # type: ignore[assignment]
    if isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value
    return before, after


DEPLOYMENT = obj("Deployment", "apps/v1", spec=WORK)
STATEFUL = obj("StatefulSet", "apps/v1", spec={**WORK, "serviceName": "s"})
BINDING = obj("RoleBinding", RBAC, roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"})
UPDATES = [
    changed(obj("Secret", data={"a": "eA=="}), "type", "other"),
    changed(obj("Secret", data={"a": "eA=="}, immutable=True), "data", {"a": "eQ=="}),
    changed(obj("Secret", data={"a": "eA=="}, immutable=True), "immutable", False),
    changed(obj("ConfigMap", data={"a": "x"}, immutable=True), "data", {"a": "y"}),
    changed(obj("ConfigMap", data={"a": "x"}, immutable=True), "binaryData", {"b": "eA=="}),
    changed(obj("ConfigMap", data={"a": "x"}, immutable=True), "immutable", None),
    changed(DEPLOYMENT, "spec/selector", {"matchLabels": {"a": "b", "c": "d"}}),
    changed(STATEFUL, "spec/serviceName", "other"),
    changed(BINDING, "roleRef/name", "other"),
    changed(obj("Service", spec=PORT), "spec/clusterIP", "10.0.0.77"),
    changed(obj("Pod", spec=POD), "spec/containers/0/command", ["x"]),
    changed(obj("Pod", spec=POD), "spec/containers", [C, {"name": "d", "image": "i"}]),
    changed(obj("Pod", spec=POD), "spec/nodeName", "n"),
    changed(obj("PersistentVolumeClaim", spec=CLAIM), "spec/accessModes", ["ReadWriteMany"]),
    changed(obj("PersistentVolumeClaim", spec=CLAIM), "spec/resources/requests/storage", "500Mi"),
    changed(obj("StorageClass", "storage.k8s.io/v1", provisioner="a.b/c"), "provisioner", "c.b/a"),
    changed(obj("PriorityClass", "scheduling.k8s.io/v1", value=5), "value", 6),
]


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()

    def call(method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        request = urllib.request.Request(
            url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "tester/1"},
        )
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def collection(it: dict[str, object]) -> str:
        version, kind = str(it["apiVersion"]), str(it["kind"])
        where = "" if kind in CLUSTER else "namespaces/default/"
        return f"/{'apis' if '/' in version else 'api'}/{version}/{where}{PLURALS[kind]}"

    recorded = []
    for it in WRONG:
        code, answer = call("POST", collection(it) + "?dryRun=All", it)
        recorded.append({"sent": it, **reported(code, answer)})
    for before, after in UPDATES:
        code, live = call("POST", collection(before), before)
        if code != 201:
            raise SystemExit(f"{before}: {live}")
        code, answer = call("PUT", collection(before) + "/sample", after)
        call("DELETE", collection(before) + "/sample?gracePeriodSeconds=0")
        call("PATCH", collection(before) + "/sample", None)
        recorded.append({"sent": after, "live": live, **reported(code, answer)})
        finalizers = live["metadata"].get("finalizers")  # type: ignore[attr-defined]
        if finalizers:
            del live["metadata"]["finalizers"], live["metadata"]["resourceVersion"]  # type: ignore[attr-defined]
            call("PUT", collection(before) + "/sample", live)
    OUT.write_text("[\n" + ",\n".join(json.dumps(it, sort_keys=True) for it in recorded) + "\n]\n")
    sys.stdout.write(f"{len(recorded)} cases\n")


def reported(code: int, answer: dict[str, object]) -> dict[str, object]:
    causes = (answer.get("details") or {}).get("causes", [])  # type: ignore[attr-defined]
    return {"code": code, "message": answer.get("message", ""), "causes": causes if code >= 300 else []}


if __name__ == "__main__":
    main()
