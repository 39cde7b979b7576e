"""The files of volumes that hold objects: what is in them, and replacing all of them at once.

What belongs here: content of configMap, secret, downwardAPI and projected volumes, and the links by
which a reader sees the old files or the new ones, never a mixture. What does not: tokens (`tokens`)
and directories (`volumes`).

    volume/key      ──► ..data/key
    volume/..data   ──► ..2026_01_02_03_04_05.123     (replaced by one rename)
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process.environment import (
    PodFacts,
    field_value,
    resource_value,
)
from operatorkit.controlplane.nodes.references import Lookup, SourceKind

__all__ = ["Payload", "of_downward", "of_object", "write"]

Payload = dict[str, tuple[bytes, int]]
"""Content and mode by relative path."""


def of_object(
    kind: SourceKind, name: str, source: Mapping[str, Any], mode: int, lookup: Lookup
) -> Payload:
    """Return the files of a ConfigMap or Secret; none where it is optional and missing."""
    obj = lookup(kind, name)
    if obj is None:
        return {}
    data = {key: base64.b64decode(text) for key, text in (obj.get("binaryData") or {}).items()}
    for key, text in (obj.get("data") or {}).items():
        data[key] = base64.b64decode(text) if kind == "Secret" else text.encode()
    items = source.get("items")
    if not items:
        return {key: (content, mode) for key, content in data.items()}
    return {
        item["path"]: (data[item["key"]], item.get("mode", mode))
        for item in items
        if item["key"] in data
    }


def of_downward(
    pod: JSONObject, items: Sequence[Mapping[str, Any]], mode: int, facts: PodFacts
) -> Payload:
    """Return the files of the downward API."""
    files: Payload = {}
    for item in items:
        if reference := item.get("fieldRef"):
            text = field_value(pod, reference["fieldPath"], facts)
        else:
            reference = item["resourceFieldRef"]
            text = resource_value(pod, reference, facts, default=pod["spec"]["containers"][0])
        files[item["path"]] = (text.encode(), item.get("mode", mode))
    return files


def write(directory: Path, payload: Payload, *, group: int | None = None) -> bool:
    """Make a volume hold exactly these files; return whether that changed anything."""
    data = directory / "..data"
    if data.exists() and _read(data) == {path: held for path, (held, _) in payload.items()}:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    fresh = directory / f"..{secrets.token_hex(8)}"
    fresh.mkdir()
    for path, (content, mode) in payload.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
        if group is not None:
            os.chown(file, -1, group)
            file.chmod(mode | 0o040)
    before = data.resolve() if data.exists() else None
    link = directory / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(data)
    _relink(directory, {path.split("/")[0] for path in payload})
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)
    return True


def _relink(directory: Path, names: set[str]) -> None:
    """Let each visible name lead into ..data, and remove those that are no more."""
    for name in names:
        with suppress(FileExistsError):
            (directory / name).symlink_to(f"..data/{name}")
    for entry in os.scandir(directory):
        if not entry.name.startswith("..") and entry.name not in names:
            Path(entry.path).unlink()


def _read(directory: Path) -> dict[str, bytes]:
    """Return what a volume holds now; modes never change during the life of a pod."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }
