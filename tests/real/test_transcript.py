"""One session of kubectl on both control planes at once: what it prints is the same, but for names of the moment."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import ExitStack

import pytest

from operatorkit.testing.backends import start

NAMESPACE = "transcript"
MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}, annotations: {note: "two\\nlines"}}
data: {colour: red, text: "a\\nb\\n"}
binaryData: {blob: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: login, labels: {app: web}}
stringData: {user: eve, password: secret}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  paused: true
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          ports: [{name: web, containerPort: 8080}]
          resources: {requests: {cpu: 0.5, memory: 1024Mi}, limits: {cpu: "1"}}
          readinessProbe: {httpGet: {path: /ready, port: web}}
          env: [{name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: ["", apps], resources: [pods, deployments], verbs: [get, list]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: none}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""
KINDS = [
    "configmaps",
    "secrets",
    "services",
    "deployments",
    "roles",
    "serviceaccounts",
    "cronjobs",
    "ingresses",
    "persistentvolumeclaims",
]
COMMANDS = [
    "create namespace transcript",
    "apply -f - -n transcript",
    "apply -f - -n transcript",
    "apply -f - -n transcript --server-side --field-manager=two --force-conflicts",
    *(f"get {kind} -n transcript" for kind in KINDS),
    *(f"get {kind} -n transcript -o wide --show-labels" for kind in KINDS),
    *(f"get {kind} -n transcript -o yaml" for kind in ("secrets", "services", "deployments", "cronjobs", "ingresses")),
    "get deployment web -n transcript -o yaml --show-managed-fields",
    "get cm settings -n transcript -o json",
    "describe cm settings -n transcript",
    "describe secret login -n transcript",
    "describe role reader -n transcript",
    "describe deployment web -n transcript",
    "describe ns transcript",
    "get ns transcript -o yaml",
    "get cm settings -n transcript -o jsonpath={.data}",
    "get cm,secret -n transcript -l app=web",
    "get nothing -n transcript",
    "get cm nothing -n transcript",
    "label cm settings app- size=big -n transcript",
    'patch cm settings --type=json -p \'[{"op":"remove","path":"/data/none"}]\' -n transcript',
    'patch cm settings -p \'{"data":{"colour":3}}\' -n transcript',
    'patch deployment web -p \'{"spec":{"selector":{"matchLabels":{"app":"other"}}}}\' -n transcript',
    'patch deployment web -p \'{"spec":{"replicas":-1}}\' -n transcript',
    "scale deployment web --replicas=0 -n transcript",
    "create deployment web --image=x -n transcript",
    "run wrong --image= -n transcript",
    "explain cronjob.spec.jobTemplate",
    "explain pod.spec.containers.resources",
    "explain nothing",
    "api-resources --api-group=apps",
    "api-resources --api-group=rbac.authorization.k8s.io -o wide",
    "auth can-i create deployments -n transcript --as=system:serviceaccount:transcript:robot",
    "get pods -n transcript --as=system:serviceaccount:transcript:robot",
    "delete cm settings -n transcript",
    "delete cm settings -n transcript",
    "delete deployment,service web -n transcript",
]
MOMENTARY = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "TIME"),
    (r'(resourceVersion"?: )"\d+"', r'\1"N"'),
    (r"(?<![\w.-])\d+(ms|s|m\d*s?)(?![\w.-])", "AGE"),
    (r"[ \t]+", " "),
    (r" +\n", "\n"),
]


def shown(done):
    text = f"{done.stdout}{done.stderr}[{done.returncode}]\n"
    for pattern, placeholder in MOMENTARY:
        text = re.sub(pattern, placeholder, text)
    return text


@pytest.fixture(scope="module")
def both(binaries, tmp_path_factory, kubectl_class):
    """kubectl on each of the two control planes, without nodes."""
    with ExitStack() as stack:
        tools = {}
        for backend in ("embedded", "real"):
            plane = stack.enter_context(start(backend))
            directory = tmp_path_factory.mktemp(backend)
            config = plane.write_kubeconfig(directory / "kubeconfig")
            tools[backend] = kubectl_class(binaries.kubectl, config, directory)
        yield tools


@pytest.mark.timeout(900)
def test_both_control_planes_print_the_same(both):
    differences = []
    grace_period = time.monotonic() + 60  # controllers write the status of what was applied
    for command in COMMANDS:
        stdin = MANIFESTS if "-f -" in command else None
        embedded, real = (shown(both[name].run(*shlex.split(command), stdin=stdin)) for name in ("embedded", "real"))
        while embedded != real and command.startswith(("get ", "describe ")) and time.monotonic() < grace_period:
            embedded, real = (shown(both[name].run(*shlex.split(command))) for name in ("embedded", "real"))
        if embedded != real:
            differences.append(f"$ kubectl {command}\n--- real\n{real}+++ embedded\n{embedded}")
    assert not differences, f"{len(differences)} of {len(COMMANDS)} differ:\n" + "\n".join(differences)
