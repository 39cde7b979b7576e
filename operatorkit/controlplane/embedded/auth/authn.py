"""Who is calling: client certificates, bearer tokens, impersonation.

What belongs here: turning credentials into a `User`. What does not: what a user may do (`rbac`, `access`).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.auth.tokens import AUDIENCE
from operatorkit.controlplane.embedded.errors.errors import unauthorized
from operatorkit.controlplane.embedded.request.user import ANONYMOUS, User

__all__ = ["ADMIN_GROUP", "Authenticator", "user_of_certificate"]

ADMIN_GROUP = "system:masters"


def user_of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """Return whom a verified client certificate (as `ssl` gives it) names: CN is the name, each O a group."""
    name, groups = "", []
    for attributes in certificate.get("subject", ()):
        for key, value in attributes:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, tuple(groups)).authenticated() if name else None


class Authenticator:
    """Knows tokens: fixed ones, and those that `verify` (service accounts) knows."""

    def __init__(
        self,
        tokens: Mapping[str, User] | None = None,
        verify: Sequence[Callable[[str, str], User | None]] = (),
    ) -> None:
        self._tokens = {
            token.encode(): user.authenticated() for token, user in (tokens or {}).items()
        }
        self._verify = tuple(verify)

    def add(self, token: str, user: User) -> None:
        """Accept a fixed token."""
        self._tokens[token.encode()] = user.authenticated()

    def user(self, authorization: str, certificate: Mapping[str, Any] | None) -> User:
        """Return who is calling. Raises `ApiError` (401) for credentials that are wrong."""
        if certificate and (user := user_of_certificate(certificate)):
            return user
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        return self.user_of_token(token.strip())

    def user_of_token(self, token: str, audience: str = AUDIENCE) -> User:
        """Return whose token for an audience it is. Raises `ApiError` (401).

        A fixed token is for the API server only.
        """
        given = token.encode()
        for known, user in self._tokens.items():
            if hmac.compare_digest(known, given) and audience == AUDIENCE:
                return user
        for verify in self._verify:
            if (found := verify(token, audience)) is not None:
                return found.authenticated()
        raise unauthorized()
