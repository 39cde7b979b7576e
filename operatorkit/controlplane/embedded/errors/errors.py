"""API errors, in the words and with the codes of kube-apiserver.

What belongs here: `ApiError` and one function per kind of error, each giving the Status object that clients of
Kubernetes parse and kubectl prints. What does not: detecting errors.

Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from operatorkit.crd.field_errors import FieldError

__all__ = [
    "ApiError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal_error",
    "invalid",
    "method_not_allowed",
    "no_page",
    "not_acceptable",
    "not_found",
    "success",
    "too_large_body",
    "too_large_revision",
    "too_many_requests",
    "unauthorized",
    "unknown_path",
    "unsupported_media_type",
]

_ROOT = "[]"  # how a path without elements is written
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class ApiError(Exception):
    """A request is rejected; `status` is the Status object of the response."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after_seconds = retry_after_seconds
        self.warnings: Sequence[str] = ()  # what the answer's Warning headers are to say
        self.text = ""  # what to answer with in place of the Status

    @property
    def status(self) -> dict[str, Any]:
        """The Status object, keys in the order in which kube-apiserver writes them."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(group: str, plural: str, name: str = "", **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if plural:
        details["kind"] = plural
    return details | more


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def success(group: str, plural: str, name: str, uid: str) -> dict[str, Any]:
    """Return the Status that answers a completed deletion."""
    details = _details(group, plural, name, uid=uid)
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def not_found(group: str, plural: str, name: str) -> ApiError:
    """Return the error: there is no object of that name."""
    message = f'{_qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(group, plural, name))


def unknown_path() -> ApiError:
    """Return the error: nothing is served there."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def no_page() -> ApiError:
    """Return the error: nothing is served there, as a server does that has no API at such a path."""
    error = unknown_path()
    error.text = "404 page not found\n"
    return error


def already_exists(group: str, plural: str, name: str, *, going: bool = False) -> ApiError:
    """Return the error: an object of that name is there already; `going` when it is being deleted."""
    message = f'{"object is being deleted: " if going else ""}{_qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = MODIFIED) -> ApiError:
    """Return the error: the object is not, or no longer, as the request assumes."""
    message = f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    """Return the error: the object breaks its schema or a rule; each field error becomes a cause."""
    errors = list(errors)
    texts = list(dict.fromkeys(f"{it.path or _ROOT}: {it.message}" for it in errors))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    causes = [
        {"reason": it.reason, "message": it.message, "field": it.path or _ROOT} for it in errors
    ]
    return ApiError(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {text}',
        details=_details(group, kind, name, causes=causes),
    )


def bad_request(message: str) -> ApiError:
    """Return the error: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Return the error: the caller's credentials are missing or wrong."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """Return the error: the caller, or any caller, may not do this; `plural` is empty for a URL that is no resource."""
    if not plural:
        message = f"forbidden: {why}"
    elif name:
        message = f'{_qualified(group, plural)} "{name}" is forbidden: {why}'
    else:
        message = f"{_qualified(group, plural)} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, details=_details(group, plural, name))


def method_not_allowed() -> ApiError:
    """Return the error: the path is served, but not with this method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def not_acceptable(types: Sequence[str]) -> ApiError:
    """Return the error: none of the media types that the client accepts is supported."""
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(types)}"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(types: Sequence[str]) -> ApiError:
    """Return the error: the body is of a media type that is not supported."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(types)}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_large_body(limit: int) -> ApiError:
    """Return the error: the body is larger than the server takes."""
    message = f"Request entity too large: limit is {limit}"
    return ApiError(413, "RequestEntityTooLarge", message)


def expired(message: str) -> ApiError:
    """Return the error: the resource version, or the continue token, is from a past that is not kept any more."""
    return ApiError(410, "Expired", message)


def too_large_revision(requested: int, current: int) -> ApiError:
    """Return the error: the resource version lies in the future."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {requested}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": 1},
        retry_after_seconds=1,
    )


def too_many_requests(
    message: str, *, retry_after_seconds: int = 0, details: dict[str, Any] | None = None
) -> ApiError:
    """Return the error: the request may be repeated later."""
    return ApiError(
        429,
        "TooManyRequests",
        message,
        details=details or {},
        retry_after_seconds=retry_after_seconds,
    )


def internal_error(message: str) -> ApiError:
    """Return the error: the server itself failed."""
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        details={"causes": [{"message": message}]},
    )
