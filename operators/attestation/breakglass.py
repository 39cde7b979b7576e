"""Breakglass: who may make an exception, and the record of its use.

What belongs here: the requests to the API server that this takes. What does not: what an exception covers
(`exceptions`).

A use is written to the status of the exception before the Pod is admitted, with the resourceVersion that was read: of
two replicas that admit the last one at once, one has a conflict and counts again. What cannot be written is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from kubernetes.client.models import V1SubjectAccessReview

from operatorkit import AdmissionRequest
from operatorkit.clock import format_time
from operatorkit.cluster import ClusterAPI, PatchType
from operatorkit.errors import ClusterError, Conflict, NotFound
from operatorkit.events import EventRecorder, Reference
from operatorkit.kinds import SUBJECT_ACCESS_REVIEWS
from operatorkit.webhooks import UserInfo
from operators.attestation import reasons
from operators.attestation.api import GROUP, ImagePolicyException
from operators.attestation.app import app

__all__ = ["VERB", "may_break_glass", "record_use"]

VERB: Final = "breakglass"
_TRIES: Final = 5
_log = logging.getLogger("operators.attestation")

app.needs(
    V1SubjectAccessReview, "create", reason="the author of an exception needs the verb breakglass"
)
app.needs(ImagePolicyException, "get", reason="its uses are read before it is used")
app.needs(ImagePolicyException, "patch", reason="each use is recorded", subresource="status")


async def may_break_glass(api: ClusterAPI, user: UserInfo, namespace: str, name: str) -> bool:
    """Return whether RBAC gives a user the verb breakglass on an exception. Raises ClusterError."""
    attributes = {
        "group": GROUP,
        "resource": ImagePolicyException.api_resource().plural,
        "verb": VERB,
        "namespace": namespace,
        "name": name,
    }
    spec: dict[str, Any] = {
        "user": user.username,
        "groups": list(user.groups),
        "resourceAttributes": attributes,
    }
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    body = {
        "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
        "kind": SUBJECT_ACCESS_REVIEWS.kind,
        "metadata": {},
        "spec": spec,
    }
    answer = await api.create(SUBJECT_ACCESS_REVIEWS, body)
    return (answer.get("status") or {}).get("allowed") is True


async def record_use(
    api: ClusterAPI,
    events: EventRecorder,
    request: AdmissionRequest,
    name: str,
    images: Sequence[str],
    *,
    pod: str,
    now: datetime,
) -> str | None:
    """Record that an exception admits the Pod of a request; return why it cannot, None when it is recorded."""
    resource, namespace = ImagePolicyException.api_resource(), request.namespace
    use = {
        "time": format_time(now),
        "user": request.user.username,
        "pod": pod,
        "images": list(images),
    }
    for _ in range(_TRIES):
        try:
            exception = await api.get(resource, name, namespace=namespace)
            uses = (exception.get("status") or {}).get("uses") or []
            if len(uses) >= exception["spec"].get("maxUses", 1000):
                return (
                    f"ImagePolicyException {namespace}/{name} has admitted {len(uses)} Pods, "
                    f"the maximum"
                )
            change = {
                "metadata": {"resourceVersion": exception["metadata"]["resourceVersion"]},
                "status": {"uses": [*uses, use]},
            }
            await api.patch(
                resource,
                name,
                change,
                patch_type=PatchType.MERGE,
                namespace=namespace,
                subresource="status",
            )
        except Conflict:
            continue
        except NotFound:
            return f"ImagePolicyException {namespace}/{name} is deleted"
        except ClusterError as error:
            return f"the use of ImagePolicyException {namespace}/{name} cannot be recorded: {error}"
        await _report(events, exception, request, images, pod)
        return None
    return (
        f"the use of ImagePolicyException {namespace}/{name} cannot be recorded, because "
        f"other Pods use it at the same time: try again"
    )


async def _report(
    events: EventRecorder,
    exception: Mapping[str, Any],
    request: AdmissionRequest,
    images: Sequence[str],
    pod: str,
) -> None:
    message = (
        f"{request.user.username} has run {', '.join(images)} in Pod {pod} although policies "
        f"deny it: "
        f"{exception['spec'].get('reason', '')}"
    )
    _log.warning("breakglass %s/%s: %s", request.namespace, exception["metadata"]["name"], message)
    await events.warning(Reference.of(exception), reasons.BREAKGLASS_USED, message, action="Admit")
