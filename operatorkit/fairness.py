"""A queue in which no group of keys delays the keys of another for longer than one turn.

What belongs here: the order in which keys leave. What does not: which keys may run
(`operatorkit._runtime.queue`), and what is done with them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Keys, each once; round robin over the groups that have any, first come, first served within a group.

    `group` returns the group of a key; without it, all are of one. Every operation takes constant
    time, however many keys and groups there are.
    """

    def __init__(self, group: Callable[[K], Hashable] | None = None) -> None:
        self._group = group or _one_for_all
        self._groups: OrderedDict[Hashable, OrderedDict[K, None]] = OrderedDict()
        self._size = 0

    def push(self, key: K) -> None:
        """Add a key behind the others of its group, unless it is there already."""
        keys = self._groups.setdefault(self._group(key), OrderedDict())
        if key not in keys:
            keys[key] = None
            self._size += 1

    def pop(self) -> K | None:
        """Take out the next key, or return None when there is none."""
        if not self._groups:
            return None
        group, keys = next(iter(self._groups.items()))
        key, _ = keys.popitem(last=False)
        self._size -= 1
        if keys:
            self._groups.move_to_end(group)
        else:
            del self._groups[group]
        return key

    def discard(self, key: K) -> None:
        """Take a key out, if it is there."""
        group = self._group(key)
        keys = self._groups.get(group)
        if keys is None or key not in keys:
            return
        del keys[key]
        self._size -= 1
        if not keys:
            del self._groups[group]

    def clear(self) -> None:
        """Take all keys out."""
        self._groups.clear()
        self._size = 0

    def ahead(self, key: K) -> int | None:
        """Return how many keys are taken out before this one, or None if it is not there; takes linear time."""
        own = self._groups.get(self._group(key), OrderedDict())
        if key not in own:
            return None
        turn = list(own).index(key)
        before, passed = 0, False
        for name, keys in self._groups.items():
            if name == self._group(key):
                before, passed = before + turn, True
            else:
                before += min(len(keys), turn if passed else turn + 1)
        return before

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: K) -> bool:
        return key in self._groups.get(self._group(key), ())


def _one_for_all(key: Hashable) -> Hashable:  # noqa: ARG001 - all are of one group
    return None
