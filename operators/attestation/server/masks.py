"""Updates by a field mask: what a patch changes, and what nothing may change.

What belongs here: masks, and applying a patch to a body. What does not: storing (`store`). Pure, but for the schema.

With a mask, each of its paths is taken from the patch; one that the patch lacks is cleared. Without one, each field
that the patch has is taken. `*` replaces all.

Source: https://google.aip.dev/134
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection
from operators.attestation.server.schema import OUTPUT_ONLY, field_type
from operators.attestation.server.versions import Version

__all__ = ["patched", "read_mask"]

_IMMUTABLE: Final = (*OUTPUT_ONLY, "kind")
_UNDERSCORE = re.compile(r"_([a-z0-9])")
_MAX_PATHS = 100


def read_mask(text: str) -> list[tuple[str, ...]]:
    """Read `a,b.c`, in camel or snake case. Raises ApiError."""
    paths = [path.strip() for path in text.split(",") if path.strip()]
    if len(paths) > _MAX_PATHS:
        raise ApiError(
            "INVALID_ARGUMENT", f"updateMask has {len(paths)} paths: at most {_MAX_PATHS} are read"
        )
    return [
        tuple(_UNDERSCORE.sub(lambda m: m[1].upper(), part) for part in path.split("."))
        for path in paths
    ]


def patched(
    version: Version,
    collection: Collection,
    current: Mapping[str, Any],
    patch: Mapping[str, Any],
    mask: Sequence[tuple[str, ...]],
) -> dict[str, Any]:
    """Return `current` with what the mask takes from `patch`. Raises ApiError for a path that cannot be changed."""
    content = {key: value for key, value in patch.items() if key not in OUTPUT_ONLY}
    if ("*",) in mask:
        return dict(content)
    result = copy.deepcopy({key: value for key, value in current.items() if key not in OUTPUT_ONLY})
    if not mask:
        return result | content
    for path in mask:
        _check(version, collection, path)
        _take(result, content, path)
    return result


def _check(version: Version, collection: Collection, path: tuple[str, ...]) -> None:
    shown = ".".join(path)
    if path[0] in _IMMUTABLE:
        raise ApiError(
            "INVALID_ARGUMENT", f"updateMask has {shown!r}, which is set by the server: remove it"
        )
    if version == "v1" and field_type(collection, path) is None:
        raise ApiError(
            "INVALID_ARGUMENT",
            f"updateMask has {shown!r}, which is not a field of a "
            f"{collection.removesuffix('s')}, or lies within a list: "
            "name a field of the schema",
        )


def _take(result: dict[str, Any], patch: Mapping[str, Any], path: tuple[str, ...]) -> None:
    *parents, last = path
    value: Any = patch
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    target = result
    for part in parents:
        inner = target.get(part)
        if not isinstance(inner, dict):
            if value is None:
                return
            inner = target[part] = {}
        target = inner
    if value is None:
        target.pop(last, None)
    else:
        target[last] = copy.deepcopy(value)
