"""From the API server's answers, and from its silence, to `operatorkit.errors`.

What belongs here: reading a `Status` object, and explaining connections that failed. Messages of
the server are kept verbatim, because they name verb, resource, user and namespace better than we
could; what we add comes after them and says what to check.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

import aiohttp

from operatorkit.cluster import _json
from operatorkit.errors import (
    AlreadyExists,
    Cause,
    ClusterError,
    Conflict,
    FieldManagerConflict,
    Forbidden,
    Gone,
    Invalid,
    NoKindMatch,
    NotFound,
    Throttled,
    Timeout,
    TooLarge,
    Unauthorized,
    Unreachable,
)

__all__ = ["error_from_answer", "error_from_exception", "error_from_status"]

_BY_REASON: Final[Mapping[str, type[ClusterError]]] = {
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Expired": Gone,
    "Forbidden": Forbidden,
    "Gone": Gone,
    "Invalid": Invalid,
    "NotFound": NotFound,
    "RequestEntityTooLarge": TooLarge,
    "ServerTimeout": Timeout,
    "Timeout": Timeout,
    "TooManyRequests": Throttled,
    "Unauthorized": Unauthorized,
}
_BY_CODE: Final[Mapping[int, type[ClusterError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: Throttled,
    504: Timeout,
}
_REASON_BY_CODE: Final[Mapping[int, str]] = {
    400: "BadRequest",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    415: "UnsupportedMediaType",
    503: "ServiceUnavailable",
}
_TEXT_LIMIT: Final = 1000


def error_from_status(
    status: Mapping[str, Any], *, code: int | None = None, retry_after_seconds: float | None = None
) -> ClusterError:
    """Translate a `Status` object; `code` is the HTTP status, used when the object has none."""
    code = _number(status.get("code")) or code or 500
    reason = str(status.get("reason") or "") or _REASON_BY_CODE.get(code, "")
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    causes = [
        Cause(*(str(cause.get(part) or "") for part in ("field", "reason", "message")))
        for cause in details.get("causes") or ()
        if isinstance(cause, Mapping)
    ]
    if retry_after_seconds is None:
        retry_after_seconds = _number(details.get("retryAfterSeconds")) or None
    message = (
        str(status.get("message") or "")
        or f"the API server answered {code} {reason or 'without a reason'}"
    )
    return _class_of(code, reason, causes)(
        message,
        code=code,
        reason=reason or None,
        causes=causes,
        details=details,
        retry_after_seconds=retry_after_seconds,
    )


def _class_of(code: int, reason: str, causes: Iterable[Cause]) -> type[ClusterError]:
    """Return the class of an error: by its reason, which is finer than the code.

    A server-side apply that another manager prevents is a Conflict like any other but for its causes.
    """
    found = _BY_REASON.get(reason) or _BY_CODE.get(code, ClusterError)
    if found is Conflict and any(cause.reason == "FieldManagerConflict" for cause in causes):
        return FieldManagerConflict
    return found


def error_from_answer(
    code: int, body: bytes, headers: Mapping[str, str], *, request: str, resource: str | None = None
) -> ClusterError:
    """Translate an HTTP answer of 400 and above.

    `request` is the method and URL, named where the server gave no message of its own. `resource`
    names the kind (`pods`, `pkis.pki.operatorkit.dev`) when the request was for one: a 404 about
    the path itself is then NoKindMatch.
    """
    retry_after = _number(headers.get("Retry-After"))
    retry_after_seconds = float(retry_after) if retry_after is not None else None
    status = _status_in(body)
    if code == 404 and resource is not None and _is_about_the_path(status):
        return NoKindMatch(
            f"the API server does not serve {resource} at {request.partition(' ')[2]}: its CustomResourceDefinition is"
            " missing, not established yet, or does not serve this version"
        )
    if status is None:
        text = body[:_TEXT_LIMIT].decode(errors="replace").strip()
        status = {
            "message": f"{request}: the API server answered {code}" + (f": {text}" if text else "")
        }
    error = error_from_status(status, code=code, retry_after_seconds=retry_after_seconds)
    if error.code != code and error.code == 500:
        error.code = code
    return error


def error_from_exception(
    error: BaseException, *, request: str, server: str
) -> Unreachable | Timeout:
    """Explain why there is no answer, naming the URL and what failed."""
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return Timeout(f"{request}: no answer in time", code=0)
    return Unreachable(f"cannot reach the API server at {server}: {_why(error)}")


def _why(error: BaseException) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _why_certificate(error.certificate_error)
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {error.host}:{error.port} does not answer ({_os_text(error)})"
        case aiohttp.ClientConnectorDNSError():
            return f"the host name {error.host!r} is not known ({_os_text(error)})"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return _why_tls(error)
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return "connection refused: nothing listens there: check that the control plane runs"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionResetError):
            return (
                "it reset the connection before it responded: check the port, and that it uses TLS"
            )
        case asyncio.TimeoutError():
            return "the connection timed out: check the firewall, the address and the host"
        case aiohttp.ClientPayloadError():
            return "the connection broke before the answer was complete"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | BrokenPipeError():
            return f"the connection broke before the answer was complete ({_text(error)})"
        case aiohttp.InvalidURL():
            return f"{error} is no URL: correct `server` in the kubeconfig"
        case aiohttp.ClientConnectorError():
            return _os_text(error)
    return _text(error)


def _why_certificate(error: BaseException) -> str:
    detail = getattr(error, "verify_message", "") or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if (
            error.verify_code == 62
            or "ostname mismatch" in detail
            or "IP address mismatch" in detail
        ):
            return f"its certificate is for another host ({detail}): correct `server`, or set `tls-server-name`"
        if error.verify_code == 10:
            return (
                f"its certificate has expired ({detail}): renew it, or correct this machine's clock"
            )
        if error.verify_code == 9:
            return f"its certificate is not valid yet ({detail}): correct this machine's clock"
    return (
        f"its certificate is not signed by the authority that the kubeconfig trusts ({detail}):"
        " correct `certificate-authority-data`, or check that this is the intended cluster"
    )


def _why_tls(error: BaseException) -> str:
    text = _text(error)
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower():
        return (
            f"it does not speak TLS ({text}): if it serves plain HTTP, write `http://` in `server`"
        )
    if "CERTIFICATE_REQUIRED" in text or "BAD_CERTIFICATE" in text or "UNKNOWN_CA" in text:
        return f"it rejects our client certificate ({text}): check `client-certificate-data` in the kubeconfig"
    return f"the TLS handshake failed ({text})"


def _os_text(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    return cause.strerror or str(cause) or type(cause).__name__


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _status_in(body: bytes) -> Mapping[str, Any] | None:
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        status = _json.loads(body)
    except ValueError:
        return None
    return status if isinstance(status, dict) and status.get("kind") == "Status" else None


def _is_about_the_path(status: Mapping[str, Any] | None) -> bool:
    """Distinguish `no such object` (its Status names one) from `no such path` (plain text, or a Status without one)."""
    if status is None:
        return True
    details = status.get("details")
    return not (isinstance(details, Mapping) and details.get("name"))


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
