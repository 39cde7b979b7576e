"""Who may read metrics: a user whose token the API server accepts, and who may get the path /metrics.

What belongs here: TokenReview, SubjectAccessReview, and how long their results are used. What does not: the port
(`health`). Source: the authentication and authorization filters of controller-runtime's metrics server.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI

__all__ = ["MetricsAccess"]

_TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
_ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_ALLOWED_SECONDS: Final = 60.0
_DENIED_SECONDS: Final = 10.0
_MOST_TOKENS: Final = 100


class MetricsAccess:
    """Decides about tokens; a decision is used for a minute if it allows, for ten seconds if not.

    Why it is cached: a scrape every few seconds must not cost two requests each, and a client with a wrong token must
    not make the operator send requests without limit. Only digests of tokens are kept.
    """

    def __init__(self, api: ClusterAPI, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._decisions: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    async def status(self, token: str) -> int:
        """Return 200, 401 for a token that is not valid, or 403. Raises ClusterError."""
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock.monotonic()
        known = self._decisions.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        status = await self._review(token)
        self._decisions[digest] = (
            status,
            now + (_ALLOWED_SECONDS if status == 200 else _DENIED_SECONDS),
        )
        self._decisions.move_to_end(digest)
        while len(self._decisions) > _MOST_TOKENS:
            self._decisions.popitem(last=False)
        return status

    async def _review(self, token: str) -> int:
        answer = await self._api.request(
            "POST",
            _TOKEN_REVIEWS,
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token},
            },
        )
        status: dict[str, Any] = answer.get("status") or {}
        if not status.get("authenticated"):
            return 401
        user: dict[str, Any] = status.get("user") or {}
        spec = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        }
        answer = await self._api.request(
            "POST",
            _ACCESS_REVIEWS,
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": spec,
            },
        )
        return 200 if (answer.get("status") or {}).get("allowed") else 403
