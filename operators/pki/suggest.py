"""Suggestions: the allowed name that was perhaps meant.

What belongs here: names made of patterns, and their distance to what was asked for. What does not:
whether a name is allowed (`operators.pki.patterns`). Pure.

The work is bounded whatever is asked for: a `Budget` is one denial's, and what it does not reach
gets no suggestion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from operators.pki.patterns import NameType, Requester, Token, expand, join, split

__all__ = ["Budget", "differing", "distance", "nearest"]

MAX_CANDIDATES = 50
MAX_STEPS = 1500
"""Columns of the distance that are computed for one denial, each about a microsecond."""


@dataclass(slots=True)
class Budget:
    """What may still be spent on the suggestions of one denial."""

    candidates: int = MAX_CANDIDATES
    steps: int = MAX_STEPS


def nearest(
    kind: NameType,
    name: str,
    patterns: Iterable[str],
    requester: Requester,
    *,
    allowed: Callable[[str], bool],
    budget: Budget,
) -> str | None:
    """Return the name of the same type that a pattern allows and that differs least from `name`, or None.

    The stars of a pattern take what `name` has in their place, so `*.a.svc` offers `web.a.svc` for
    `web.b.svc`. Names that differ in more than half of their characters are not offered.
    """
    limit = max(2, len(name) // 2)
    best: tuple[int, str] | None = None
    for pattern in patterns:
        if budget.candidates <= 0:
            break
        budget.candidates -= 1
        candidate = _resembling(kind, name, pattern, requester)
        if not candidate or abs(len(candidate) - len(name)) > limit:
            continue
        one, other = differing(name, candidate)
        if len(one) > budget.steps:
            continue
        budget.steps -= len(one)
        ranked = distance(one, other), candidate
        if ranked[0] <= limit and (best is None or ranked < best) and allowed(candidate):
            best = ranked
    return best[1] if best is not None else None


def _resembling(kind: NameType, name: str, pattern: str, requester: Requester) -> str | None:
    """Return a name for a pattern, with the parts of `name` where the pattern leaves a choice, or None."""
    written = expand(pattern, requester)
    if "*" not in written:
        return written if "{{" not in written else None
    try:
        offered, own = split(kind, written), split(kind, name)
    except ValueError:
        return None
    surplus, made = max(0, len(own) - len(offered)), list[Token]()
    for part, text in offered:
        at = len(made)
        if text == "**":
            made += own[at : at + 1 + surplus] or [(part, "x")]
        elif "*" in text:
            made.append((part, _filled(text, own[at][1] if at < len(own) else "")))
        else:
            made.append((part, text))
    return join(kind, made)


def _filled(pattern: str, own: str) -> str:
    if pattern == "*":
        return own
    before, _, after = pattern.partition("*")
    return f"{before}{own.removeprefix(before).removesuffix(after) or 'x'}{after}"


def differing(one: str, other: str) -> tuple[str, str]:
    """Return the parts of two texts that are neither a common beginning nor a common end, the shorter first."""
    begin, shorter = 0, min(len(one), len(other))
    while begin < shorter and one[begin] == other[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    parts = one[begin : len(one) - end], other[begin : len(other) - end]
    return parts if len(parts[0]) <= len(parts[1]) else (parts[1], parts[0])


def distance(one: str, other: str) -> int:
    """Return how many letters must be inserted, removed or replaced to turn one text into the other (Levenshtein).

    A column of the table is two integers, of its positive and its negative differences, so that one
    step costs the same for all of a name. Source: Hyyrö, A Bit-Vector Algorithm for Computing
    Levenshtein and Damerau Edit Distances (2003), after Myers (1999).
    """
    if not one or not other:
        return len(one) + len(other)
    places: dict[str, int] = {}
    for index, letter in enumerate(other):
        places[letter] = places.get(letter, 0) | 1 << index
    everywhere, last = (1 << len(other)) - 1, 1 << len(other) - 1
    positive, negative, found = everywhere, 0, len(other)
    for letter in one:
        equal = places.get(letter, 0)
        vertical = equal | negative
        diagonal = (((equal & positive) + positive) ^ positive) | equal
        right, left = negative | ~(diagonal | positive) & everywhere, positive & diagonal
        found += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & everywhere, left << 1 & everywhere
        positive, negative = left | ~(vertical | right) & everywhere, right & vertical
    return found
