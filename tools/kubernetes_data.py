"""Derive the data files about Kubernetes' own types from Kubernetes' published API descriptions.

Source: the Go module k8s.io/kubernetes (Apache-2.0), directories api/openapi-spec and api/discovery, found in the
module cache of the Go toolchain; `go mod download k8s.io/kubernetes@v1.36.3` puts it there. What is written:

    operatorkit/crd/_data/definitions.json.gz                      schemas of all types of the stable API versions
    operatorkit/controlplane/embedded/scheme/resources.json       what a server with default settings serves
    operatorkit/controlplane/embedded/scheme/go_fields.json.gz    how Go writes each field: type, omitempty, omitzero

The output depends on nothing but the module: running this twice gives the same bytes. Run it from the repository's
root, with another version as argument when Kubernetes moves on:

    python tools/kubernetes_data.py [v1.36.3]
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFAULT_VERSION = "v1.36.3"
DEFINITIONS = Path("operatorkit/crd/_data/definitions.json.gz")
RESOURCES = Path("operatorkit/controlplane/embedded/scheme/resources.json")
GO_FIELDS = Path("operatorkit/controlplane/embedded/scheme/go_fields.json.gz")
REF = "#/definitions/"
GVK = "x-kubernetes-group-version-kind"
# A server with default settings serves versions without alpha or beta in their name, and no others.
STABLE = re.compile(r"v\d+")
# Requests carry these whatever the group; each lists every group-version it may be sent to.
META = "io.k8s.apimachinery.pkg."

STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r'^\t(?:(\w+) +)?([^\s`/]+)\s+`[^`]*json:"([^"]*)"', re.MULTILINE)
# Whose packages definitions are of: the beginning of their names, and the module.
PACKAGES = (
    ("io.k8s.api.", "api"),
    ("io.k8s.apimachinery.", "apimachinery"),
    ("io.k8s.apiextensions-apiserver.", "apiextensions-apiserver"),
    ("io.k8s.kube-aggregator.", "kube-aggregator"),
)


def module(version: str) -> Path:
    """Return the directory of k8s.io/kubernetes in the module cache. Exits with a hint when it is not there."""
    cache = subprocess.run(
        ["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = Path(cache, "k8s.io", f"kubernetes@{version}")
    if not found.is_dir():
        sys.exit(f"{found} does not exist: run `go mod download k8s.io/kubernetes@{version}` first")
    return found


def references(schema: Any) -> Iterator[str]:
    """Yield the name of every definition that a schema refers to."""
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(REF)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def stable(definition: dict[str, Any]) -> bool:
    """Whether a definition is a kind of a version that is served by default."""
    return any(STABLE.fullmatch(gvk["version"]) for gvk in definition.get(GVK, []))


def reachable(definitions: dict[str, Any]) -> set[str]:
    """Return the names of the stable kinds and of everything they are made of."""
    waiting = [name for name, it in definitions.items() if stable(it) or name.startswith(META)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += references(definitions[name])
    return found


def defaults(root: Path) -> dict[tuple[str, str], Any]:
    """Return the defaults of fields, which the OpenAPI v3 files carry and the v2 file does not."""
    result = {}
    for path in sorted((root / "api/openapi-spec/v3").glob("*.json")):
        for name, schema in json.loads(path.read_text())["components"].get("schemas", {}).items():
            for field, body in schema.get("properties", {}).items():
                if "default" in body:
                    result[name, field] = body["default"]
    return result


def definitions(root: Path) -> dict[str, Any]:
    """Return the definitions by name, with defaults, without those that only alpha and beta versions need."""
    everything = json.loads((root / "api/openapi-spec/swagger.json").read_text())["definitions"]
    kept = {name: everything[name] for name in sorted(reachable(everything))}
    for (name, field), value in defaults(root).items():
        if name in kept:
            kept[name]["properties"][field]["default"] = value
    for definition in kept.values():
        if GVK in definition:
            definition[GVK] = [gvk for gvk in definition[GVK] if STABLE.fullmatch(gvk["version"])]
    return kept


def structs(directory: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Return the structs of a Go package: for each the name, type and JSON tag of its fields."""
    result = {}
    for path in sorted(directory.glob("*.go")):
        if path.name.startswith(("generated", "zz_")) or path.name.endswith("_test.go"):
            continue
        for name, body in STRUCT.findall(path.read_text()):
            result[name] = FIELD.findall(body)
    return result


def package_of(root: Path, definition: str) -> Path | None:
    """Return the directory of a definition's Go package."""
    staging = root.name.partition("@")[2].replace("v1.", "v0.", 1)
    for prefix, name in PACKAGES:
        if definition.startswith(prefix):
            inside = definition.removeprefix(prefix).rpartition(".")[0].replace(".", "/")
            return root.parent / f"{name}@{staging}" / inside
    return None


def go_fields(root: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Return for each definition and field `type flags via`.

    Flags are `o` for omitempty, `z` for omitzero, `-` for neither; `via` names the embedded struct it comes from.
    """
    packages: dict[Path, dict[str, list[tuple[str, str, str]]]] = {}
    result = {}
    for name in names:
        directory = package_of(root, name)
        if directory is None or not directory.is_dir():
            continue
        found = packages.setdefault(directory, structs(directory))
        fields = dict(flatten(found, name.rpartition(".")[2], directory.name))
        if fields:
            result[name] = fields
    return result


def flatten(
    found: dict[str, list[tuple[str, str, str]]], struct: str, package: str
) -> Iterator[tuple[str, str]]:
    """Yield the fields of a struct and of those embedded in it."""
    for name, type_, tag in found.get(struct, ()):
        json_name, *options = tag.split(",")
        if "inline" in options or (not name and not json_name):
            for field, text in flatten(found, type_, package):
                yield field, text if len(text.split()) > 2 else f"{text} {type_}"
        elif json_name and json_name != "-":
            flags = ("o" if "omitempty" in options else "") + ("z" if "omitzero" in options else "")
            yield json_name, f"{qualified(type_, package)} {flags or '-'}"


def qualified(type_: str, package: str) -> str:
    """Write a Go type with its package, as messages name it."""
    bare = type_.lstrip("*[]")
    if bare.startswith("map["):
        return type_
    local = bare[:1].isupper() and "." not in bare
    return type_[: len(type_) - len(bare)] + (f"{package}.{bare}" if local else bare)


def hashes(root: Path) -> dict[tuple[str, str, str], str]:
    """Return the storage version hash of each resource by group, version and plural, from the legacy discovery."""
    result = {}
    for path in sorted((root / "api/discovery").glob("api*__v*.json")):
        document = json.loads(path.read_text())
        group, _, version = document["groupVersion"].rpartition("/")
        for resource in document["resources"]:
            if "storageVersionHash" in resource:
                result[group, version, resource["name"]] = resource["storageVersionHash"]
    return result


def kind_of(response: dict[str, str], group: str, version: str) -> dict[str, str]:
    """Spell out a kind: discovery leaves group and version empty where they are those of the resource."""
    if response["group"] or response["version"]:
        return {
            "group": response["group"],
            "version": response["version"],
            "kind": response["kind"],
        }
    return {"group": group, "version": version, "kind": response["kind"]}


def resources(root: Path) -> list[dict[str, Any]]:
    """Return the served resources, groups and versions in the order in which a server prefers them."""
    stored = hashes(root)
    legacy = json.loads((root / "api/discovery/api__v1.json").read_text())
    core = {"version": "v1", "resources": list(aggregate(legacy))}
    groups: list[dict[str, Any]] = [{"metadata": {"name": ""}, "versions": [core]}]
    groups += json.loads((root / "api/discovery/aggregated_v2.json").read_text())["items"]
    result = []
    for group in groups:
        name = group["metadata"]["name"]
        for version in group["versions"]:
            if STABLE.fullmatch(version["version"]):
                result += [
                    entry(name, version["version"], it, stored) for it in version["resources"]
                ]
    return result


def aggregate(legacy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the core group, which is only there in the legacy form, the form of the aggregated discovery."""
    for resource in legacy["resources"]:
        if "/" in resource["name"] and resource["name"].split("/")[0] in {
            it["name"] for it in legacy["resources"]
        }:
            continue
        plural, _, alone = resource["name"].partition("/")
        yield {
            "resource": plural,
            "scope": "Namespaced" if resource["namespaced"] else "Cluster",
            "responseKind": response_kind(resource),
            "singularResource": resource["singularName"],
            "verbs": [] if alone else resource["verbs"],
            "shortNames": resource.get("shortNames", []),
            "categories": resource.get("categories", []),
            "subresources": [
                {
                    "subresource": it["name"].partition("/")[2],
                    "responseKind": response_kind(it),
                    "verbs": it["verbs"],
                }
                for it in legacy["resources"]
                if it["name"].startswith(f"{plural}/")
            ],
        }


def response_kind(resource: dict[str, Any]) -> dict[str, str]:
    """Return the kind that a resource of the legacy discovery answers with."""
    return {
        "group": resource.get("group", ""),
        "version": resource.get("version", ""),
        "kind": resource["kind"],
    }


def entry(
    group: str, version: str, it: dict[str, Any], stored: dict[tuple[str, str, str], str]
) -> dict[str, Any]:
    """Return one resource in the form of the data file."""
    return {
        "group": group,
        "version": version,
        "kind": it["responseKind"]["kind"],
        "plural": it["resource"],
        "singular": it["singularResource"],
        "namespaced": it["scope"] == "Namespaced",
        "short_names": it.get("shortNames", []),
        "categories": it.get("categories", []),
        "verbs": it["verbs"],
        "storage_version_hash": stored.get((group, version, it["resource"]), ""),
        "subresources": [
            {
                "name": sub["subresource"],
                **kind_of(sub["responseKind"], group, version),
                "verbs": sub["verbs"],
            }
            for sub in it.get("subresources", [])
        ],
    }


def main() -> None:
    """Write both files."""
    version = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_VERSION
    root = module(version)
    document = {"version": version, "definitions": definitions(root)}
    packed = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    DEFINITIONS.parent.mkdir(parents=True, exist_ok=True)
    DEFINITIONS.write_bytes(gzip.compress(packed, 9, mtime=0))
    written = json.dumps(
        go_fields(root, list(document["definitions"])), separators=(",", ":"), sort_keys=True
    )
    GO_FIELDS.write_bytes(gzip.compress(written.encode(), 9, mtime=0))
    lines = ",\n".join(json.dumps(it, separators=(", ", ": ")) for it in resources(root))
    RESOURCES.parent.mkdir(parents=True, exist_ok=True)
    RESOURCES.write_text(f'{{"version": "{version}", "resources": [\n{lines}\n]}}\n')
    print(
        f"{DEFINITIONS}: {len(document['definitions'])} definitions, {DEFINITIONS.stat().st_size} bytes"
    )
    print(f"{GO_FIELDS}: {GO_FIELDS.stat().st_size} bytes")
    print(f"{RESOURCES}: {RESOURCES.stat().st_size} bytes")


if __name__ == "__main__":
    main()
