"""Whether the fields that rules name exist.

What belongs here: the plain paths of a rule in CEL, `self.a.b` and `oldSelf.a.b`, looked up in the
schema that the rule stands on. What does not: everything else of CEL, which only an API server
checks: functions, types, variables, indexing (`self.a["b"]`), optional fields (`self.?a`), and what
stands behind a call; and `fieldPath`, which the structural check looks up.

A path is only reported when it cannot be right: no valid rule is.

Source: https://kubernetes.io/docs/reference/using-api/cel/ and k8s.io/apiserver/pkg/cel (escaping of names)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.crd.text import cel_name

__all__ = ["unknown_paths"]

Schema = Mapping[str, Any]

_NOT_CODE = re.compile(
    r"""
    (?://[^\n]*)                                          # a comment
    | [bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')   # raw text, in which \ is a letter
    | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    """,
    re.VERBOSE | re.DOTALL,
)
_PATH = re.compile(r"(?<![\w.`])(self|oldSelf)((?:\s*\.\s*[A-Za-z_]\w*)+)(\s*\()?")
_REBOUND = re.compile(r"[(,]\s*(self|oldSelf)\s*,")
_SCALARS = frozenset({"string", "integer", "number", "boolean"})
_OBJECT_META: Schema = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
}
_OBJECT_FIELDS: Mapping[str, Schema] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": _OBJECT_META,
}


def unknown_paths(
    schema: Schema, *, path: str = "", root: bool = True
) -> Iterator[tuple[str, str, str]]:
    """Yield what rules name and the schema does not have: where the rule stands, the path, and what there is instead.

    `root` says that `schema` is that of whole objects, of which rules see the name and not the rest
    of the metadata.
    """
    for rule in schema.get("x-kubernetes-validations") or ():
        for named in _paths_of(rule):
            found = _lookup(schema, named, root=root)
            if found is not None:
                yield path, named, found
    for name, child in (schema.get("properties") or {}).items():
        yield from unknown_paths(child, path=f"{path}.{name}" if path else name, root=False)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from unknown_paths(schema["additionalProperties"], path=f"{path}{{}}", root=False)
    if isinstance(schema.get("items"), Mapping):
        yield from unknown_paths(schema["items"], path=f"{path}[]", root=False)


def _paths_of(rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plain paths that a rule and its message name, each once, as `self.a.b`."""
    found: dict[str, None] = {}
    for text in (rule.get("rule") or "", rule.get("messageExpression") or ""):
        code = _NOT_CODE.sub(" '' ", text)
        rebound = {match[1] for match in _REBOUND.finditer(code)}  # a macro's variable of that name
        if rule.get("optionalOldSelf"):
            rebound.add("oldSelf")
        for variable, fields, call in _PATH.findall(code):
            names = [name.strip() for name in fields.split(".")[1:]]
            if call:
                names.pop()  # a method of the value, not a field
            if names and variable not in rebound:
                found[".".join([variable, *names])] = None
    yield from found


def _lookup(schema: Schema, path: str, *, root: bool) -> str | None:
    """Return what is wrong with a path, or None if it may be right."""
    for name in path.split(".")[1:]:
        fields = _fields(schema, root=root)
        if fields is None:
            if schema.get("type") in _SCALARS | {"array"} and not schema.get(
                "x-kubernetes-int-or-string"
            ):
                return f"{name!r} is looked for in a value of type {schema['type']}, which has no fields"
            return None
        known = {cel_name(field): child for field, child in fields.items()}
        if name not in known:
            values = schema.get("additionalProperties")
            if values is None and not schema.get("x-kubernetes-preserve-unknown-fields"):
                return f"there is no {name!r} among {', '.join(known) or 'no fields'}"
            if not isinstance(values, Mapping):
                return None
            schema, root = values, False
        else:
            schema, root = known[name], False
    return None


def _fields(schema: Schema, *, root: bool) -> Mapping[str, Schema] | None:
    """Return the fields of an object; None for what is none, or may be anything."""
    if schema.get("type") != "object":
        return None
    fields: Mapping[str, Schema] = schema.get("properties") or {}
    if root or schema.get("x-kubernetes-embedded-resource"):
        return {**fields, **_OBJECT_FIELDS}
    return fields
