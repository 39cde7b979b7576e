"""The JSONPath of Kubernetes: printer columns, selectable fields, the scale subresource.

What belongs here: reading a path once and finding values many times. What does not: what is done with the values.

Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["JSONPath"]

_Step = Callable[[Any], Iterable[Any]]
_TOKEN = re.compile(
    r"""\.(?P<name>(?:[^.\[\]\\'"*]|\\.)+)
      | \.?\[\s*(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)")\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*(?P<start>-?\d*)\s*:\s*(?P<end>-?\d*)\s*\]
      | (?:\.|\[)(?P<all>\*)\]?
      | \[\?\((?P<filter>.+?)\)\]""",
    re.VERBOSE,
)
_FILTER = re.compile(
    r"\s*@(?P<path>[^\s=!<>]*)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*"
)


class JSONPath:
    """A path such as `.status.conditions[?(@.type=="Ready")].status`. Raises ValueError for what is none."""

    def __init__(self, text: str) -> None:
        self._steps = tuple(_read(text))

    def find(self, obj: Any) -> list[Any]:
        """Return the values at the path, none when there is nothing."""
        values = [obj]
        for step in self._steps:
            values = [found for value in values for found in step(value)]
        return values


def _read(text: str) -> Iterable[_Step]:
    text = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            if text[position:] == ".":
                return
            raise ValueError(f"unrecognized character in path: {text[position:]!r}")
        position = found.end()
        yield _step(found)


def _step(found: re.Match[str]) -> _Step:
    groups = found.groupdict()
    for quoted in ("name", "single", "double"):
        if groups[quoted] is not None:
            return _field(re.sub(r"\\(.)", r"\1", groups[quoted]))
    if groups["index"] is not None:
        return _index(int(groups["index"]))
    if groups["all"] is not None:
        return _everything
    if groups["filter"] is not None:
        return _filter(groups["filter"])
    return _slice(
        int(groups["start"]) if groups["start"] else None,
        int(groups["end"]) if groups["end"] else None,
    )


def _field(name: str) -> _Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _index(index: int) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            return [value[index]]
        return []

    return step


def _slice(start: int | None, end: int | None) -> _Step:
    return lambda value: value[start:end] if isinstance(value, list) else []


def _everything(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _filter(text: str) -> _Step:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise ValueError(f"unrecognized filter: {text!r}")
    path, operator = JSONPath(found["path"]), found["operator"]
    wanted = _literal(found["value"]) if operator else None

    def holds(item: Any) -> bool:
        values = path.find(item)
        if not operator:
            return bool(values)
        return any(_compare(value, operator, wanted) for value in values)

    return lambda value: [item for item in _everything(value) if holds(item)]


def _literal(text: str) -> Any:
    if text[:1] == "'" and text[-1:] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"unrecognized value in filter: {text!r}") from None


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    try:
        return bool(
            {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[
                operator
            ]
        )
    except TypeError:
        return False
