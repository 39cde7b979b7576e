"""The errors of the metadata API, in the shapes that both kinds of clients read.

What belongs here: one exception, and the codes of HTTP and gRPC that go with each status. What does not: messages,
which are written where the error is raised. Pure.

Source: https://google.aip.dev/193 and https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["ApiError", "Status"]

Status = Literal[
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
]

_CODES: dict[Status, tuple[int, int]] = {  # HTTP, gRPC
    "INVALID_ARGUMENT": (400, 3),
    "UNAUTHENTICATED": (401, 16),
    "PERMISSION_DENIED": (403, 7),
    "NOT_FOUND": (404, 5),
    "ALREADY_EXISTS": (409, 6),
    "FAILED_PRECONDITION": (400, 9),
    "RESOURCE_EXHAUSTED": (429, 8),
    "UNIMPLEMENTED": (501, 12),
    "INTERNAL": (500, 13),
    "UNAVAILABLE": (503, 14),
}


class ApiError(Exception):
    """A request that is not granted: a status of the API, and a message that names what was found and the remedy."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def http_code(self) -> int:
        """The HTTP status."""
        return _CODES[self.status][0]

    @property
    def grpc_code(self) -> int:
        """The number of the gRPC status."""
        return _CODES[self.status][1]

    def body(self) -> dict[str, Any]:
        """Return the JSON of a REST answer: the shape of grpc-gateway, and that of Google's API clients within it."""
        return {
            "code": self.grpc_code,
            "message": self.message,
            "details": [],
            "error": {"code": self.http_code, "message": self.message, "status": self.status},
        }
