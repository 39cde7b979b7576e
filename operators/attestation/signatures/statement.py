"""What a signed payload states: which digest, and under which name.

What belongs here: the forms of payloads, each read so strictly that there is one reading. What does not: signatures.
Pure.

    sha256:...                          a digest, the whole text of a clearsigned message
    registry.example/app@sha256:...     a reference, likewise
    {"critical": {...}, "optional": ..} simple signing, of containers/image, cosign and Binary Authorization

Source: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from operators.attestation.images import (
    ImageReferenceError,
    check_digest,
    parse_image,
    parse_resource_uri,
)

__all__ = [
    "Form",
    "Statement",
    "StatementError",
    "check_statement_digest",
    "read_statement",
    "strict_json",
]

Form = Literal["digest", "reference", "simple-signing", "in-toto"]

_TYPES = frozenset(
    {
        "atomic container signature",
        "cosign container image signature",
        "Google cloud binauthz container signature",
    }
)


class StatementError(ValueError):
    """A payload does not name one digest in a form that is accepted."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A digest, and the name under which it was signed: `registry/repository`, None where only the digest was.

    `reference` is the whole of what was signed, in normal form, with the tag if it has one. `builder` is the builder in
    SLSA provenance.
    """

    digest: str
    name: str | None
    form: Form
    reference: str | None = None
    builder: str | None = None


def read_statement(payload: bytes, *, only: Form | None = None) -> Statement:
    """Return what a payload states; with `only`, in this form. Raises StatementError."""
    found = _read(payload)
    if only is not None and found.form != only:
        raise StatementError(f"the payload has the form {found.form}, not {only}")
    return found


def _read(payload: bytes) -> Statement:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StatementError("the payload is not UTF-8 text") from error
    if text.lstrip().startswith("{"):
        return _simple_signing(strict_json(text))
    return _plain(text.removesuffix("\n").removesuffix("\r"))


def check_statement_digest(digest: str, where: str) -> None:
    """Raise StatementError for a digest that is not complete and in lower case."""
    _checked(lambda: check_digest(digest), where)


def strict_json(text: str) -> Mapping[str, Any]:
    """Read a JSON object that has one meaning: no key twice, no NaN, not deeper than needed. Raises StatementError."""
    if text.count("{") + text.count("[") > 1000:
        raise StatementError("the payload has too many objects")
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise StatementError(f"the payload is not strict JSON: {error}") from error
    if not isinstance(found, dict):
        raise StatementError("the payload is not a JSON object")
    return found


def _plain(text: str) -> Statement:
    try:
        if "/" not in text and "@" not in text:
            check_digest(text)
            return Statement(text, None, "digest")
        image = parse_resource_uri(text)
    except ImageReferenceError as error:
        raise StatementError(
            f"the signed text is neither a digest nor a reference with one: {error}"
        ) from error
    assert image.digest is not None, "a resource has one"
    return Statement(image.digest, image.name, "reference", str(image))


def _simple_signing(content: Mapping[str, Any]) -> Statement:
    critical = _object(content, "critical", {"identity", "image", "type"}, where="critical")
    _only(content, {"critical", "optional"}, where="the payload")
    if not isinstance(content.get("optional"), dict | None):
        raise StatementError("optional is not an object")
    identity = _object(critical, "identity", {"docker-reference"}, where="critical.identity")
    image = _object(critical, "image", {"docker-manifest-digest"}, where="critical.image")
    if critical.get("type") not in _TYPES:
        raise StatementError(
            f"critical.type is {critical.get('type')!r}: expected one of {', '.join(sorted(_TYPES))}"
        )
    digest = _text(image, "docker-manifest-digest", where="critical.image")
    reference = _text(identity, "docker-reference", where="critical.identity", may_be_empty=True)
    _checked(lambda: check_digest(digest), "critical.image.docker-manifest-digest")
    name = whole = None
    if reference:
        named = _checked(lambda: parse_image(reference), "critical.identity.docker-reference")
        if named.digest not in {None, digest}:
            raise StatementError(
                "critical.identity.docker-reference has another digest than critical.image"
            )
        name, whole = named.name, str(replace(named, digest=digest))
    return Statement(digest, name, "simple-signing", whole)


def _checked(read: Callable[[], Any], where: str) -> Any:
    try:
        return read()
    except ImageReferenceError as error:
        raise StatementError(f"{where}: {error}") from error


def _object(
    parent: Mapping[str, Any], name: str, keys: set[str], *, where: str
) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise StatementError(f"{where} is missing, or not an object")
    _only(value, keys, where=where)
    return value


def _only(value: Mapping[str, Any], keys: set[str], *, where: str) -> None:
    if unknown := set(value) - keys:
        raise StatementError(f"{where} has {min(unknown)!r}, which is not supported: remove it")


def _text(parent: Mapping[str, Any], name: str, *, where: str, may_be_empty: bool = False) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        raise StatementError(f"{where}.{name} is missing, or not text")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")
