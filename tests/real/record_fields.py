"""Record what a real API server makes of sequences of writes by several managers, as data for the tests of fields.

    python tests/real/record_fields.py https://127.0.0.1:6443 TOKEN

A step is (verb, manager, body, options): verbs are create, update, apply, force, json, merge, strategic. After each the
server's answer is recorded; it is what the next step starts from.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

OUT = Path("tests/unit/controlplane/embedded/fields/data/writes.json")
MEDIA = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "force": "application/apply-patch+yaml",
}
NAME = {"name": "sample", "namespace": "default"}
LAST = "kubectl.kubernetes.io/last-applied-configuration"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "samples.fields.example.com"},
    "spec": {
        "group": "fields.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Sample", "plural": "samples"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "text": {"type": "string"},
                                    "number": {"type": "integer"},
                                    "any": {"x-kubernetes-int-or-string": True},
                                    "whole": {"type": "array", "items": {"type": "string"}},
                                    "set": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                    },
                                    "byKey": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["a", "b"],
                                        "items": {
                                            "type": "object",
                                            "required": ["a"],
                                            "properties": {
                                                "a": {"type": "string"},
                                                "b": {"type": "integer", "default": 7},
                                                "value": {"type": "string"},
                                            },
                                        },
                                    },
                                    "atomic": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                                    },
                                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "phase": {"type": "string"},
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": {
                                            "type": "object",
                                            "required": ["type"],
                                            "properties": {
                                                "type": {"type": "string"},
                                                "status": {"type": "string"},
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


def config_map(data: dict[str, str], **metadata: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**NAME, **metadata}, "data": data}


def deployment(containers: list[dict[str, Any]], **spec: object) -> dict[str, Any]:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    whole = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": dict(NAME), "spec": whole}


def service(ports: list[dict[str, Any]], **spec: object) -> dict[str, Any]:
    whole = {"selector": {"app": "x"}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": dict(NAME), "spec": whole}


def sample(spec: dict[str, Any], **rest: object) -> dict[str, Any]:
    return {"apiVersion": "fields.example.com/v1", "kind": "Sample", "metadata": dict(NAME), "spec": spec, **rest}


def container(name: str, image: str = "i", **rest: object) -> dict[str, Any]:
    return {"name": name, "image": image, **rest}


def client_side(obj: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(obj, separators=(",", ":"), sort_keys=True) + "\n"
    return {**obj, "metadata": {**obj["metadata"], "annotations": {LAST: text}}}


A, B, C = container("a"), container("b"), container("c")
HTTP, HTTPS = {"name": "http", "port": 80}, {"name": "https", "port": 443}
ONE = config_map({"a": "1", "b": "2"})
SEQUENCES: dict[str, list[tuple[Any, ...]]] = {
    "configmaps: owners of entries": [
        ("create", "maker", ONE),
        ("apply", "alice", config_map({"a": "1"})),
        ("apply", "alice", config_map({"a": "9"})),
        ("force", "alice", config_map({"a": "9"})),
        ("apply", "bob", config_map({"c": "3", "d": "4"})),
        ("apply", "bob", config_map({"c": "3"})),
        ("apply", "alice", config_map({"a": "9", "c": "3"})),
        ("apply", "bob", config_map({"e": "5"})),
        ("apply", "alice", config_map({"a": "9"})),
        ("merge", "carol", {"data": {"a": "carol", "e": None}}),
        ("apply", "alice", config_map({"a": "9"})),
        ("apply", "alice", config_map({})),
        ("apply", "bob", config_map({}, labels={"x": "y"}, annotations={"n": "o"})),
        ("apply", "bob", config_map({}, labels={})),
        ("update", "maker", config_map({"z": "z"})),
    ],
    "configmaps: from nothing": [
        ("apply", "alice", ONE),
        ("apply", "alice", ONE),
        ("apply", "bob", ONE),
        ("apply", "bob", config_map({"a": "2", "b": "3"})),
        ("apply", "alice", config_map({"a": "1"})),
        ("apply", "bob", config_map({"a": "1"})),
        ("apply", "alice", config_map({"a": "1"}, finalizers=["a.b/c"], ownerReferences=[])),
        ("apply", "bob", config_map({"a": "1"}, finalizers=["d.e/f"])),
        ("apply", "alice", config_map({"a": "1"})),
        ("merge", "bob", {"metadata": {"finalizers": None}}),
    ],
    "configmaps: managed fields by hand": [
        ("create", "maker", ONE),
        ("merge", "maker", {"metadata": {"managedFields": [{}]}}),
        ("merge", "other", {"data": {"a": "2"}}),
        ("apply", "alice", config_map({"a": "2"})),
        ("apply", "alice", config_map({"a": "3"})),
        ("apply", "alice", {**ONE, "metadata": {**NAME, "managedFields": []}}),
        ("apply", "alice", {**ONE, "kind": "Secret"}),
        ("apply", "alice", {**ONE, "apiVersion": "v2"}),
        ("apply", "alice", {**ONE, "unknown": 1}),
        ("apply", "alice", {**ONE, "data": {"a": 1}}),
        ("apply", "alice", {**ONE, "data": "x"}),
        ("json", "maker", [{"op": "replace", "path": "/data/a", "value": "json"}]),
    ],
    "configmaps: from the client's side": [
        ("create", "kubectl-client-side-apply", client_side(ONE)),
        ("apply", "kubectl", ONE),
        ("apply", "kubectl", config_map({"a": "7", "b": "2"})),
        ("apply", "other", config_map({"b": "8"})),
    ],
    "configmaps: upgrade with a change": [
        ("create", "kubectl-client-side-apply", client_side(ONE)),
        ("merge", "meddler", {"data": {"b": "changed"}}),
        ("apply", "kubectl", config_map({"a": "5", "b": "2"})),
        ("apply", "kubectl", config_map({"a": "5"})),
    ],
    "configmaps: many updaters": [
        ("create", "u0", config_map({"k0": "0"})),
        *[("merge", f"u{n}", {"data": {f"k{n}": str(n)}}) for n in range(1, 13)],
    ],
    "deployments: containers": [
        ("apply", "alice", deployment([A, B], replicas=2)),
        ("apply", "bob", deployment([container("b", "j")])),
        ("apply", "bob", deployment([container("b")])),
        ("apply", "bob", deployment([C, B], replicas=2)),
        ("apply", "alice", deployment([B, A])),
        ("merge", "scaler", {"spec": {"replicas": 5}}),
        ("apply", "bob", deployment([C])),
        ("apply", "alice", deployment([A, container("b", env=[{"name": "X", "value": "1"}])])),
        (
            "apply",
            "alice",
            deployment([A, container("b", env=[{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])]),
        ),
        ("apply", "alice", deployment([A, container("b", ports=[{"containerPort": 80}])])),
        (
            "apply",
            "bob",
            deployment([C, container("b", ports=[{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 81}])]),
        ),
        ("apply", "alice", deployment([A, A])),
        ("apply", "alice", deployment([{"image": "nameless"}])),
        ("apply", "alice", deployment([{**A, "imagee": "x"}])),
        ("apply", "alice", deployment([A], strategy={"type": "Recreate"})),
        ("force", "alice", deployment([A], strategy={"type": "Recreate", "rollingUpdate": None})),
        (
            "strategic",
            "kubectl",
            {
                "spec": {
                    "template": {"spec": {"containers": [{"name": "a", "image": "new"}, {"name": "z", "image": "z"}]}}
                }
            },
        ),
        (
            "strategic",
            "kubectl",
            {"spec": {"template": {"spec": {"containers": [{"name": "z", "$patch": "delete"}]}}}},
        ),
        (
            "strategic",
            "kubectl",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "$setElementOrder/containers": [{"name": "n"}, {"name": "a"}],
                            "containers": [{"name": "n", "image": "n"}],
                        }
                    }
                }
            },
        ),
        ("strategic", "kubectl", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        ("strategic", "kubectl", {"metadata": {"labels": {"$patch": "replace", "only": "this"}}}),
        ("strategic", "kubectl", {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, A]}}}}),
        ("strategic", "kubectl", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}),
        ("strategic", "kubectl", {"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}}),
    ],
    "deployments: status": [
        ("create", "maker", deployment([A])),
        ("merge", "controller", {"status": {"replicas": 1, "observedGeneration": 1}}, "status"),
        (
            "apply",
            "controller",
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": dict(NAME),
                "status": {"conditions": [{"type": "Available", "status": "True"}]},
            },
            "status",
        ),
        ("merge", "maker", {"spec": {"replicas": 4}, "status": {"replicas": 9}}),
        ("merge", "maker", {"spec": {"replicas": 6}}, "status"),
        ("apply", "alice", deployment([A], replicas=4)),
    ],
    "services: ports": [
        ("apply", "alice", service([HTTP])),
        ("apply", "bob", service([HTTPS])),
        ("apply", "alice", service([{**HTTP, "targetPort": 8080}])),
        ("apply", "bob", service([{**HTTP, "targetPort": 9090}])),
        ("apply", "alice", service([{"name": "web", "port": 80}])),
        ("merge", "maker", {"spec": {"ports": [{"port": 1, "name": "only"}]}}),
        ("strategic", "maker", {"spec": {"ports": [{"port": 2, "name": "more"}]}}),
    ],
    "samples: lists and maps": [
        ("apply", "alice", sample({"text": "t", "set": ["a", "b"], "byKey": [{"a": "x", "value": "1"}]})),
        ("apply", "bob", sample({"set": ["c", "a"], "byKey": [{"a": "y"}, {"a": "x", "b": 8}]})),
        ("apply", "alice", sample({"set": ["b"], "byKey": [{"a": "x", "value": "2"}]})),
        ("apply", "bob", sample({"byKey": [{"a": "x", "value": "3"}]})),
        ("apply", "bob", sample({"set": ["c"]})),
        ("apply", "alice", sample({"set": ["a", "a"]})),
        ("apply", "alice", sample({"set": [1]})),
        ("apply", "alice", sample({"byKey": [{"value": "keyless"}]})),
        ("apply", "alice", sample({"nothing": 1})),
        ("apply", "alice", sample({"atomic": {"x": "1"}, "whole": ["a"], "labels": {"l": "1"}})),
        ("apply", "bob", sample({"atomic": {"y": "1"}, "whole": ["b"], "labels": {"m": "1"}})),
        ("force", "bob", sample({"atomic": {"y": "1"}, "whole": ["b"], "labels": {"m": "1"}})),
        ("apply", "alice", sample({"free": {"deep": {"x": 1, "list": [1, {"a": 2}]}}, "any": "50%"})),
        ("apply", "bob", sample({"free": {"deep": {"y": 2}}, "any": "50%"})),
        ("apply", "bob", sample({"free": {"deep": {"list": []}}})),
        ("apply", "alice", sample({"any": 5})),
        ("merge", "maker", {"spec": {"byKey": [{"a": "k", "b": 1}], "set": ["q"], "free": None}}),
        ("json", "maker", [{"op": "add", "path": "/spec/set/-", "value": "r"}]),
        ("apply", "alice", sample({})),
    ],
    "samples: status": [
        ("create", "maker", sample({"number": 1}, status={"phase": "ignored"})),
        ("merge", "controller", {"status": {"phase": "Ready"}, "spec": {"number": 9}}, "status"),
        (
            "apply",
            "controller",
            sample({}, status={"conditions": [{"type": "A", "status": "True"}]}),
            "status",
        ),
        ("apply", "alice", sample({"number": 2}, status={"phase": "x"})),
        ("force", "alice", sample({"number": 2}, status={"phase": "x"})),
        ("update", "maker", sample({"number": 3})),
        (
            "apply",
            "other",
            sample({}, status={"conditions": [{"type": "A", "status": "False"}, {"type": "B", "status": "True"}]}),
            "status",
        ),
    ],
}


def path_of(obj: dict[str, Any]) -> str:
    plural = {"ConfigMap": "configmaps", "Deployment": "deployments", "Service": "services", "Sample": "samples"}
    version = obj["apiVersion"]
    return f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/default/{plural[obj['kind']]}"


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()

    def call(method: str, path: str, body: object = None, media: str = "application/json") -> tuple[int, Any]:
        request = urllib.request.Request(
            url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": media, "User-Agent": "tester/1"},
        )
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    time.sleep(3)
    recorded = []
    for title, steps in SEQUENCES.items():
        collection = path_of(steps[0][2])
        live = None
        for verb, manager, body, *more in steps:
            subresource = more[0] if more else ""
            target = f"{collection}/sample" + (f"/{subresource}" if subresource else "")
            query = f"?fieldManager={manager}"
            if verb == "create":
                code, answer = call("POST", collection + query, body)
            elif verb == "update":
                versioned = {**body, "metadata": {**body["metadata"]}}
                versioned["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"] if live else ""
                body = versioned  # noqa: PLW2901 - what was sent is recorded
                code, answer = call("PUT", target + query, body)
            else:
                query += "&force=true" if verb == "force" else ""
                code, answer = call("PATCH", target + query, body, MEDIA[verb])
            step = {"sequence": title, "verb": verb, "manager": manager, "body": body, "subresource": subresource}
            result = {"object": answer} if code < 300 else {"refusal": answer}
            recorded.append({**step, "live": live, "code": code, **result})
            live = answer if code < 300 else live
        call("PATCH", f"{collection}/sample", {"metadata": {"finalizers": None}}, MEDIA["merge"])
        call("DELETE", f"{collection}/sample")
        time.sleep(0.2)
    call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/samples.fields.example.com")
    document = {"crd": CRD, "steps": recorded}
    OUT.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")).replace('{"body"', '\n{"body"') + "\n")
    sys.stdout.write(f"{len(recorded)} steps\n")


if __name__ == "__main__":
    main()
