"""Every error that operatorkit raises, and nothing else.

What belongs here: exception classes, each with the facts a caller needs to decide what to do next.
What does not: the translation of HTTP answers into them (`operatorkit.cluster`), and messages,
which are written where the error is raised because only that place knows the object, the field and
the remedy.

    OperatorKitError
    ├── DefinitionError        a class or an operator is declared wrongly; raised at import time
    ├── InvalidObject          an object that the cluster holds cannot be read as its type, or cannot be written
    ├── InputError             a file, an argument or a manifest given by a person is wrong
    ├── RetryLater             raised by a reconcile function: an expected failure, which is tried again later
    ├── TerminalError          raised by a reconcile function: retrying cannot help until something changes
    ├── ChildConflict          an object to apply has another owner
    ├── LeaseLost              this replica was the leader and no longer is
    └── ClusterError           the API server answered with a failure, or did not answer
        ├── NotFound, AlreadyExists, Conflict, FieldManagerConflict, Invalid, Gone, TooLarge
        ├── Unauthorized, Forbidden, Throttled, Timeout
        └── NoKindMatch, Unreachable
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

__all__ = [
    "AlreadyExists",
    "Cause",
    "ChildConflict",
    "ClusterError",
    "Conflict",
    "DefinitionError",
    "FieldManagerConflict",
    "Forbidden",
    "Gone",
    "InputError",
    "Invalid",
    "InvalidObject",
    "LeaseLost",
    "NoKindMatch",
    "NotFound",
    "OperatorKitError",
    "RetryLater",
    "TerminalError",
    "Throttled",
    "Timeout",
    "TooLarge",
    "Unauthorized",
    "Unreachable",
]

REASON_PATTERN = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
REASON_MAX_LENGTH = 1024


def reason_error(reason: Any) -> str | None:
    """Say what is wrong with the reason of a condition, or None when nothing is.

    Source: the schema of metav1.Condition in k8s.io/apimachinery.
    """
    if not isinstance(reason, str) or not re.search(REASON_PATTERN, reason) or "\n" in reason:
        return (
            "must be one CamelCase word for programs: letters, digits, '_', ',' and ':', beginning with a letter and "
            "ending with a letter, a digit or '_'; put explanations into the message"
        )
    if len(reason) > REASON_MAX_LENGTH:
        return f"must be no more than {REASON_MAX_LENGTH} characters, this has {len(reason)}"
    return None


class OperatorKitError(Exception):
    """The root of all errors of operatorkit: catch it to catch them all."""


class DefinitionError(OperatorKitError):
    """A resource class or an operator is declared wrongly, or code gives operatorkit what cannot work.

    Raised where the class is defined if it can be seen there, and otherwise by the call. The
    message names the class or the object, the field, what was found and what to write instead.
    """


class InputError(OperatorKitError):
    """Something a person gave (a file, an option, a manifest) is wrong; the message says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One error inside a rejected object: where (`field`, a path like `spec.names[0]`), which kind, and the text."""

    field: str
    reason: str
    message: str


class InvalidObject(OperatorKitError):  # noqa: N818 - the condition's own word
    """An object cannot be read as the type that is asked for, or holds a value that its type cannot write.

    The message names the kind, the object, the first invalid field and what was found; `causes`
    are all of them, as far as they are known by field.
    """

    def __init__(self, message: str, *, causes: Sequence[Cause] = ()) -> None:
        super().__init__(message)
        self.causes: tuple[Cause, ...] = tuple(causes)


class TerminalError(OperatorKitError):
    """Raised by a reconcile function when a retry cannot help until the object, or what it refers to, changes.

    The engine sets a condition and an Event and does not try again: no back-off, no resync. Any
    event that maps to the object triggers it again, other than its own write of the status.

    `reason` is a CamelCase word, part of the operator's stable interface. With `reported`, the
    function has set the conditions and sent the Events itself, and the engine adds none. The
    condition is set for kinds of the operator's own, which are those that it reconciles as a
    `Resource` class; of other kinds the status is left as it is.

    Raises DefinitionError for a reason that no condition can have.
    """

    def __init__(
        self, message: str, *, reason: str = "TerminalError", reported: bool = False
    ) -> None:
        error = reason_error(reason)
        if error is not None:
            raise DefinitionError(f"TerminalError(reason={reason!r}): the reason {error}")
        super().__init__(message)
        self.reason = reason
        self.reported = reported


class RetryLater(OperatorKitError):  # noqa: N818 - what shall happen
    """Raised by a reconcile function for a failure that is expected and passes: a dependency is not there yet.

    The object is reconciled again after `after`, or with back-off without it, and sooner when something changes. Its
    conditions are Ready=False, with `reason` and the message, which is for users, and Reconciling=True; they are set
    for kinds of the operator's own that have conditions. It is no error: there is no Event, no traceback, and no count.

    `reason` is a CamelCase word, part of the operator's stable interface.

    Raises DefinitionError for a reason that no condition can have, and ValueError for a negative duration.
    """

    def __init__(
        self, message: str, *, after: timedelta | None = None, reason: str = "RetryLater"
    ) -> None:
        error = reason_error(reason)
        if error is not None:
            raise DefinitionError(f"RetryLater(reason={reason!r}): the reason {error}")
        if after is not None and after < timedelta(0):
            raise ValueError(f"RetryLater(after={after!r}): give a duration of zero or more")
        super().__init__(message)
        self.after = after
        self.reason = reason


class ChildConflict(OperatorKitError):  # noqa: N818 - the counterpart of Conflict
    """A child that a reconcile function applies exists and has another owner; nothing was written.

    The message names the child, who has it, and what to do. `reason` is the Event's.
    """

    reason: str = "ChildConflict"


class LeaseLost(OperatorKitError):  # noqa: N818 - a state, as the others are
    """This replica was the leader and is not any more, so it has to end: another one may reconcile its objects.

    The message names the Lease and the cause.
    """


class ClusterError(OperatorKitError):
    """The API server rejected a request, or could not be reached.

    `code` is the HTTP status (0 when there was no answer), `reason` the machine-readable word of
    the Status object (`NotFound`, `Invalid`, ...), `causes` the errors by field,
    `retry_after_seconds` what the server asked for.
    """

    code: int = 500
    reason: str = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str | None = None,
        causes: Sequence[Cause] = (),
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = type(self).code if code is None else code
        self.reason = type(self).reason if reason is None else reason
        self.causes: tuple[Cause, ...] = tuple(causes)
        self.details: Mapping[str, Any] = dict(details or {})
        self.retry_after_seconds = retry_after_seconds


class NotFound(ClusterError):  # noqa: N818 - the API's own word
    """The object, or the kind of it, does not exist."""

    code: int = 404
    reason: str = "NotFound"


class AlreadyExists(ClusterError):  # noqa: N818
    """An object of that name exists."""

    code: int = 409
    reason: str = "AlreadyExists"


class Conflict(ClusterError):  # noqa: N818
    """The object changed since it was read: read it again and decide again."""

    code: int = 409
    reason: str = "Conflict"


class FieldManagerConflict(Conflict):
    """A server-side apply touches fields that another manager owns; `causes` names each field and its manager."""


class Forbidden(ClusterError):  # noqa: N818
    """The caller lacks a permission; the message names verb, resource and namespace."""

    code: int = 403
    reason: str = "Forbidden"


class Unauthorized(ClusterError):  # noqa: N818
    """The API server does not know the caller: the credentials are missing, wrong or expired."""

    code: int = 401
    reason: str = "Unauthorized"


class Invalid(ClusterError):  # noqa: N818
    """The object breaks its schema or a rule; `causes` names each field."""

    code: int = 422
    reason: str = "Invalid"


class Gone(ClusterError):  # noqa: N818
    """The resource version is too old to continue from (HTTP 410): list again."""

    code: int = 410
    reason: str = "Expired"


class TooLarge(ClusterError):  # noqa: N818
    """The request body is larger than the server accepts."""

    code: int = 413
    reason: str = "RequestEntityTooLarge"


class Throttled(ClusterError):  # noqa: N818
    """The server asks for fewer requests (HTTP 429); wait `retry_after_seconds`."""

    code: int = 429
    reason: str = "TooManyRequests"


class Timeout(ClusterError):  # noqa: N818
    """The server, or something behind it, did not answer in time."""

    code: int = 504
    reason: str = "Timeout"


class NoKindMatch(ClusterError):  # noqa: N818
    """The API server serves no such kind: its CRD is missing, or the version is not served."""

    code: int = 404
    reason: str = "NoKindMatch"


class Unreachable(ClusterError):  # noqa: N818
    """No connection to the API server; the message names its URL and what failed."""

    code: int = 0
    reason: str = "Unreachable"
