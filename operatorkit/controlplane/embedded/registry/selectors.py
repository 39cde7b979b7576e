"""Label and field selectors: read once, matched often.

What belongs here: the syntax of `labelSelector` and `fieldSelector`, and matching. What does not: which fields a
kind can be selected by, and how they are found in an object; the kind's `Served` says that.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit import selectors
from operatorkit.controlplane.embedded.errors.errors import bad_request
from operatorkit.controlplane.embedded.registry.validation.object_meta import key_texts, value_texts
from operatorkit.selectors import Requirement, matches

__all__ = [
    "FieldSelector",
    "LabelSelector",
    "parse_fields",
    "parse_labels",
    "selector_text",
    "selects",
]

_TOKEN = re.compile(r"\s*(!=|==|=|!|\(|\)|,|<|>|[^\s!=(),<>]+)")
_OPERATORS = frozenset({"!=", "==", "=", "!", "(", ")", ",", "<", ">"})


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements; without any, everything."""

    requirements: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every requirement."""
        return all(requirement.holds(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Equalities and inequalities of fields, all of which must hold."""

    terms: tuple[tuple[str, bool, str], ...] = ()  # field, whether equal, value

    def __bool__(self) -> bool:
        return bool(self.terms)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the fields of an object meet every term; an absent field is the empty string."""
        return all((fields.get(field, "") == value) is equal for field, equal, value in self.terms)

    def exactly(self, field: str) -> str | None:
        """Return the value that `field` must have, when a term says so."""
        return next((value for name, equal, value in self.terms if equal and name == field), None)


class _Labels:
    """The reader of label selectors: one token ahead, never back."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.position = 0
        if "".join(self.tokens) != re.sub(r"\s+", "", text):
            raise ValueError(f"found '{text}', expected: identifier")

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def read(self) -> Iterable[Requirement]:
        while word := self.peek():
            if word in _OPERATORS - {"!"}:
                raise ValueError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            if (word := self.take()) not in {"", ","}:
                raise ValueError(f"found '{word}', expected: ',' or 'end of string'")
            if word and (self.peek() or ",") in _OPERATORS - {"!"}:
                raise ValueError(f"found '{self.peek()}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.take()
        if not key or key in _OPERATORS:
            raise ValueError(f"found '{key}', expected: identifier")
        _check("<nil>", key, key_texts(key))
        if absent:
            return Requirement(key, "DoesNotExist")
        if self.peek() in {"", ","}:
            return Requirement(key, "Exists")
        operator = self.take()
        match operator:
            case "=" | "==":
                return Requirement(key, "In", (self.value(key),))
            case "!=":
                return Requirement(key, "NotIn", (self.value(key),))
            case "in" | "notin":
                return Requirement(
                    key, "In" if operator == "in" else "NotIn", tuple(self.values(key))
                )
            case ">" | "<":
                return Requirement(key, "Gt" if operator == ">" else "Lt", (self.number(key),))
        raise ValueError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def word(self) -> str:
        if self.peek() in {"", ","}:
            return ""
        word = self.take()
        if word in _OPERATORS:
            raise ValueError(f"found '{word}', expected: identifier")
        return word

    def value(self, key: str) -> str:
        value = self.word()
        _check(f"values[0][{key}]", value, value_texts(value))
        return value

    def number(self, key: str) -> str:
        value = self.word()
        try:
            int(value)
        except ValueError:
            _check("values[0]", value, ["for 'Gt', 'Lt' operators, the value must be an integer"])
        _check(f"values[0][{key}]", value, value_texts(value))
        return value

    def values(self, key: str) -> Iterable[str]:
        if (opening := self.take()) != "(":
            raise ValueError(f"found '{opening}' expected: '('")
        found, due = {""} if self.peek() in {",", ")"} else set(), "',', ')' or identifier"
        while (word := self.take()) != ")":
            if word == ",":
                found |= {""} if self.peek() in {",", ")"} else set()
            elif not word or word in _OPERATORS:
                raise ValueError(f"found '{word}', expected: {due}")
            elif self.peek() not in {",", ")"}:
                raise ValueError(f"found '{self.peek()}', expected: ',' or ')'")
            else:
                found.add(word)
            due = "',', or identifier"
        for position, value in enumerate(sorted(found)):
            _check(f"values[{position}][{key}]", value, value_texts(value))
        return found


def _check(path: str, value: str, texts: Iterable[str]) -> None:
    if text := "; ".join(texts):
        raise ValueError(f"{path}: Invalid value: {json.dumps(value, ensure_ascii=False)}: {text}")


def parse_labels(text: str) -> LabelSelector:
    """Read a label selector. Raises `ApiError` (400) with Kubernetes' description of what is wrong."""
    if not text.strip():
        return LabelSelector()
    try:
        return LabelSelector(tuple(_Labels(text).read()))
    except ValueError as error:
        raise bad_request(str(error)) from None


def _split_fields(text: str) -> Iterable[str]:
    term = ""
    escaped = False
    for character in text:
        if escaped or character == "\\":
            escaped = not escaped
            term += character
        elif character == ",":
            yield term
            term = ""
        else:
            term += character
    yield term


def _unescaped(value: str) -> str:
    """Return a value without its backslashes. Raises `ApiError` (400) where one is too much or missing."""
    for sequence in re.findall(r"\\.?|[,=]", value, re.DOTALL):
        if len(sequence) == 1 and sequence != "\\":
            raise bad_request(
                f"invalid field selector: unescaped character in value: {ord(sequence)}"
            )
        if sequence[1:] not in {"\\", ",", "="}:
            raise bad_request(f"invalid field selector: invalid escape sequence: {sequence}")
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def parse_fields(
    text: str, *, known: Callable[[str], bool], unknown: Callable[[str], str]
) -> FieldSelector:
    """Read a field selector.

    `known` says whether a kind can be selected by a field and `unknown` words the error. Raises `ApiError` (400).
    """
    terms = []
    for term in _split_fields(text):
        if not term or term in {"=", "=="}:
            continue  # nothing must be nothing
        found = re.match(r"((?:[^\\=!]|\\.|!(?!=))*)(==|!=|=)(.*)", term, re.DOTALL)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = found.groups()
        if not known(field):
            raise bad_request(unknown(field))
        terms.append((field, operator != "!=", _unescaped(value)))
    return FieldSelector(tuple(terms))


def selector_text(selector: Any) -> str:
    """Return a selector as the query parameter has it; ReplicationControllers have plain labels."""
    if not isinstance(selector, dict):
        return ""
    plain = all(isinstance(it, str) for it in selector.values())
    return selectors.selector_text({"matchLabels": selector} if plain else selector)


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects labels; none selects nothing, an empty one everything."""
    if not isinstance(selector, dict):
        return False
    return matches(selector, labels)
