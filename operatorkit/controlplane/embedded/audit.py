"""The audit log: users, verbs and resources, from which least privilege is checked.

What belongs here: one entry for each request over HTTP that came from a known caller. What does not: counting what an
operator writes, which its tests do (`operatorkit.testing`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from operatorkit.controlplane.embedded.request.messages import Request

__all__ = ["Audit", "Entry", "unrecorded"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request, as RBAC sees it, and how it was answered. `path` is for what is no resource."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    user_agent: str
    code: int

    @classmethod
    def of(cls, request: Request, code: int) -> Entry:
        """Return the entry of a request that was answered with `code`."""
        info = request.info
        return cls(
            user=request.user.name,
            verb=request.verb,
            group=info.group,
            resource=info.plural,
            subresource=info.subresource,
            namespace=info.namespace,
            name=info.name,
            path="" if info.plural else info.path,
            user_agent=request.user_agent,
            code=code,
        )


Audit = Callable[[Entry], None]
"""Is called with each entry when its answer begins, in the server's loop: it must be quick, and not raise."""


def unrecorded(_: Entry) -> None:
    """Record nothing."""
