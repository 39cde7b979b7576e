"""AdmissionReview: what a webhook receives, and which responses are valid.

What belongs here: building requests and validating responses, in kube-apiserver's words. What does not: transport.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.admission.answers import (
    ResponseError,
    read_json,
    read_response,
)
from operatorkit.controlplane.embedded.admission.hooks import Attributes, Invocation
from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.serializer import syntax

__all__ = ["CallFailed", "Verdict", "denial", "read_verdict", "review_of"]

Object = dict[str, Any]

_GROUP = "admission.k8s.io"
_VERSIONS = ("v1", "v1beta1")
_CODE_MAX = 999  # what HTTP can say; kube-apiserver fails at more
_PANIC = "This request caused apiserver to panic. Look in the logs for details."
_INTO = (
    'into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


class CallFailed(Exception):  # noqa: N818 - it becomes an error, or is passed over, as the webhook's failurePolicy says
    """A webhook gave no answer that could be used."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered."""

    allowed: bool
    result: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    patch: list[Any] | None


def review_of(
    invocation: Invocation, attributes: Attributes, old: Object | None, new: Object | None
) -> Object:
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


def read_verdict(body: bytes, review: Object, *, mutating: bool, media: str = "") -> Verdict:
    """Return what an answer says; `media` is its content type. Raises `CallFailed` for all that is no answer."""
    response = _response(body, review, media)
    patch = _patch(response, strict=_is_strict(review), mutating=mutating)
    return Verdict(
        response.get("allowed", False),
        response.get("status"),
        tuple(response.get("warnings") or ()),
        patch,
    )


def _is_strict(review: Object) -> bool:
    """Whether a response is checked against its review; one to v1beta1 is not."""
    return bool(review["apiVersion"].endswith("/v1"))


def _response(body: bytes, review: Object, media: str) -> Object:
    if not body:
        text = f"0-length response with status code: 200 and content type: {media}"
        raise CallFailed(f"failed to call webhook: {text}")
    try:
        answer = _answer(body)
        kind, version = _kind_of(answer, review)
        response = read_response(answer)
    except ResponseError as error:
        raise CallFailed(f"failed to call webhook: {error}") from None
    if response is None:
        raise _unusable("webhook response was absent")
    if _is_strict(review):
        expected, found = review["request"]["uid"], response.get("uid", "")
        if found != expected:
            raise _unusable(f'expected response.uid="{expected}", got "{found}"')
        if (kind, version) != ("AdmissionReview", review["apiVersion"]):
            shown = f"{version or '/'}, Kind={kind}"
            raise _unusable(
                f"expected webhook response of {review['apiVersion']}, Kind=AdmissionReview, got {shown}"
            )
    return response


def _answer(body: bytes) -> Object:
    """Return the object that was answered. Raises `ResponseError` for none."""
    answer = read_json(body)
    if not isinstance(answer, dict):
        found = codec.json_type(answer)
        raise ResponseError(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {found} {_INTO}"
        )
    return answer


def _kind_of(answer: Object, review: Object) -> tuple[str, str]:
    """Return the kind of an answer and its version. Raises `ResponseError` for other than a review."""
    kind, version = answer.get("kind") or "", answer.get("apiVersion") or ""
    for name, it in ("kind", kind), ("apiVersion", version):
        if not isinstance(it, str):
            text = f"json: cannot unmarshal {codec.json_type(it)} into Go struct field .{name} of type string"
            raise ResponseError(f"couldn't get version/kind; json parse error: {text}")
    expected = review["apiVersion"]
    if (kind or "AdmissionReview", version or expected) == ("AdmissionReview", expected):
        return kind, version
    known = {("AdmissionReview", f"{_GROUP}/{it}") for it in _VERSIONS}
    if (kind, version) in {("Status", "v1"), *known}:
        found, wanted = (it.rpartition("/")[2] for it in (version, expected))
        raise ResponseError(
            f"converting ({found}.{kind}) to ({wanted}.AdmissionReview): unknown conversion"
        )
    raise ResponseError(f'no kind "{kind}" is registered for version "{version}"')


def _unusable(text: str) -> CallFailed:
    return CallFailed(f"received invalid webhook response: {text}")


def _patch(response: Object, *, strict: bool, mutating: bool) -> list[Any] | None:
    encoded, kind = response.get("patch") or b"", response.get("patchType")
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
    patch = _decoded(encoded)
    if patch and strict and kind != "JSONPatch":
        raise CallFailed(f'unsupported patch type "{kind}"')
    return patch


def _decoded(encoded: bytes) -> list[Any]:
    undecodable = "received undecodable patch in webhook response"
    try:
        patch = syntax.loads(encoded.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise CallFailed(f"{undecodable}: {error}") from None
    if patch is None:
        return []
    if not isinstance(patch, list):
        raise CallFailed(
            f"{undecodable}: json: cannot unmarshal {codec.json_type(patch)} into Go value of type jsonpatch.Patch"
        )
    for it in patch:
        if not isinstance(it, dict | None):
            found = f"json: cannot unmarshal {codec.json_type(it)} into Go value of type jsonpatch.Operation"
            raise CallFailed(f"{undecodable}: {found}")
    return [it or {} for it in patch]


class Denied(ApiError):  # noqa: N818 - it is what webhooks call it
    """A webhook's denial, in the words of the webhook."""

    def __init__(self, code: int, message: str, result: Mapping[str, Any]) -> None:
        details = result.get("details")
        retry = (details or {}).get("retryAfterSeconds")
        super().__init__(
            code, result.get("reason", ""), message, details=details, retry_after_seconds=retry
        )
        self._result = result

    @property
    def status(self) -> dict[str, Any]:
        """The Status object."""
        given = self._result.get("status", "")
        status = "Failure" if given == "Success" else given or "Failure"
        return super().status | {"metadata": self._result.get("metadata", {}), "status": status}


def denial(name: str, result: Mapping[str, Any] | None) -> ApiError:
    """Return the API error of a denial: the webhook's own status, with its name before the message."""
    known = _without_empty(result or {})
    code = max(400, known.get("code", 0))
    denied = f'admission webhook "{name}" denied the request'
    why = known.get("message") or known.get("reason")
    message = f"{denied}: {why}" if why else f"{denied} without explanation"
    if code > _CODE_MAX:
        return ApiError(500, "", _PANIC)
    return Denied(code, message, known)


def _without_empty(value: Any) -> Any:
    """Return a Status without the fields that are left out when they are empty, as all but objects are."""
    if isinstance(value, Mapping):
        return {name: _without_empty(it) for name, it in value.items() if it not in ("", 0, [])}
    return [_without_empty(it) for it in value] if isinstance(value, list) else value
