"""Derive the numbers and types of protobuf fields from the .proto files of Kubernetes' API.

Source: generated.proto of the Go modules k8s.io/api, apimachinery, apiextensions-apiserver and kube-aggregator
(Apache-2.0), in the module cache of the Go toolchain. What is written:

    operatorkit/controlplane/embedded/serializer/protobuf.json.gz     {message: {number: [JSON name, type, label]}}

The label is "", "repeated", "map" or "inline": Go embeds some structs, whose fields JSON has one level higher. The
output depends on nothing but the modules. Run it from the repository's root:

    python tools/protobuf_data.py [v0.36.3]
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

from operatorkit.crd.kubernetes import definitions

DEFAULT_VERSION = "v0.36.3"
OUT = Path("operatorkit/controlplane/embedded/serializer/protobuf.json.gz")
MODULES = ("api", "apimachinery", "apiextensions-apiserver", "kube-aggregator")
MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (optional|repeated|map<string, )\s*([\w.]+)>? (\w+) = (\d+);", re.MULTILINE)
SCALARS = {"string", "bytes", "bool", "int32", "int64", "double"}
UNSTABLE = re.compile(r"v\d+(alpha|beta)\d+|testapigroup|imagepolicy")


def sources(version: str) -> list[Path]:
    """Return every generated.proto of a stable version, in a fixed order."""
    command = ["go", "env", "GOMODCACHE"]
    cache = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    found: list[Path] = []
    for module in MODULES:
        directory = cache / "k8s.io" / f"{module}@{version}"
        if not directory.is_dir():
            sys.exit(
                f"{directory} does not exist: run `go mod download k8s.io/{module}@{version}` first"
            )
        found += [
            path
            for path in sorted(directory.rglob("generated.proto"))
            if not UNSTABLE.search(str(path))
        ]
    return found


def definition(name: str) -> str:
    """Return the OpenAPI name of a protobuf package or message: `k8s.io.api.core.v1` is `io.k8s.api.core.v1` there.

    OpenAPI has the hyphens of `apiextensions-apiserver` and `kube-aggregator`, for which protobuf has underscores.
    """
    return name.replace("k8s.io.", "io.k8s.", 1).replace("_", "-")


def letters(name: str) -> str:
    """Return what both names of a field have in common: `$ref` is `ref` in protobuf, `x-a-b` is `xAB`."""
    return name.lower().replace("$", "").replace("-", "")


def messages(text: str) -> dict[str, dict[str, list[str]]]:
    """Read one .proto file."""
    package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
    if package is None:
        raise ValueError("a .proto file without a package")
    result = {}
    for name, body in MESSAGE.findall(text):
        fields = {}
        full = f"{definition(package[1])}.{name}"
        properties = definitions().get(full, {}).get("properties")
        known = {letters(name): name for name in properties or ()}
        for label, type_, written, number in FIELD.findall(body):
            resolved = type_
            if type_ not in SCALARS:
                resolved = definition(
                    type_.lstrip(".") if "." in type_ else f"{package[1]}.{type_}"
                )
            kind = {"repeated": "repeated", "optional": ""}.get(label, "map")
            # A few names have other capitals than in JSON (Webhooks, uID, aPIGroup), or no signs.
            field = known.get(letters(written), written)
            if (
                kind == ""
                and resolved not in SCALARS
                and properties is not None
                and field not in properties
            ):
                kind = "inline"
            fields[number] = [field, resolved, kind]
        result[full] = fields
    return result


def main() -> None:
    """Write the data file."""
    version = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_VERSION
    found: dict[str, dict[str, list[str]]] = {}
    for source in sources(version):
        found.update(messages(source.read_text(encoding="utf-8")))
    OUT.parent.mkdir(exist_ok=True)
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    OUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{OUT}: {len(found)} messages, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
