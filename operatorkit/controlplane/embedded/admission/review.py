"""AdmissionReview: what a webhook is told, and what counts as an answer.

What belongs here: building requests and judging responses, in kube-apiserver's words. What does not: transport.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.admission.hooks import Attributes, Invocation
from operatorkit.controlplane.embedded.status import ApiError

__all__ = ["CallFailed", "Verdict", "denial", "read_verdict", "review_of"]

Object = dict[str, Any]

_GROUP = "admission.k8s.io"
_VERSIONS = ("v1", "v1beta1")


class CallFailed(Exception):  # noqa: N818 - it becomes an error, or is passed over, as the webhook's failurePolicy says
    """A webhook gave no answer that could be used."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered."""

    allowed: bool
    result: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    patch: list[Any] | None


def review_of(invocation: Invocation, attributes: Attributes, old: Object | None, new: Object | None) -> Object:
    """Return the review to send. Raises `CallFailed` for a webhook that reads no version of it that is known."""
    wanted = invocation.hook.spec.get("admissionReviewVersions") or ()
    version = next((it for it in wanted if it in _VERSIONS), None)
    if version is None:
        text = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
        raise CallFailed(f"could not create admission objects: {text}")
    served, kind, asked = invocation.served, invocation.kind, attributes.kind
    user: Object = {"username": attributes.user.name}
    if attributes.user.uid:
        user["uid"] = attributes.user.uid
    if attributes.user.groups:
        user["groups"] = list(attributes.user.groups)
    if attributes.user.extra:
        user["extra"] = {key: list(values) for key, values in attributes.user.extra.items()}
    request: Object = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": served.group, "version": served.version, "resource": served.plural},
        "subResource": attributes.subresource,
        "requestKind": {"group": asked.group, "version": asked.version, "kind": asked.kind},
        "requestResource": {
            "group": attributes.served.group,
            "version": attributes.served.version,
            "resource": attributes.served.plural,
        },
        "requestSubResource": attributes.subresource,
        "name": attributes.name,
        "namespace": attributes.namespace,
        "operation": attributes.operation,
        "userInfo": user,
        "object": new,
        "oldObject": old,
        "dryRun": attributes.dry_run,
        "options": dict(attributes.options),
    }
    for name in ("subResource", "requestSubResource", "name", "namespace"):
        if not request[name]:
            del request[name]
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}


def read_verdict(body: bytes, review: Object, *, mutating: bool) -> Verdict:
    """Return what an answer says. Raises `CallFailed` for anything that does not answer the review."""
    response = _response(body, review)
    allowed, warnings = response.get("allowed", False), response.get("warnings") or []
    result = response.get("status")
    if not isinstance(allowed, bool) or not isinstance(warnings, list) or not isinstance(result, dict | None):
        raise CallFailed("failed to call webhook: json: cannot unmarshal response into Go struct AdmissionResponse")
    patch = _patch(response, strict=review["apiVersion"].endswith("/v1"), mutating=mutating)
    return Verdict(allowed, result, tuple(str(it) for it in warnings), patch)


def _response(body: bytes, review: Object) -> Object:
    if not body:
        raise CallFailed("failed to call webhook: 0-length response with status code: 200 and content type: ")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        text = f"failed to call webhook: couldn't get version/kind; json parse error: {error}"
        raise CallFailed(text) from None
    if not isinstance(answer, dict):
        raise CallFailed("failed to call webhook: couldn't get version/kind; json parse error: json: not an object")
    kind, version = answer.get("kind") or "", answer.get("apiVersion") or ""
    if (kind or version) and (kind, version) != ("AdmissionReview", review["apiVersion"]):
        text = f'no kind "{kind}" is registered for version "{version}"'
        if kind != "AdmissionReview" or version not in {f"{_GROUP}/{it}" for it in _VERSIONS}:
            raise CallFailed(f"failed to call webhook: {text}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _unusable("webhook response was absent")
    if review["apiVersion"].endswith("/v1"):
        expected, found = review["request"]["uid"], response.get("uid", "")
        if found != expected:
            raise _unusable(f'expected response.uid="{expected}", got "{found}"')
        if (kind, version) != ("AdmissionReview", review["apiVersion"]):
            shown = f"{version or '/'}, Kind={kind}"
            raise _unusable(f"expected webhook response of {review['apiVersion']}, Kind=AdmissionReview, got {shown}")
    return response


def _unusable(text: str) -> CallFailed:
    return CallFailed(f"received invalid webhook response: {text}")


def _patch(response: Object, *, strict: bool, mutating: bool) -> list[Any] | None:
    encoded, kind = response.get("patch") or "", response.get("patchType")
    if not mutating:
        if strict and encoded:
            raise _unusable("validating webhook may not return response.patch")
        if strict and kind is not None:
            raise _unusable("validating webhook may not return response.patchType")
        return None
    if strict:
        if encoded and kind is None:
            raise _unusable("webhook returned response.patch but not response.patchType")
        if not encoded and kind is not None:
            raise _unusable("webhook returned response.patchType but not response.patch")
        if kind == "":
            raise _unusable('webhook returned invalid response.patchType of ""')
    if not encoded or not response.get("allowed", False):
        return None
    try:
        patch = json.loads(base64.b64decode(encoded, validate=True))
    except (TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise CallFailed(f"received undecodable patch in webhook response: {error}") from None
    if not isinstance(patch, list) or not all(isinstance(it, dict) for it in patch):
        raise CallFailed("received undecodable patch in webhook response: json: the patch is no list of operations")
    if patch and strict and kind != "JSONPatch":
        raise CallFailed(f'unsupported patch type "{kind}"')
    return patch


def denial(name: str, result: Mapping[str, Any] | None) -> ApiError:
    """Return the refusal that stands for a denial: the webhook's own status, with its name before the message."""
    result = result or {}
    code = result.get("code")
    code = code if isinstance(code, int) and 400 <= code <= 599 else 400
    reason = str(result.get("reason") or "")
    denied = f'admission webhook "{name}" denied the request'
    why = str(result.get("message") or "") or reason
    details = result.get("details")
    return ApiError(
        code,
        reason,
        f"{denied}: {why}" if why else f"{denied} without explanation",
        details=dict(details) if isinstance(details, Mapping) else None,
    )
