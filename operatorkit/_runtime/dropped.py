"""Changes that a reconcile function made to the spec or the metadata of its own object: nothing writes them.

What belongs here: finding them and saying so, once. What does not: what is written of an object (`status`).

It is a line in the log, and no error: a function may fill in what is left out, in its own copy, for its own use. But
whoever expects the cluster to have it looks for a long time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from operatorkit._runtime.caches import typed
from operatorkit._runtime.status_fields import without_empty
from operatorkit.cluster import JSONObject
from operatorkit.errors import InvalidObject
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import write

__all__ = ["DroppedChanges"]

_EACH_OF_THE_FIRST: Final = 100
_THEN_ONE_IN: Final = 20  # it costs as much as reading the object
_MOST_FIELDS = 5
_MOST_LOGGED: Final = 100  # the names of fields may be made up, as those of annotations
_ABSENT = object()
_log = logging.getLogger("operatorkit.runtime")


class DroppedChanges:
    """What was said about the objects of one kind."""

    def __init__(self, kind: type[Any], resource: ApiResource) -> None:
        self._kind = kind
        self._resource = resource
        self._runs = 0
        self._logged: set[str] = set()

    def look(self, key: ObjectKey, raw: JSONObject, obj: Any) -> None:
        """Compare `obj`, after a run, with `raw`, of which it was read; log the fields that no earlier line named."""
        self._runs += 1
        if (self._runs > _EACH_OF_THE_FIRST and self._runs % _THEN_ONE_IN) or len(
            self._logged
        ) >= _MOST_LOGGED:
            return
        fields = [
            field for field in _changed(typed(self._kind, raw), obj) if field not in self._logged
        ]
        if not fields:
            return
        self._logged.update(fields)
        shown = ", ".join(fields[:_MOST_FIELDS])
        if len(fields) > _MOST_FIELDS:
            shown += f" and {len(fields) - _MOST_FIELDS} more"
        _log.warning(
            "%s %s: the reconcile function changed %s of its own object, which is not stored "
            "(only the status is): write results to the status or a child; change the object "
            "itself with ctx.update, or in a mutating "
            "webhook (@app.mutate); this is logged once for each field",
            self._resource.kind,
            key,
            shown,
        )


def _changed(before: Any, after: Any) -> list[str]:
    """Return the paths, but for the status, at which two typed objects differ once they are written."""
    names = [name for name in type(before).model_fields if name != "status"]
    differing = [name for name in names if getattr(before, name) != getattr(after, name)]
    if not differing:
        return []
    try:
        return sorted(_different(_written(before), _written(after), ""))
    except InvalidObject:
        return differing  # it holds what cannot be written


def _written(obj: Any) -> Any:
    return without_empty({name: value for name, value in write(obj).items() if name != "status"})


def _different(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _different(
                before.get(name, _ABSENT),
                after.get(name, _ABSENT),
                f"{path}.{name}" if path else name,
            )
    elif before != after:
        yield path
