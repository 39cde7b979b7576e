"""Times as people read them in tables: how long ago.

Source: https://kubernetes.io/docs/reference/kubectl/ (the AGE column)
"""

from __future__ import annotations

from datetime import datetime, timedelta

from operatorkit.clock import parse_time

__all__ = ["age", "human_duration"]

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 86400 * 365


def age(moment: str | None, now: datetime) -> str:
    """Return how long ago a Time or MicroTime of an object is."""
    return human_duration(now - parse_time(moment)) if moment else "<unknown>"


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
