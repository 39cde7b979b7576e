"""StatefulSets and PetSets of the same members: one as the other, and what stands in the way.

What belongs here: which fields correspond, as JSON. What does not: requests (`adoption`, `cli`). Pure; no argument is
changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from operators.petset.api import PetSet
from operators.petset.identity import ANNOTATION_ADOPT
from operators.petset.template import normalised

__all__ = ["Difference", "adoption_problems", "pet_set_of", "release_problems", "stateful_set_of"]

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which a PetSet would change the members of a StatefulSet, and what to do."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


_SHARED = (
    "replicas",
    "selector",
    "serviceName",
    "template",
    "volumeClaimTemplates",
    "minReadySeconds",
    "revisionHistoryLimit",
    "podManagementPolicy",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
)
_SHARED_ROLLING = ("partition", "maxUnavailable")
_SERVER_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


def pet_set_of(stateful_set: Mapping[str, Any]) -> JSON:
    """Return the PetSet that adopts the members of a StatefulSet: the same spec, and the annotation that says so."""
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    annotations = _kept_annotations(metadata)
    return {
        "apiVersion": PetSet.api_version,
        "kind": PetSet.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            **({"labels": dict(metadata["labels"])} if metadata.get("labels") else {}),
            "annotations": {**annotations, ANNOTATION_ADOPT: metadata["name"]},
        },
        "spec": {**_shared(spec), "updateStrategy": _strategy(spec)},
    }


def stateful_set_of(pets: Mapping[str, Any]) -> JSON:
    """Return the StatefulSet that takes over the members of a PetSet, without what only a PetSet has."""
    metadata, spec = pets["metadata"], pets["spec"]
    annotations = {
        name: value
        for name, value in _kept_annotations(metadata).items()
        if name != ANNOTATION_ADOPT
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            **({"labels": dict(metadata["labels"])} if metadata.get("labels") else {}),
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {**_shared(spec), "updateStrategy": _strategy(spec)},
    }


def _kept_annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    annotations = metadata.get("annotations") or {}
    return {name: value for name, value in annotations.items() if name not in _SERVER_ANNOTATIONS}


def _shared(spec: Mapping[str, Any]) -> JSON:
    return {
        name: copy.deepcopy(spec[name])
        for name in _SHARED
        if spec.get(name) not in (None, "", [], {})
    }


def _strategy(spec: Mapping[str, Any]) -> JSON:
    strategy = spec.get("updateStrategy") or {}
    type_ = strategy.get("type") or "RollingUpdate"
    rolling = strategy.get("rollingUpdate") or {}
    shared = {name: rolling[name] for name in _SHARED_ROLLING if rolling.get(name) is not None}
    return {
        "type": type_,
        **({"rollingUpdate": shared} if shared and type_ == "RollingUpdate" else {}),
    }


def adoption_problems(pets: Mapping[str, Any], stateful_set: Mapping[str, Any]) -> list[Difference]:
    """Return in which fields a PetSet differs from the StatefulSet that it is to adopt, so that a member would change.

    A member that is adopted keeps running: what is to change is changed afterwards, when it can be undone.
    """
    pets, stateful = pets["spec"], stateful_set["spec"]
    return [*_scalar_problems(pets, stateful), *_object_problems(pets, stateful)]


def _scalar_problems(pets: Mapping[str, Any], stateful: Mapping[str, Any]) -> Iterator[Difference]:
    defaults = {"replicas": 1, "serviceName": "", "podManagementPolicy": "OrderedReady"}
    for name, default in defaults.items():
        wanted, given = stateful.get(name, default), pets.get(name, default)
        if wanted != given:
            problem = f"{given!r} is {wanted!r} in the StatefulSet: adopt it first, then change it"
            yield Difference(f"spec.{name}", problem)
    start, wanted_start = _start(pets), _start(stateful)
    if start != wanted_start:
        problem = f"{start} is {wanted_start} in the StatefulSet: adopt it first, then change it"
        yield Difference("spec.ordinals.start", problem)
    if pets.get("reserveOrdinals"):
        problem = "members would move to other ordinals: adopt the StatefulSet first, then reserve ordinals"
        yield Difference("spec.reserveOrdinals", problem)


def _start(spec: Mapping[str, Any]) -> int:
    return int((spec.get("ordinals") or {}).get("start") or 0)


def _object_problems(pets: Mapping[str, Any], stateful: Mapping[str, Any]) -> Iterator[Difference]:
    if pets.get("selector") != stateful.get("selector"):
        yield Difference("spec.selector", "differs from the StatefulSet's: copy it")
    if normalised(pets["template"]) != normalised(stateful["template"]):
        problem = "differs from the StatefulSet's and would restart the members: copy it, and change it afterwards"
        yield Difference("spec.template", problem)
    if _claim_names(pets) != _claim_names(stateful):
        names = ", ".join(_claim_names(stateful)) or "none"
        yield Difference(
            "spec.volumeClaimTemplates", f"has other names than the StatefulSet's: {names}"
        )


def _claim_names(spec: Mapping[str, Any]) -> list[str]:
    return [each["metadata"]["name"] for each in spec.get("volumeClaimTemplates") or ()]


def release_problems(pets: Mapping[str, Any]) -> list[str]:
    """Return why a StatefulSet cannot take over the members of a PetSet, one sentence for each field."""
    spec = pets["spec"]
    problems = []
    if spec.get("overrides"):
        problems.append(
            "spec.overrides: members of a StatefulSet have one template: remove the overrides first"
        )
    if spec.get("reserveOrdinals"):
        problems.append("spec.reserveOrdinals: a StatefulSet has no gaps: remove the field first")
    if (spec.get("updateStrategy") or {}).get("type") == "Recreate":
        problems.append(
            "spec.updateStrategy.type: a StatefulSet has no Recreate: set RollingUpdate or OnDelete first"
        )
    if (pets.get("status") or {}).get("rollback"):
        problems.append(
            "status.rollback: the template failed and was rolled back: correct spec.template first"
        )
    return problems
