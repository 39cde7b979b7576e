"""Exceptions (breakglass): which problems they excuse.

What belongs here: the exceptions of a namespace as values, and what they cover. What does not: who may make one, and
writing down that it was used (`breakglass`). Pure.

An exception covers digests, until it expires and as often as it says. It never covers an image without a digest, nor
one that is revoked: a revocation is made later, and by those who know more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from operators.attestation import reasons
from operators.attestation.images import ImageReferenceError, parse_image
from operators.attestation.policy import Problem

__all__ = ["Excused", "PolicyException", "excuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyException:
    """An exception: its name, and what it covers until when. `uses_left` counts Pods."""

    name: str
    digests: frozenset[str]
    reason: str
    expires: datetime
    uses_left: int


@dataclass(frozen=True, slots=True)
class Excused:
    """What is left of the problems, and the images that each exception excuses, by its name."""

    left: tuple[Problem, ...]
    images: Mapping[str, tuple[str, ...]]


def excuse(
    problems: Iterable[Problem], exceptions: Sequence[PolicyException], now: datetime
) -> Excused:
    """Return which problems are left when the exceptions have excused what they can.

    Of several that cover an image, the first by name is used.
    """
    valid = sorted(
        (one for one in exceptions if now < one.expires and one.uses_left > 0),
        key=lambda one: one.name,
    )
    left: list[Problem] = []
    images: dict[str, dict[str, None]] = {}
    for problem in problems:
        digest = (
            None if problem.reason == reasons.ATTESTATION_REVOKED else _digest(problem.use.image)
        )
        cover = next((one for one in valid if digest in one.digests), None)
        if cover is None:
            left.append(problem)
        else:
            images.setdefault(cover.name, {})[problem.use.image] = None
    return Excused(tuple(left), {name: tuple(found) for name, found in images.items()})


def _digest(image: str) -> str | None:
    try:
        return parse_image(image).digest
    except ImageReferenceError:
        return None
