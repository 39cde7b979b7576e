"""Sets of field paths, and the form in which `managedFields` keeps them.

A path is a tuple of elements. An element is written as `fieldsV1` writes it: `f:spec`, `k:{"name":"web"}`, `v:"a"`,
`i:0`. Such strings are unique, because the keys of `k:` are sorted and JSON is written in one way only, so they serve
as elements themselves.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

__all__ = ["EMPTY", "FieldSet", "Path", "field", "index", "item", "key", "path_text", "value_text"]

Path = tuple[str, ...]

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_KINDS = {"f": 0, "k": 1, "v": 2, "i": 3}


def field(name: str) -> str:
    """Return the element of a field or of a map's entry."""
    return f"f:{name}"


def key(keys: Mapping[str, Any]) -> str:
    """Return the element of an item of an associative list, by the values of its keys."""
    return "k:" + _json(dict(sorted(keys.items())))


def item(value: Any) -> str:
    """Return the element of a member of a set."""
    return "v:" + _json(value)


def index(position: int) -> str:
    """Return the element of an item of an atomic list."""
    return f"i:{position}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def value_text(value: Any) -> str:
    """Write a value as messages about paths do."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return "[" + ",".join(value_text(it) for it in value) + "]"
        case dict():
            return "".join(f"{name}={value_text(it)}" for name, it in value.items())
        case _:
            return str(value)


@lru_cache(maxsize=4096)
def _element_text(element: str) -> str:
    kind, content = element[0], element[2:]
    if kind == "f":
        return f".{content}"
    if kind == "k":
        return (
            "["
            + ",".join(f"{name}={value_text(it)}" for name, it in json.loads(content).items())
            + "]"
        )
    return f"[={value_text(json.loads(content))}]" if kind == "v" else f"[{content}]"


def path_text(path: Iterable[str]) -> str:
    """Write a path as messages do: `.spec.containers[name="web"].image`."""
    return "".join(_element_text(it) for it in path)


@lru_cache(maxsize=4096)
def _order(element: str) -> tuple[Any, ...]:
    kind, content = element[0], element[2:]
    if kind == "f":
        return 0, content.encode()
    if kind == "i":
        return 3, int(content)
    value = json.loads(content)
    if kind == "k":
        return 1, tuple((name, _value_order(it)) for name, it in sorted(value.items()))
    return 2, _value_order(value)


def _value_order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, _json(value))


@lru_cache(maxsize=4096)
def _canonical(element: str) -> str:
    """Check an element that came from outside, and write it as we would. Raises ValueError."""
    if len(element) < 2 or element[1] != ":" or element[0] not in _KINDS:
        raise ValueError(f"unknown path element {element!r}")
    content = element[2:]
    match element[0]:
        case "k":
            keys = json.loads(content)
            if not isinstance(keys, dict):
                raise ValueError(f"the keys of path element {element!r} are not an object")  # noqa: TRY004 - as below
            return key(keys)
        case "v":
            return item(json.loads(content))
        case "i":
            return index(int(content))
        case _:
            return element


class FieldSet:
    """A set of paths. Empty paths are no members: no manager owns a whole object.

    Operations return new sets and leave their operands as they are; only `insert` changes one.
    """

    __slots__ = ("children", "members")

    def __init__(
        self, members: Iterable[str] = (), children: Mapping[str, FieldSet] | None = None
    ) -> None:
        self.members: set[str] = set(members)
        self.children: dict[str, FieldSet] = dict(children or {})

    @classmethod
    def of(cls, *paths: Path) -> FieldSet:
        """Return a set of these paths."""
        result = cls()
        for path in paths:
            result.insert(path)
        return result

    @classmethod
    def named(cls, *paths: str) -> FieldSet:
        """Return a set of paths of fields only, each written with dots: `metadata.name`."""
        return cls.of(*(tuple(field(name) for name in path.split(".")) for path in paths))

    @classmethod
    def decode(cls, fields_v1: Mapping[str, Any]) -> FieldSet:
        """Read the `fieldsV1` of an entry of `managedFields`. Raises ValueError for anything else."""
        result = cls()
        for element, below in fields_v1.items():
            if element == ".":
                continue  # says that the node is a member, which is known one level up
            if not isinstance(below, Mapping):
                raise ValueError(f"the value of {element!r} in fieldsV1 is not an object")  # noqa: TRY004 - the content, not the argument, is wrong
            name = _canonical(element)
            if not below or "." in below:
                result.members.add(name)
            child = cls.decode(below)
            if child:
                result.children[name] = child
        return result

    def encode(self) -> dict[str, Any]:
        """Return the `fieldsV1` form, elements in Kubernetes' order."""
        result: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys(), key=_order):
            child = self.children.get(element)
            below = child.encode() if child else {}
            result[element] = {".": {}, **below} if below and element in self.members else below
        return result

    def insert(self, path: Path) -> None:
        """Make a path a member."""
        if not path:
            return
        node = self
        for element in path[:-1]:
            node = node.children.setdefault(element, FieldSet())
        node.members.add(path[-1])

    def __contains__(self, path: Path) -> bool:
        node: FieldSet | None = self
        for element in path[:-1]:
            node = node.children.get(element) if node is not None else None
        return bool(path) and node is not None and path[-1] in node.members

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and self.encode() == other.encode()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Path]:
        for element in sorted(self.members, key=_order):
            yield (element,)
        for element in sorted(self.children, key=_order):
            for path in self.children[element]:
                yield (element, *path)

    def __repr__(self) -> str:
        return f"FieldSet({', '.join(path_text(path) for path in self)})"

    def below(self, element: str) -> FieldSet:
        """Return what is in the set below an element, without the element."""
        return self.children.get(element, EMPTY)

    def __or__(self, other: FieldSet) -> FieldSet:
        children = dict(self.children)
        for element, child in other.children.items():
            children[element] = children[element] | child if element in children else child
        return FieldSet(self.members | other.members, children)

    def __and__(self, other: FieldSet) -> FieldSet:
        shared = {
            element: child & other.children[element]
            for element, child in self.children.items()
            if element in other.children
        }
        return FieldSet(
            self.members & other.members, {name: child for name, child in shared.items() if child}
        )

    def __sub__(self, other: FieldSet) -> FieldSet:
        rest = {
            element: child - other.children[element] if element in other.children else child
            for element, child in self.children.items()
        }
        return FieldSet(
            self.members - other.members, {name: child for name, child in rest.items() if child}
        )

    def without(self, other: FieldSet) -> FieldSet:
        """Return the set without the members of another and without everything below them."""
        rest = {
            element: child.without(other.below(element))
            for element, child in self.children.items()
            if element not in other.members
        }
        return FieldSet(
            self.members - other.members, {name: child for name, child in rest.items() if child}
        )

    def only(self, other: FieldSet) -> FieldSet:
        """Return what of the set is a member of another or lies below one."""
        kept = {
            element: child if element in other.members else child.only(other.below(element))
            for element, child in self.children.items()
        }
        return FieldSet(
            self.members & other.members, {name: child for name, child in kept.items() if child}
        )


EMPTY = FieldSet()
"""The empty set, shared: do not insert into it."""
