"""Access by Kubernetes: TokenReview says who sends a request, SubjectAccessReview what they may do.

What belongs here: the two reviews, and remembering their answers for a moment. What does not: which request needs
which permission (`service`).

A project is a namespace of RBAC: a Role in namespace `prod` speaks of `projects/prod`, which need not exist as a
namespace otherwise. Resources are of group attest.operatorkit.dev; `attach` on `notes` is a verb of its own.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI
from operatorkit.errors import ClusterError
from operatorkit.kinds import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from operatorkit.names import ApiResource
from operators.attestation.server.access import Caller, Credentials, ResourceName, Verb
from operators.attestation.server.errors import ApiError

__all__ = ["KubernetesAccess"]

GROUP: Final = "attest.operatorkit.dev"
_REMEMBERED_SECONDS = 10.0
_MAX_REMEMBERED = 10_000


class KubernetesAccess:
    """Asks the API server; an answer holds for ten seconds, so a revoked permission or token ends soon."""

    def __init__(self, api: ClusterAPI, *, clock: Clock, audiences: tuple[str, ...] = ()) -> None:
        self._api = api
        self._clock = clock
        self._audiences = audiences
        self._known: dict[tuple[Any, ...], tuple[float, Any]] = {}

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the user of a token. Raises ApiError."""
        if credentials.token is None:
            raise ApiError(
                "UNAUTHENTICATED", "the request has no token: send Authorization: Bearer TOKEN"
            )
        key = ("token", hashlib.sha256(credentials.token.encode()).hexdigest())
        caller: Caller | None = self._recall(key)
        if caller is None:
            caller = await self._review_token(credentials.token)
            self._remember(key, caller)
        return caller

    async def may(self, caller: Caller, verb: Verb, resource: ResourceName, project: str) -> bool:
        """Return whether RBAC allows it. Raises ApiError when the API server does not answer."""
        key = ("may", caller.name, caller.groups, caller.uid, verb, resource, project)
        allowed: bool | None = self._recall(key)
        if allowed is None:
            allowed = await self._review_access(caller, verb, resource, project)
            self._remember(key, allowed)
        return allowed

    async def _review_token(self, token: str) -> Caller:
        spec: dict[str, Any] = {"token": token}
        if self._audiences:
            spec["audiences"] = list(self._audiences)
        status = await self._create(TOKEN_REVIEWS, spec)
        if status.get("authenticated") is not True:
            raise ApiError("UNAUTHENTICATED", "the token is not valid for this cluster")
        if self._audiences and not set(self._audiences) & set(status.get("audiences") or ()):
            raise ApiError(
                "UNAUTHENTICATED", f"the token is not for {' or '.join(self._audiences)}"
            )
        user = status.get("user") or {}
        extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
        return Caller(
            user.get("username", ""), tuple(user.get("groups") or ()), extra, user.get("uid", "")
        )

    async def _review_access(self, caller: Caller, verb: str, resource: str, project: str) -> bool:
        attributes = {"group": GROUP, "resource": resource, "verb": verb}
        if project:
            attributes["namespace"] = project
        spec: dict[str, Any] = {
            "user": caller.name,
            "groups": list(caller.groups),
            "resourceAttributes": attributes,
        }
        if caller.uid:
            spec["uid"] = caller.uid
        if caller.extra:
            spec["extra"] = {key: list(values) for key, values in caller.extra.items()}
        return (await self._create(SUBJECT_ACCESS_REVIEWS, spec)).get("allowed") is True

    async def _create(self, resource: ApiResource, spec: dict[str, Any]) -> dict[str, Any]:
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {},
            "spec": spec,
        }
        try:
            answer = await self._api.create(resource, body)
        except ClusterError as error:
            raise ApiError(
                "UNAVAILABLE", f"the API server did not respond to a {resource.kind}: {error}"
            ) from error
        status: dict[str, Any] = answer.get("status") or {}
        return status

    def _recall(self, key: tuple[Any, ...]) -> Any:
        until, value = self._known.get(key, (0.0, None))
        return value if self._clock.monotonic() < until else None

    def _remember(self, key: tuple[Any, ...], value: Any) -> None:
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = (self._clock.monotonic() + _REMEMBERED_SECONDS, value)
