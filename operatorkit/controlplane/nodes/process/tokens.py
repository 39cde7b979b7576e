"""Tokens of service accounts for pods: requested, kept, renewed.

What belongs here: TokenRequests bound to a pod, and when they are due again. What does not: the files
that hold them (`volumes`).

Source: https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from operatorkit.clock import Clock, parse_time
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.errors import ClusterError
from operatorkit.kinds import SERVICE_ACCOUNTS

__all__ = ["Tokens"]

_DEFAULT_SECONDS = 3600
_LONGEST = timedelta(hours=24)
_RENEW_AT = 0.8  # of its life, as a kubelet does


@dataclass(slots=True)
class Tokens:
    """The current token of each pod and projection."""

    api: ClusterAPI
    clock: Clock
    _held: dict[tuple[str, str, int], tuple[str, float]] = field(default_factory=dict)

    async def get(self, pod: JSONObject, source: Mapping[str, Any]) -> tuple[str, float]:
        """Return a token, and in how many seconds to ask again. Raises OSError."""
        metadata = pod["metadata"]
        audience = source.get("audience", "")
        seconds = source.get("expirationSeconds", _DEFAULT_SECONDS)
        key = (metadata["uid"], audience, seconds)
        now = self.clock.monotonic()
        if key not in self._held or self._held[key][1] <= now:
            self._held[key] = await self._request(pod, audience, seconds)
        token, due = self._held[key]
        return token, due - now

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod."""
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]

    async def _request(self, pod: JSONObject, audience: str, seconds: int) -> tuple[str, float]:
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        bound = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        spec: JSONObject = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        namespace = metadata["namespace"]
        try:
            made = await self.api.create(
                SERVICE_ACCOUNTS, body, namespace=namespace, name=account, subresource="token"
            )
        except ClusterError as error:
            raise OSError(f"failed to fetch token: {error}") from error
        ends = parse_time(made["status"]["expirationTimestamp"])
        life = min(ends - self.clock.now(), _LONGEST)
        due = self.clock.monotonic() + life.total_seconds() * _RENEW_AT
        return made["status"]["token"], due
