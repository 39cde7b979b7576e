"""What a definition loses when another one takes its place.

What belongs here: comparing two CustomResourceDefinitions for what objects and clients would lose:
versions, fields, scope. What does not: rules that become narrower, and what is done about a loss
(`operatorkit._runtime.install`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Loss", "losses", "summary"]

Schema = Mapping[str, Any]

_MOST_LINES = 20
_KEEPS_ALL = "x-kubernetes-preserve-unknown-fields"
_WIDER = {("integer", "number"), ("integer", "int-or-string"), ("string", "int-or-string")}


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """One thing that is lost: `path` is where it stands (`v1: spec.endpoints[].interval`), `message` what happens."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def losses(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Loss]:
    """Return what `after` takes away from `before`, two CustomResourceDefinitions of one name, sorted by path.

    Lost are: a version, or that it is served; a version in which objects may be stored; the scope
    and the kind; a subresource; a field, or that unknown ones are kept; the type of a field, unless
    the new one takes every old value.
    """
    return sorted({*_of_names(before, after), *_of_versions(before, after)})


def summary(found: Iterable[Loss], *, indent: str = "  ") -> str:
    """Return losses as lines; of very many the first, and how many more there are."""
    lines = [str(loss) for loss in found]
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join(f"{indent}{line}" for line in [*lines[:_MOST_LINES], *more])


def _of_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Loss]:
    old, new = before["spec"], after["spec"]
    for path, then, now in (
        ("scope", old.get("scope"), new.get("scope")),
        ("kind", old["names"].get("kind"), new["names"].get("kind")),
    ):
        if then != now:
            yield Loss(path, f"{then} becomes {now}")


def _of_versions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Loss]:
    new = {version["name"]: version for version in after["spec"]["versions"]}
    for version in (before.get("status") or {}).get("storedVersions") or ():
        if version not in new:
            yield Loss(
                version,
                "objects may be stored in this version (status.storedVersions): migrate them before it is removed",
            )
    for version in before["spec"]["versions"]:
        name, now = version["name"], new.get(version["name"])
        if now is None:
            yield Loss(name, "the version is removed")
            continue
        if version.get("served") and not now.get("served"):
            yield Loss(name, "the version is no longer served")
        for subresource in version.get("subresources") or {}:
            if subresource not in (now.get("subresources") or {}):
                yield Loss(name, f"the subresource {subresource} is removed")
        for path, message in _of_schema(_root(version), _root(now), ""):
            yield Loss(f"{name}: {path.removeprefix('.')}" if path else name, message)


def _root(version: Mapping[str, Any]) -> Schema:
    schema: Schema = (version.get("schema") or {}).get("openAPIV3Schema") or {_KEEPS_ALL: True}
    return schema


def _of_schema(old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
    then, now = _type(old), _type(new)
    if now is None and _keeps_all(new):
        return  # whatever was there stays
    if then != now and (then, now) not in _WIDER:
        yield path, f"{then or 'any value'} becomes {now or 'any value'}"
        return
    if _keeps_all(old) and not _keeps_all(new):
        yield path, "fields that the schema does not name are no longer kept"
    for name, child in (old.get("properties") or {}).items():
        here = f"{path}.{name}"
        successor = _field(new, name)
        if successor is not None:
            yield from _of_schema(child, successor, here)
        elif not _keeps_all(new):
            yield (
                here,
                "the field is removed: its values are pruned at the next write of each object",
            )
    yield from _of_map(old, new, path)
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        yield from _of_schema(old["items"], new["items"], f"{path}[]")


def _of_map(old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
    values, successors = old.get("additionalProperties"), new.get("additionalProperties")
    if not values or _keeps_all(new):
        return
    if not successors:
        yield path, "a map of any keys becomes an object of named fields: other keys are pruned"
    elif isinstance(values, Mapping) and isinstance(successors, Mapping):
        yield from _of_schema(values, successors, f"{path}{{}}")


def _field(schema: Schema, name: str) -> Schema | None:
    """Return the schema of a field that an object may have, by name or as one of a map's values."""
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    if found is True:
        return {_KEEPS_ALL: True}
    return found if isinstance(found, Mapping) else None


def _type(schema: Schema) -> str | None:
    return (
        "int-or-string" if schema.get("x-kubernetes-int-or-string") else schema.get("type") or None
    )


def _keeps_all(schema: Schema) -> bool:
    return bool(schema.get(_KEEPS_ALL)) and not schema.get("x-kubernetes-int-or-string")
