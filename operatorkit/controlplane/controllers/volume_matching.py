"""Which volume fits a claim, for persistentvolume-binder and for the scheduler of simulated nodes.

What belongs here: pure functions of claims and volumes. What does not: binding them.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane._quantity import parse as parse_quantity
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches

__all__ = ["best_match", "claim_of_volume", "class_of_free_volume", "is_large_enough", "is_of"]


def claim_of_volume(volume: JSONObject) -> Iterator[str]:
    """Index a volume by the claim that its claimRef names."""
    reference = volume["spec"].get("claimRef")
    if reference:
        yield str(ObjectKey(reference.get("namespace") or "", reference["name"]))


def class_of_free_volume(volume: JSONObject) -> Iterator[str]:
    """Index a volume that no claim has by its StorageClass."""
    if not volume["spec"].get("claimRef"):
        yield volume["spec"].get("storageClassName") or ""


def is_of(volume: JSONObject, claim: JSONObject) -> bool:
    """Return whether a volume's claimRef is this claim; one without uid stands for any of that name."""
    reference = volume["spec"].get("claimRef") or {}
    metadata = claim["metadata"]
    named = (reference.get("namespace"), reference.get("name"))
    return named == (metadata["namespace"], metadata["name"]) and reference.get("uid") in {
        None,
        "",
        metadata["uid"],
    }


def best_match(volumes: Iterable[JSONObject], claim: JSONObject) -> JSONObject | None:
    """Return the smallest of the free volumes that satisfies a claim."""
    return min((each for each in volumes if _satisfies(each, claim)), key=_capacity, default=None)


def is_large_enough(volume: JSONObject, claim: JSONObject) -> bool:
    """Return whether a volume has the storage that a claim requests."""
    requests: dict[str, Any] = (claim["spec"].get("resources") or {}).get("requests") or {}
    return _capacity(volume) >= parse_quantity(requests.get("storage", "0"))


def _capacity(volume: JSONObject) -> Decimal:
    return parse_quantity((volume["spec"].get("capacity") or {}).get("storage", "0"))


def _satisfies(volume: JSONObject, claim: JSONObject) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    selector = wanted.get("selector")
    return (
        not spec.get("claimRef")
        and "deletionTimestamp" not in volume["metadata"]
        and (spec.get("storageClassName") or "") == (wanted.get("storageClassName") or "")
        and spec.get("volumeMode", "Filesystem") == wanted.get("volumeMode", "Filesystem")
        and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
        and is_large_enough(volume, claim)
        and (not selector or matches(selector, volume["metadata"].get("labels") or {}))
    )
