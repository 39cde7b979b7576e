"""Patches: the four content types of PATCH, as changes that the write path carries out.

What belongs here: choosing the algorithm and saying what is wrong with a patch. What does not: the algorithms
(`fields`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operatorkit.controlplane.embedded.negotiation import PATCH_TYPES
from operatorkit.controlplane.embedded.status import bad_request, unsupported_media_type

__all__ = ["patch_change"]

Object = dict[str, Any]


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def patch_change(media: str, patch: Any) -> Callable[[Object], Object]:
    """Return the change that a patch asks for. Raises `ApiError` (400, 415)."""
    if media not in PATCH_TYPES:
        raise unsupported_media_type(PATCH_TYPES)
    if not isinstance(patch, dict):
        raise bad_request("a merge patch must be an object")
    return lambda live: _merge(live, patch)
