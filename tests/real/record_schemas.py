"""Ask a real kube-apiserver what it says of each case in tests.unit.crd.schema_cases.py, and write its answers down.

    python tests/real/record_schemas.py https://127.0.0.1:6443 TOKEN tests/unit/crd/recorded.json

The server is a throw-away one: the script leaves definitions and objects in it.
"""

from __future__ import annotations

import copy
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.unit.crd.schema_cases import DEFAULTS, FORMATS, ROOTS, SCHEMAS, UPDATES, VALUES

GROUP = "cases.example.io"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPACE = f"/apis/{GROUP}/v1/namespaces/default"


class Server:
    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.context = ssl._create_unverified_context()

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else {"message": text.decode()}


def faults(answer: tuple[int, dict[str, Any]]) -> list[list[str]]:
    code, status = answer
    if code < 300:
        return []
    causes = status.get("details", {}).get("causes")
    if code != 422 or not causes:
        return [["", str(status.get("reason")), str(status.get("message"))]]
    return [[cause["field"], cause["reason"], cause["message"]] for cause in causes]


def crd(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def with_spec(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def obj(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def until(check: Any) -> None:
    for _ in range(200):
        if check():
            return
        time.sleep(0.1)
    raise SystemExit("the server did not do it in 20 seconds")


def install(server: Server, kind: str, schema: dict[str, Any]) -> None:
    manifest = crd(kind, schema)
    code, answer = server.send("POST", CRDS, manifest)
    if code != 201:
        raise SystemExit(json.dumps(answer, indent=1))
    until(lambda: server.send("GET", f"{SPACE}/{kind.lower()}s")[0] == 200)


def values(server: Server) -> tuple[Any, Any]:
    properties = {field: schema for field, (schema, _) in VALUES.items()}
    formats = {f"format{at}": {"type": "string", "format": name} for at, name in enumerate(FORMATS)}
    install(server, "Value", with_spec(properties | formats))
    path = f"{SPACE}/values?dryRun=All"

    def ask(field: str, value: Any) -> Any:
        return faults(server.send("POST", path, obj("Value", "x", {field: value})))

    recorded = {field: [ask(field, value) for value in tried] for field, (_, tried) in VALUES.items()}
    texts = {name: [not ask(f"format{at}", text) for text in tried] for at, (name, tried) in enumerate(FORMATS.items())}
    return recorded, texts


def updates(server: Server) -> Any:
    lax = {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    install(server, "Update", lax)
    for at, (field, old, _) in enumerate(UPDATES):
        code, answer = server.send("POST", f"{SPACE}/updates", obj("Update", f"x{at}", {field: old}))
        assert code == 201, answer
    path = f"{CRDS}/updates.{GROUP}"
    manifest = server.send("GET", path)[1]
    strict = crd("Update", with_spec({field: schema for field, (schema, _) in VALUES.items()}))
    manifest["spec"] = strict["spec"]
    assert server.send("PUT", path, manifest)[0] == 200
    until(lambda: faults(server.send("POST", f"{SPACE}/updates?dryRun=All", obj("Update", "y", {"minimum": 0}))))
    recorded = []
    for at, (field, _, new) in enumerate(UPDATES):
        stored = server.send("GET", f"{SPACE}/updates/x{at}")[1]
        stored["spec"] = {field: new}
        recorded.append(faults(server.send("PUT", f"{SPACE}/updates/x{at}?dryRun=All", stored)))
    return recorded


def defaults(server: Server) -> Any:
    recorded = []
    for at, (schema, spec) in enumerate(DEFAULTS):
        install(server, f"Default{at}", with_spec({"x": schema}))
        code, stored = server.send("POST", f"{SPACE}/default{at}s?dryRun=All", obj(f"Default{at}", "x", spec))
        assert code == 201, stored
        recorded.append(stored["spec"])
    return recorded


def main(url: str, token: str, output: str) -> None:
    server = Server(url, token)
    texts: Any
    recorded, texts = values(server)
    check = f"{CRDS}?dryRun=All"
    answers = {
        "server": server.send("GET", "/version")[1]["gitVersion"],
        "values": recorded,
        "formats": texts,
        "updates": updates(server),
        "defaults": defaults(server),
        "schemas": {
            name: faults(server.send("POST", check, crd("Schema", with_spec({"x": copy.deepcopy(schema)}))))
            for name, schema in SCHEMAS.items()
        },
        "roots": {name: faults(server.send("POST", check, crd("Root", schema))) for name, schema in ROOTS.items()},
    }
    Path(output).write_text(json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
