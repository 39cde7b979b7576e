"""The user who sends a request.

What belongs here: the value. What does not: authentication and authorization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ANONYMOUS", "User"]

_AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """A user, as RBAC identifies one."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def authenticated(self) -> User:
        """Return the same user as a member of the group of authenticated users."""
        if _AUTHENTICATED in self.groups:
            return self
        return User(self.name, (*self.groups, _AUTHENTICATED), self.uid, self.extra)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
