"""Helpers of an informer: pauses after failures, and versions of objects and servers."""

from __future__ import annotations

from typing import Final

from operatorkit.cluster._jitter import JITTER
from operatorkit.cluster.api import JSONObject
from operatorkit.errors import ClusterError

__all__ = ["is_from_the_future", "pause_seconds", "version_of"]

_BASE_SECONDS: Final = 0.1
_LIMIT_SECONDS: Final = 30.0


def is_from_the_future(error: ClusterError) -> bool:
    """Report that the server has not reached the requested version: it was restored from an older state."""
    return any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes)


def pause_seconds(failures: int, error: ClusterError | None) -> float:
    """Return a jittered pause that doubles with each failure up to 30 s; at least what the server asked for."""
    longest = min(_LIMIT_SECONDS, _BASE_SECONDS * 2.0 ** min(failures, 20))
    asked = error.retry_after_seconds if error is not None and error.retry_after_seconds else 0.0
    return max(longest * (0.5 + JITTER.random() / 2), min(asked, _LIMIT_SECONDS))


def version_of(obj: JSONObject) -> str:
    """Return the resourceVersion of an object, "" where it has none."""
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")
