"""AdmissionReview, read leniently where that is harmless and rejected where it is not.

What belongs here: from bytes to an `AdmissionRequest`. What does not: typed objects, which take a
webhook to know their class (`operatorkit.webhooks.dispatch`). Pure.

Lenient: fields that we do not know, and absent ones that may be absent. Rejected: whatever would
let two readers see two different requests (repeated keys, a second answer, objects that contradict
each other), and what no API server sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from operatorkit.errors import OperatorKitError
from operatorkit.names import GroupVersionKind
from operatorkit.webhooks.declaration import Operation

__all__ = ["API_VERSION", "AdmissionRequest", "MalformedReview", "UserInfo", "read_review"]

API_VERSION = "admission.k8s.io/v1"
MAX_DEPTH = 200
_MAX_UID = 256
_SAID_BY = "the AdmissionReview"


class MalformedReview(OperatorKitError):  # noqa: N818 - the API's own way of naming
    """A body is no AdmissionReview that can be answered; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo:
    """Who sent the request, as the API server has authenticated them."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """One request that waits for an answer.

    `object` and `old_object` are as they were sent, None where there is none: a creation has no old
    object, a deletion no new one. `name` is empty where the API server has still to make one up.
    """

    uid: str
    kind: GroupVersionKind
    resource: str
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    operation: Operation
    user: UserInfo = UserInfo()
    dry_run: bool = False
    object: Mapping[str, Any] | None = None
    old_object: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read_review(body: bytes) -> AdmissionRequest:
    """Read the body of a request. Raises MalformedReview."""
    review = _decoded(body)
    if not isinstance(review, dict):
        raise MalformedReview(f"{_SAID_BY} is not a JSON object")
    found = (review.get("apiVersion"), review.get("kind"))
    if found != (API_VERSION, "AdmissionReview"):
        raise MalformedReview(
            f"expected an AdmissionReview of {API_VERSION}, found {_shown(found[1])} of {_shown(found[0])}"
        )
    request = review.get("request")
    if not isinstance(request, dict):
        raise MalformedReview(f"{_SAID_BY} has no request")
    if review.get("response") is not None:
        raise MalformedReview(f"{_SAID_BY} has a response already")
    return _request(request)


def _decoded(body: bytes) -> Any:
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_repetition, parse_constant=_no_number
        )
    except RecursionError:  # the parser's own limit is not far above this one
        raise _too_deep() from None
    except ValueError as error:
        raise MalformedReview(f"{_SAID_BY} is not JSON: {error}") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_too_deep(found):
        raise _too_deep()
    return found


def _too_deep() -> MalformedReview:
    return MalformedReview(f"{_SAID_BY} is nested more than {MAX_DEPTH} levels deep")


def _is_too_deep(value: Any) -> bool:
    """Count levels, one by one, and no more than is needed to know."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for one in level
            for inner in (
                one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            )
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {_shown(repeated)} is repeated")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number that JSON has")


def _request(data: dict[str, Any]) -> AdmissionRequest:
    uid = _text(data, "uid")
    if not uid or len(uid) > _MAX_UID:
        raise MalformedReview("request.uid is missing or too long: the response must repeat it")
    operation = _text(data, "operation")
    if operation not in get_args(Operation):
        raise MalformedReview(
            f"request.operation is {_shown(operation)}: expected {', '.join(get_args(Operation))}"
        )
    kind = _part(data, "kind")
    request = AdmissionRequest(
        uid=uid,
        kind=GroupVersionKind(_text(kind, "group"), _text(kind, "version"), _text(kind, "kind")),
        resource=_text(_part(data, "resource"), "resource"),
        subresource=_text(data, "subResource"),
        name=_text(data, "name"),
        namespace=_text(data, "namespace"),
        operation=cast("Operation", operation),
        user=_user(_part(data, "userInfo")),
        dry_run=_flag(data, "dryRun"),
        object=_object(data, "object"),
        old_object=_object(data, "oldObject"),
        options=_part(data, "options"),
    )
    _check_objects(request)
    return request


def _check_objects(request: AdmissionRequest) -> None:
    """Reject a request whose parts contradict each other."""
    new, old = request.object, request.old_object
    needed = {
        "CREATE": (True, False),
        "UPDATE": (True, True),
        "DELETE": (False, True),
        "CONNECT": (True, False),
    }
    needs_new, needs_old = needed[request.operation]
    if (new is not None) != needs_new:
        raise MalformedReview(
            f"{request.operation} comes {'without' if needs_new else 'with'} request.object"
        )
    if (old is not None) != needs_old:
        raise MalformedReview(
            f"{request.operation} comes {'without' if needs_old else 'with'} request.oldObject"
        )
    for where, obj in (("object", new), ("oldObject", old)):
        if obj is None or request.subresource:
            continue
        found = GroupVersionKind.of(_text(obj, "apiVersion"), _text(obj, "kind"))
        if found != request.kind:
            raise MalformedReview(
                f"request.{where} is a {found}, but request.kind says {request.kind}"
            )
        metadata = _part(obj, "metadata")
        for name, expected in (("name", request.name), ("namespace", request.namespace)):
            value = _text(metadata, name)
            if value and expected and value != expected:
                raise MalformedReview(
                    f"request.{where}.metadata.{name} is {_shown(value)}, but request.{name} is {_shown(expected)}"
                )
    if new is not None and old is not None:
        one, other = (_text(_part(obj, "metadata"), "uid") for obj in (new, old))
        if one and other and one != other:
            raise MalformedReview(
                f"request.object has uid {_shown(one)}, request.oldObject {_shown(other)}"
            )


def _user(data: Mapping[str, Any]) -> UserInfo:
    groups = data.get("groups") or ()
    extra = _part(data, "extra")
    if not isinstance(groups, list | tuple) or not all(isinstance(group, str) for group in groups):
        raise MalformedReview("request.userInfo.groups is not a list of texts")
    return UserInfo(
        username=_text(data, "username"),
        uid=_text(data, "uid"),
        groups=tuple(groups),
        extra={key: tuple(values) for key, values in extra.items() if isinstance(values, list)},
    )


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise MalformedReview(f"request.{name} is not an object")
    return value


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedReview(f"{name} is {_shown(value)}: expected an object")
    return value


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedReview(f"{name} is {_shown(value)}: expected text")
    return value


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise MalformedReview(f"{name} is {_shown(value)}: expected true or false")
    return bool(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
