"""Patches: the content types of PATCH, as changes that the write path carries out.

What belongs here: choosing the algorithm. What does not: the algorithms (`fields`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operatorkit.controlplane.embedded.fields.patch import json_patch, merge_patch
from operatorkit.controlplane.embedded.fields.strategic import strategic_merge_patch
from operatorkit.controlplane.embedded.negotiation import PATCH_TYPES
from operatorkit.controlplane.embedded.registry import Served
from operatorkit.controlplane.embedded.status import ApiError, unsupported_media_type

__all__ = ["APPLY", "patch_change"]

APPLY = "application/apply-patch+yaml"
_JSON: str = PATCH_TYPES[0]
_MERGE: str = PATCH_TYPES[1]
_STRATEGIC: str = PATCH_TYPES[2]

Object = dict[str, Any]


def patch_change(served: Served, media: str, patch: Any) -> Callable[[Object], Object]:
    """Return the change that a patch, other than an apply, asks for. Raises `ApiError` (415)."""
    if media == _JSON:
        return lambda live: json_patch(live, patch)
    if media == _MERGE:
        return lambda live: merge_patch(live, patch)
    if media == _STRATEGIC and served.builtin:
        return lambda live: strategic_merge_patch(served.gvk, live, patch)
    if media == _STRATEGIC:
        raise unsupported_media_type([it for it in PATCH_TYPES if it != _STRATEGIC])
    raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
