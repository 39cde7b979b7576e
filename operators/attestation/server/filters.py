"""The filters of list requests: from text to a tree, and back.

What belongs here: the grammar (the subset of AIP-160 that Grafeas uses), the tree and its text. What does not: which
fields there are and what they mean in a database (`filter_sql`). Pure.

    filter      := conjunction
    conjunction := disjunction { ["AND" | "&&"] disjunction }       OR binds tighter than AND, as AIP-160 has it
    disjunction := term { ("OR" | "||") term }
    term        := ["NOT" | "-" | "!"] ( "(" conjunction ")" | call | comparison )
    call        := "has_prefix" "(" field "," value ")"
    comparison  := field ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | ":") value
    field       := word { "." word }
    value       := "text" | 'text' | word of letters, digits and any of _ . : / @ + - | "*" (any value, after ":")

Guarantees: `parse(str(tree)) == tree` for each tree that `parse` returns; work is bounded by MAX_LENGTH and MAX_DEPTH.

Source: https://google.aip.dev/160
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from operators.attestation.server.errors import ApiError

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "And",
    "Compare",
    "FilterError",
    "HasPrefix",
    "Node",
    "Not",
    "Or",
    "parse",
]

MAX_LENGTH: Final = 4096
MAX_DEPTH: Final = 32

Operator = Literal["=", "!=", "<", "<=", ">", ">=", ":"]


class FilterError(ApiError):
    """A filter cannot be read, or asks for what is not there; `position` is a character, counted from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__("INVALID_ARGUMENT", f"filter: {message} (at character {position})")
        self.position = position


@dataclass(frozen=True, slots=True)
class Compare:
    """A field and a value. `position` is where the field stands in the text; it does not count for equality."""

    field: tuple[str, ...]
    operator: Operator
    value: str
    position: int = 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compare) and (self.field, self.operator, self.value) == (
            other.field,
            other.operator,
            other.value,
        )

    def __hash__(self) -> int:
        return hash((self.field, self.operator, self.value))

    def __str__(self) -> str:
        return f"{'.'.join(self.field)}{self.operator}{_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class HasPrefix:
    """The value of a field begins with a text."""

    field: tuple[str, ...]
    value: str
    position: int = 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HasPrefix) and (self.field, self.value) == (
            other.field,
            other.value,
        )

    def __hash__(self) -> int:
        return hash((self.field, self.value))

    def __str__(self) -> str:
        return f"has_prefix({'.'.join(self.field)}, {_quoted(self.value)})"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a term."""

    term: Node

    def __str__(self) -> str:
        return f"NOT ({self.term})" if isinstance(self.term, And | Or) else f"NOT {self.term}"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of two or more terms."""

    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(
            f"({term})" if isinstance(term, And | Or) else str(term) for term in self.terms
        )


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more terms."""

    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " AND ".join(
            f"({term})" if isinstance(term, And | Or) else str(term) for term in self.terms
        )


Node = And | Or | Not | Compare | HasPrefix

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<symbol><=|>=|!=|==|&&|\|\||[=<>:(),!])
      | (?P<word>-?[A-Za-z0-9_][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*|\*)
      | (?P<minus>-)
    )""",
    re.VERBOSE | re.DOTALL,
)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_COMPARATORS = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    ":": ":",
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str) -> Node | None:
    """Return the tree of a filter; None for an empty one, which selects all. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"it has {len(text)} characters, at most {MAX_LENGTH} are read", MAX_LENGTH + 1
        )
    if not text.strip():
        return None
    parser = _Parser(_tokens(text), len(text) + 1)
    node = parser.conjunction(0)
    parser.expect_end()
    return node


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            while text[at].isspace():
                at += 1
            what = (
                "the text is not closed"
                if text[at] in "\"'"
                else f"{text[at]!r} is not expected here"
            )
            raise FilterError(what, at + 1)
        kind = match.lastgroup
        start = match.start(kind)
        word = match[kind]
        if (
            kind == "word"
            and (colon := word.find(":")) > 0
            and _FIELD.fullmatch(word[:colon])
            and _is_field(found)
        ):
            found.append(
                _Token("word", word[:colon], start + 1)
            )  # field:value; elsewhere it is a time or a digest
            at = start + colon
            found.append(_Token("symbol", ":", at + 1))
            at += 1
            continue
        if kind == "word" and word.startswith("-") and _is_field(found):
            found.append(_Token("minus", "-", start + 1))
            at = start + 1
            continue
        found.append(_Token(kind, word, start + 1))
        at = match.end()
    return found


def _is_field(before: Sequence[_Token]) -> bool:
    """Return whether a word after these tokens is a field: after a comparator or a comma it is a value."""
    return not before or before[-1].kind != "symbol" or before[-1].text not in {*_COMPARATORS, ","}


class _Parser:
    def __init__(self, tokens: Sequence[_Token], end: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._end = end

    def conjunction(self, depth: int) -> Node:
        terms = [self._disjunction(depth)]
        while (token := self._peek()) is not None and token.text != ")":
            if self._is_word("AND") or token.text == "&&":
                self._at += 1
            terms.append(self._disjunction(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def expect_end(self) -> None:
        token = self._peek()
        if token is not None:
            raise FilterError(f"{token.text!r} is not expected here", token.position)

    def _disjunction(self, depth: int) -> Node:
        terms = [self._term(depth)]
        while self._is_word("OR") or self._is_symbol("||"):
            self._at += 1
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self, depth: int) -> Node:
        token = self._next("a field")
        if depth > MAX_DEPTH:
            raise FilterError(f"it is nested more than {MAX_DEPTH} levels deep", token.position)
        if (
            token.kind == "minus"
            or token.text == "!"
            or (token.kind == "word" and token.text == "NOT")
        ):
            return Not(self._term(depth + 1))
        if token.kind == "symbol" and token.text == "(":
            inner = self.conjunction(depth + 1)
            self._take(")")
            return inner
        if (
            token.kind != "word"
            or _FIELD.fullmatch(token.text) is None
            or token.text in {"AND", "OR"}
        ):
            raise FilterError(f"expected a field, found {token.text!r}", token.position)
        if token.text == "has_prefix" and self._is_symbol("("):
            return self._has_prefix(token)
        return self._comparison(token)

    def _has_prefix(self, call: _Token) -> Node:
        self._take("(")
        field = self._next("a field")
        if field.kind != "word" or _FIELD.fullmatch(field.text) is None:
            raise FilterError(f"expected a field, found {field.text!r}", field.position)
        self._take(",")
        value = self._value()
        self._take(")")
        return HasPrefix(tuple(field.text.split(".")), value, call.position)

    def _comparison(self, field: _Token) -> Node:
        token = self._next("a comparison, such as =")
        if token.kind != "symbol" or token.text not in _COMPARATORS:
            raise FilterError(
                f"expected a comparison (=, !=, <, <=, >, >=, :) after {field.text!r}, found {token.text!r}",
                token.position,
            )
        operator = cast("Operator", _COMPARATORS[token.text])
        return Compare(tuple(field.text.split(".")), operator, self._value(), field.position)

    def _value(self) -> str:
        token = self._next("a value")
        if token.kind == "text":
            return _ESCAPE.sub(r"\1", token.text[1:-1])
        if token.kind == "word":
            return token.text
        raise FilterError(
            f"expected a value, found {token.text!r}: put texts in double quotes", token.position
        )

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self, expected: str) -> _Token:
        token = self._peek()
        if token is None:
            raise FilterError(f"it ends where {expected} is expected", self._end)
        self._at += 1
        return token

    def _take(self, symbol: str) -> None:
        token = self._next(repr(symbol))
        if token.kind != "symbol" or token.text != symbol:
            raise FilterError(f"expected {symbol!r}, found {token.text!r}", token.position)

    def _is_word(self, word: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "word" and token.text == word

    def _is_symbol(self, symbol: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "symbol" and token.text == symbol


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
