"""What the controllers of workloads have in common.

What belongs here: pure functions of pods, templates and selectors, and the kinds. What does not: any one controller's
decisions.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

from operatorkit.clock import parse_time
from operatorkit.cluster.api import JSONObject
from operatorkit.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from operatorkit.names import ApiResource

__all__ = [
    "DEPLOYMENTS",
    "HASH_LABEL",
    "PODS",
    "REPLICA_SETS",
    "available_in",
    "claim_names",
    "controller_uid",
    "is_active",
    "is_ready",
    "owned_by",
    "scaled",
    "template_hash",
    "templates_equal",
]

HASH_LABEL = "pod-template-hash"

# No vowels and no look-alikes: names made of these spell nothing.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def controller_uid(obj: JSONObject) -> str | None:
    """Return the uid of the object that controls this one, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return None


def owned_by(owner: JSONObject, resource: ApiResource) -> JSONObject:
    """Return the reference by which a controller owns what it makes."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_active(pod: JSONObject) -> bool:
    """Whether a pod is active: it has not ended and is not terminating."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in {"Succeeded", "Failed"} and "deletionTimestamp" not in pod["metadata"]


def _ready_since(pod: JSONObject) -> datetime | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            since = condition.get("lastTransitionTime")
            return parse_time(since) if since else _LONG_AGO  # its writer left the time out
    return None


def is_ready(pod: JSONObject) -> bool:
    """Whether a pod's condition Ready holds."""
    return _ready_since(pod) is not None


def available_in(pod: JSONObject, min_ready: timedelta, now: datetime) -> timedelta | None:
    """Return how long it takes until a pod has been ready for `min_ready` (zero: it has), or None if it is not."""
    since = _ready_since(pod)
    if since is None:
        return None
    return max(timedelta(0), since + min_ready - now)


def _without_hash(template: JSONObject) -> JSONObject:
    metadata = dict(template.get("metadata") or {})
    labels = {
        key: value
        for key, value in (metadata.pop("labels", None) or {}).items()
        if key != HASH_LABEL
    }
    metadata.pop("creationTimestamp", None)
    return {
        "metadata": {**metadata, **({"labels": labels} if labels else {})},
        "spec": template["spec"],
    }


def templates_equal(one: JSONObject, other: JSONObject) -> bool:
    """Whether two pod templates make the same pods."""
    return _without_hash(one) == _without_hash(other)


def template_hash(template: JSONObject, collisions: int = 0) -> str:
    """Return a short name of a pod template; `collisions` makes another one where that is taken."""
    text = json.dumps([_without_hash(template), collisions], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def scaled(value: int | str | None, total: int, *, up: bool) -> int:
    """Return an int-or-percent as a number of `total`, rounded up or down."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%"))
    product = percent * total
    return -(-product // 100) if up else product // 100


def claim_names(pod: JSONObject) -> list[str]:
    """Return the names of the claims that a pod uses, those of its ephemeral volumes included."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return names
