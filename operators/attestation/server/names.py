"""The names of projects, notes and occurrences.

What belongs here: reading and checking names. What does not: whether what they name exists. Pure.

A parent is `projects/P` or `projects/P/locations/L`. Parents are compared as a whole: `projects/prod` has nothing in
common with `projects/prod-evil`, nor with `projects/prod/locations/eu`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from operators.attestation.server.errors import ApiError

__all__ = ["Collection", "EntityName", "check_id", "check_parent", "parse_name", "project_of"]

Collection = Literal["notes", "occurrences"]

_ID = r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9_~-])?"
_PARENT = re.compile(rf"projects/({_ID})(?:/locations/({_ID}))?")
_NAME = re.compile(rf"(projects/{_ID}(?:/locations/{_ID})?)/(notes|occurrences)/({_ID})")
_ID_ONLY = re.compile(_ID)
_RULE = "letters, digits, '.', '_', '~' and '-', at most 128, beginning with a letter or a digit"


@dataclass(frozen=True, slots=True)
class EntityName:
    """The name of a note or an occurrence."""

    parent: str
    collection: Collection
    id: str

    def __str__(self) -> str:
        return f"{self.parent}/{self.collection}/{self.id}"


def check_parent(text: str) -> str:
    """Return a parent as it is. Raises ApiError for anything else."""
    if _PARENT.fullmatch(text) is None:
        raise ApiError(
            "INVALID_ARGUMENT",
            f"parent {_shown(text)} is invalid: write projects/PROJECT or projects/PROJECT/locations/LOCATION, each of "
            f"{_RULE}",
        )
    return text


def project_of(parent: str) -> str:
    """Return the id of the project of a parent that was checked."""
    return parent.split("/")[1]


def parse_name(text: str, collection: Collection, *, field: str = "name") -> EntityName:
    """Read the name of a note or an occurrence. Raises ApiError, which names `field`."""
    match = _NAME.fullmatch(text)
    if match is None or match[2] != collection:
        raise ApiError(
            "INVALID_ARGUMENT",
            f"{field} {_shown(text)} is invalid: write projects/PROJECT/{collection}/ID, each of {_RULE}",
        )
    return EntityName(match[1], collection, match[3])


def check_id(text: str, *, field: str) -> str:
    """Return an id as it is. Raises ApiError, which names `field`."""
    if _ID_ONLY.fullmatch(text) is None:
        raise ApiError("INVALID_ARGUMENT", f"{field} {_shown(text)} is invalid: use {_RULE}")
    return text


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:197]!r}..."
