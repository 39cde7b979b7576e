"""Times as people read them in tables: how long ago.

Source: https://kubernetes.io/docs/reference/kubectl/ (the AGE column)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["age", "human_duration"]

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 86400 * 365
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_DAYS = 146_097
_ZERO_TIME = -62_135_596_800  # 0001-01-01T00:00:00Z, what Go takes for no time
_LONGEST = 2**63 // 10**9  # Go's durations end there, at 292 years
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


def age(moment: str | None, now: datetime) -> str:
    """Return how long ago a text of an object is, which should be a Time or MicroTime: `<invalid>` when it is none."""
    if moment in {None, "", "null"}:
        return "<unknown>"
    try:
        seconds = _seconds(moment or "")
    except ValueError:
        return "<invalid>"
    if seconds == _ZERO_TIME:
        return "<unknown>"
    return human_duration(
        min(now - _EPOCH - timedelta(seconds=max(seconds, -_LONGEST)), timedelta(seconds=_LONGEST))
    )


def _seconds(text: str) -> float:
    """Return the seconds from 1970 to a moment as RFC 3339 writes it, of any year. Raises ValueError.

    Python has no year 0 and reads other forms, too; Go reads this one alone.
    """
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, (month, day, hour, minute, second) = int(found[1]), map(int, found.group(2, 3, 4, 5, 6))
    shift = year // 400 - 5  # the calendar repeats itself after 400 years
    moment = datetime(2000 + year % 400, month, day, hour, minute, second, tzinfo=UTC)
    offset = (int(found[9]) * 60 + int(found[10])) * 60 if found[8] else 0
    if offset >= _DAY:
        raise ValueError(text)
    sign = -1 if found[8] == "-" else 1
    return (
        (moment - _EPOCH).total_seconds()
        + shift * _CYCLE_DAYS * _DAY
        + float(found[7] or 0)
        - sign * offset
    )


def _two(number: int, unit: str, rest: int, rest_unit: str) -> str:
    return f"{number}{unit}{rest}{rest_unit}" if rest else f"{number}{unit}"


def human_duration(duration: timedelta) -> str:
    """Write a duration with two or three digits of precision: `119s`, `2m`, `7h59m`, `47h`, `3d2h`, `2y1d`."""
    seconds = int(duration.total_seconds())
    hours = seconds // _HOUR
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0)}s"
    if seconds < 10 * _MINUTE:
        return _two(seconds // _MINUTE, "m", seconds % _MINUTE, "s")
    if seconds < 3 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if hours < 8:
        return _two(hours, "h", seconds // _MINUTE % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if seconds < 8 * _DAY:
        return _two(seconds // _DAY, "d", hours % 24, "h")
    if seconds < 2 * _YEAR:
        return f"{seconds // _DAY}d"
    if seconds < 8 * _YEAR:
        return _two(seconds // _YEAR, "y", seconds // _DAY % 365, "d")
    return f"{seconds // _YEAR}y"
