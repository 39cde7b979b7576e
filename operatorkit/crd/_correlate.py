"""Which part of the stored object a part of the new one corresponds to.

The API server does not report errors that were there before (ratcheting): an invalid value that an
update leaves as it was passes. What belongs here: pairing new and old values along the schema, and
comparing them as it does. What does not: deciding what is an error (`operatorkit.crd._validate`).
"""

from __future__ import annotations

from typing import Any

from operatorkit.crd._node import Node

__all__ = ["Pair", "same"]

_ABSENT = object()


class Pair:
    """A new value, the old one at the same place, and the schema of both."""

    __slots__ = ("_equal", "_items", "new", "node", "old")

    def __init__(self, new: Any, old: Any, node: Node) -> None:
        self.new = new
        self.old = old
        self.node = node
        self._equal: bool | None = None
        self._items: dict[tuple[Any, ...], Any] | None = None

    def key(self, name: str) -> Pair | None:
        """Return the pair of a field, or None when one side lacks it or the schema does not specify it."""
        if not isinstance(self.old, dict) or not isinstance(self.new, dict):
            return None
        if name not in self.old or name not in self.new:
            return None
        node = self.node.properties.get(name) or self.node.additional
        return None if node is None else Pair(self.new[name], self.old[name], node)

    def index(self, position: int) -> Pair | None:
        """Return the pair of a list item: only items of map lists have one, by their keys."""
        node = self.node
        if node.list_type != "map" or node.items is None or not isinstance(self.old, list):
            return None
        old = self._old_items().get(self._key_of(self.new[position]), _ABSENT)
        return None if old is _ABSENT else Pair(self.new[position], old, node.items)

    def _old_items(self) -> dict[tuple[Any, ...], Any]:
        if self._items is None:
            self._items = {}
            for item in self.old:
                if isinstance(item, dict):
                    self._items.setdefault(self._key_of(item), item)
        return self._items

    def _key_of(self, item: Any) -> tuple[Any, ...]:
        if not isinstance(item, dict):
            return (_ABSENT,)
        return tuple(
            (type(value).__name__, value)
            if isinstance(value := item.get(name), str | int | float | bool)
            else name
            for name in self.node.list_map_keys
        )

    def equal(self) -> bool:
        """Return whether new and old are the same; the order of a map list does not matter."""
        if self._equal is None:
            self._equal = self._compare()
        return self._equal

    def _compare(self) -> bool:
        new, old = self.new, self.old
        if isinstance(new, list) and isinstance(old, list):
            if len(new) != len(old):
                return False
            if self.node.list_type != "map":
                return same(new, old)
            pairs = [self.index(position) for position in range(len(new))]
            return all(pair is not None and pair.equal() for pair in pairs)
        if isinstance(new, dict) and isinstance(old, dict):
            if len(new) != len(old):
                return False
            fields = [self.key(name) for name in new]
            return all(pair is not None and pair.equal() for pair in fields)
        return same(new, old)


def same(left: Any, right: Any) -> bool:
    """Compare JSON values by type and value: 1, 1.0 and true are three different ones."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
