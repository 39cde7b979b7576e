"""Deletions that are blocked by a finalizer, and how they are reported.

What belongs here: which finalizers these are, their grace period, and the error that names them. What does not:
the operator's own finalizer while it has a finalize function (`run`).

The engine's finalizer is left over when a version of the operator that had a finalize function was replaced by one that
has none: that is known at once. Any other finalizer may belong to a program that is at work, so it has a minute.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from operatorkit._runtime.reasons import EngineReason
from operatorkit.clock import Clock
from operatorkit.cluster import JSONObject
from operatorkit.errors import TerminalError
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["BlockedDeletions"]

_GRACE_PERIOD: Final = timedelta(minutes=1)
_OF_KUBERNETES: Final = frozenset(
    {"foregroundDeletion", "orphan"}
)  # its garbage collector removes them


class BlockedDeletions:
    """The objects of one kind that wait for finalizers of others.

    `own` is the engine's finalizer, and `has_function` says whether this version has what removes it. Of a kind that is
    not the operator's own, nothing is said: `is_own_kind`.
    """

    def __init__(self, clock: Clock, *, own: str, is_own_kind: bool, has_function: bool) -> None:
        self._clock = clock
        self._own = own
        self._is_own_kind = is_own_kind
        self._has_function = has_function
        self._since: dict[ObjectKey, tuple[str, float]] = {}

    def wait(self, key: ObjectKey, raw: JSONObject) -> timedelta | None:
        """Return how long the finalizers of an object are still waited for, or None if nothing is to be waited for."""
        if not self._is_own_kind or not _blocking(raw):
            self._since.pop(key, None)
            return None
        uid, now = str(raw["metadata"].get("uid")), self._clock.monotonic()
        if self._since.get(key, ("", 0.0))[0] != uid:
            self._since[key] = (uid, now)
        if self._is_left_over(raw):
            return timedelta(0)
        return max(timedelta(0), _GRACE_PERIOD - timedelta(seconds=now - self._since[key][1]))

    def function(
        self, resource: ApiResource, key: ObjectKey, raw: JSONObject
    ) -> Callable[[Any, Any], Awaitable[None]]:
        """Return a function to run in place of the operator's, which raises the error to report."""
        if self._is_left_over(raw):
            name = self._own
            cause = (
                f"an earlier version of this operator set the finalizer {name}, and this version has no finalize "
                f"function for {resource.kind}: run the earlier version, or clean up manually and remove the finalizer"
            )
        else:
            name = _blocking(raw)[0]
            cause = (
                f"the finalizer {name} blocks it: if the program that set it (an earlier operator, say) no longer "
                f"runs, clean up manually and remove the finalizer"
            )
        message = f"the deletion of {resource.kind} {key} waits: {cause}: {_command(resource, key, raw, name)}"

        async def blocked(_obj: Any, _ctx: Any) -> None:
            raise TerminalError(message, reason=EngineReason.DELETION_BLOCKED)

        return blocked

    def forget(self, key: ObjectKey) -> None:
        """Forget an object that no longer exists."""
        self._since.pop(key, None)

    def _is_left_over(self, raw: JSONObject) -> bool:
        return self._own in (raw["metadata"].get("finalizers") or ()) and not self._has_function


def _blocking(raw: JSONObject) -> list[str]:
    return [name for name in raw["metadata"].get("finalizers") or () if name not in _OF_KUBERNETES]


def _command(resource: ApiResource, key: ObjectKey, raw: JSONObject, name: str) -> str:
    """Return what to type; it removes the very finalizer, and no other that came into its place meanwhile."""
    path = f"/metadata/finalizers/{raw['metadata']['finalizers'].index(name)}"
    patch = json.dumps(
        [{"op": "test", "path": path, "value": name}, {"op": "remove", "path": path}]
    )
    where = f" -n {key.namespace}" if key.namespace else ""
    return f"kubectl patch {resource.qualified} {key.name}{where} --type=json -p '{patch}'"
