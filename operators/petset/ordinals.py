"""Ordinals: the numbers of members, and ranges of them in a spec.

What belongs here: reading `3` and `"2-5"`, and which ordinals a set wants. What does not: names (`identity`). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count, islice

__all__ = ["OrdinalRange", "desired_ordinals", "parse_range", "parse_ranges"]

OrdinalRange = int | str
_MAX_ORDINAL = 2**31 - 1


def parse_range(value: OrdinalRange) -> range:
    """Return the ordinals of `3`, `"3"` or `"2-5"`, both ends included. Raises ValueError with what is wrong."""
    first, dash, last = str(value).partition("-")
    if not _is_number(first) or (dash and not _is_number(last)):
        raise ValueError(f'{value!r} is not an ordinal or a range of ordinals: write 3 or "2-5"')
    low, high = int(first), int(last or first)
    if high > _MAX_ORDINAL:
        raise ValueError(f"{value!r} has an ordinal above {_MAX_ORDINAL}")
    if low > high:
        raise ValueError(f'{value!r} ends before it begins: write "{high}-{low}"')
    return range(low, high + 1)


def parse_ranges(values: Iterable[OrdinalRange]) -> list[range]:
    """Return each of several ordinals or ranges. Raises ValueError."""
    return [parse_range(value) for value in values]


def desired_ordinals(
    replicas: int, *, start: int = 0, reserved: Collection[range] = ()
) -> list[int]:
    """Return the first `replicas` ordinals from `start` that are not reserved, ascending."""
    free = (number for number in count(start) if not any(number in each for each in reserved))
    return list(islice(free, replicas))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
