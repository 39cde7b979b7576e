"""Policies over manifests, without a cluster and without a server: what admission would say.

What belongs here: reading files and evaluating them. What does not: printing (`cli_policies`).

Attestations come from files, as `operatorkit attest sign` prints them, and are verified as in the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client.models import V1Namespace

from operatorkit.errors import InputError, InvalidObject
from operatorkit.listed import ListedReader
from operatorkit.resource import api_resource_of, read
from operators.attestation.exceptions import excuse
from operators.attestation.facts import signed_bytes, verified
from operators.attestation.observe import (
    KINDS,
    authorities_for,
    exceptions_for,
    policies_for,
    revocations,
)
from operators.attestation.policy import (
    Authority,
    Evidence,
    Problem,
    Question,
    decide,
    plan,
    questions,
    revoked_images,
    scan_questions,
)
from operators.attestation.vulnerabilities import Scan, ScanQuestion, read_scan
from operators.attestation.workloads import ImageUse, images_in

__all__ = ["Finding", "documents", "evaluate", "read_occurrences"]

_KINDS_WITH_IMAGES = frozenset({
    "Pod", "PodTemplate", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob",
    "ReplicationController", "PetSet",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What admission would say of one manifest. No policy applies to one that is not `covered`."""

    where: str
    denied: tuple[Problem, ...]
    warned: tuple[Problem, ...]
    covered: bool


def documents(paths: Iterable[Path]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the objects of YAML and JSON files, and of those below directories; lists are taken apart.

    Raises InputError.
    """
    for path in paths:
        files = (
            sorted(one for one in path.rglob("*") if one.suffix in {".yaml", ".yml", ".json"})
            if path.is_dir()
            else [path]
        )
        for file in files:
            try:
                found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise InputError(
                    f"{file} cannot be read as YAML: {' '.join(str(error).split())}"
                ) from error
            for content in found:
                yield from _objects(file, content)


def _objects(file: Path, content: Any) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if content is None:
        return
    if not isinstance(content, dict):
        raise InputError(f"{file} has a document that is not an object")
    items = content.get("items") if str(content.get("kind", "")).endswith("List") else None
    if isinstance(items, list):
        for item in items:
            yield from _objects(file, item)
    else:
        yield file, content


def evaluate(
    manifests: Sequence[tuple[Path, Mapping[str, Any]]],
    policies: Sequence[tuple[Path, Mapping[str, Any]]],
    occurrences: Sequence[Mapping[str, Any]],
    *,
    namespace: str,
    now: datetime,
) -> list[Finding]:
    """Return a finding for each manifest that has images. Objects without a namespace are in `namespace`."""
    reader = ListedReader(_read([*policies, *manifests], namespace))
    return [
        _finding(file, obj, reader, occurrences, namespace, now)
        for file, obj in manifests
        if obj.get("kind") in _KINDS_WITH_IMAGES
    ]


def _read(
    found: Iterable[tuple[Path, Mapping[str, Any]]], namespace: str
) -> dict[type[Any], list[Any]]:
    objects: dict[type[Any], list[Any]] = {kind: [] for kind in KINDS}
    kinds = {
        (api_resource_of(kind).api_version, api_resource_of(kind).kind): kind for kind in KINDS
    }
    for file, obj in found:
        kind = kinds.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
        if kind is None:
            continue
        metadata = dict(obj.get("metadata") or {})
        if kind is not V1Namespace and api_resource_of(kind).namespaced:
            metadata.setdefault("namespace", namespace)
        try:
            objects[kind].append(read(kind, {**obj, "metadata": metadata}))
        except InvalidObject as error:
            raise InputError(f"{file}: {error}") from error
    return objects


def _finding(
    file: Path,
    obj: Mapping[str, Any],
    reader: ListedReader,
    occurrences: Sequence[Mapping[str, Any]],
    default: str,
    now: datetime,
) -> Finding:
    metadata = obj.get("metadata") or {}
    namespace, kind = str(metadata.get("namespace") or default), str(obj["kind"])
    where = f"{file}: {kind} {namespace}/{metadata.get('name', '')}"
    uses: list[ImageUse] = images_in(kind, obj)
    judgements = plan(uses, policies_for(namespace, reader))
    authorities, revoked = authorities_for(namespace, reader), revocations(reader)
    facts = {
        question: _evidence(authorities[question.authority], question, occurrences, now)
        for question in questions(judgements, authorities)
    }
    scans = {question: _scan(question, occurrences) for question in scan_questions(judgements)}
    verdict = decide(judgements, authorities, facts, now, revoked, scans)
    denied = [*revoked_images(uses, revoked), *verdict.denied]
    left = excuse(denied, exceptions_for(namespace, reader), now).left
    return Finding(where, left, (*verdict.warned, *verdict.audited), bool(judgements))


def _evidence(
    authority: Authority,
    question: Question,
    occurrences: Sequence[Mapping[str, Any]],
    now: datetime,
) -> Evidence:
    found = [
        signed for occurrence in occurrences for signed in signed_bytes(occurrence, authority.note)
    ]
    return verified(found, authority, question.digest, now, lambda: 0.0, 1.0)


def _scan(question: ScanQuestion, occurrences: Sequence[Mapping[str, Any]]) -> Scan:
    return read_scan(
        (
            one
            for one in occurrences
            if str(one.get("name", "")).startswith(f"{question.parent}/occurrences/")
        ),
        question.digest,
    )


def read_occurrences(paths: Iterable[Path]) -> list[Mapping[str, Any]]:
    """Read occurrences: one of a file, or the list that the server answers. Raises InputError."""
    found: list[Mapping[str, Any]] = []
    for path in paths:
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(f"{file} is not the JSON of occurrences: {error}") from error
            listed = content.get("occurrences", [content]) if isinstance(content, dict) else content
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise InputError(f"{file} is not an occurrence, nor a list of them")
            found += listed
    return found
