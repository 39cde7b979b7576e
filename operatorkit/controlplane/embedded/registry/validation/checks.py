"""Checks of names, labels and numbers, in the API server's words.

What belongs here: what several kinds share. What does not: the rules of one kind (`kinds`, `pods`).

Source: k8s.io/apimachinery/pkg/util/validation (the texts are part of the API: clients show them)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.crd.field_errors import FieldErrors, forbidden, invalid, required
from operatorkit.names import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN

__all__ = [
    "label_1123",
    "label_key",
    "label_selector",
    "labels",
    "natural",
    "port",
    "port_name",
    "subdomain",
    "subdomain_texts",
]

JSONObject = Mapping[str, Any]

_LABEL = re.compile(DNS_LABEL_PATTERN)
_SUBDOMAIN = re.compile(DNS_SUBDOMAIN_PATTERN)
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def label_1123(path: str, value: str) -> FieldErrors:
    """Check a DNS label."""
    if len(value) > 63:
        yield invalid(path, value, "must be no more than 63 characters")
    if not _LABEL.fullmatch(value):
        yield invalid(path, value, _LABEL_TEXT)


def subdomain(path: str, value: str) -> FieldErrors:
    """Check a DNS subdomain."""
    return (invalid(path, value, text) for text in subdomain_texts(value))


def subdomain_texts(value: str) -> Iterator[str]:
    """Return what is wrong with a DNS subdomain."""
    if len(value) > 253:
        yield "must be no more than 253 characters"
    if not _SUBDOMAIN.fullmatch(value):
        yield _SUBDOMAIN_TEXT


def label_key(path: str, key: str) -> FieldErrors:
    """Check the key of a label."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        yield invalid(path, key, f"prefix part {_SUBDOMAIN_TEXT}")
    if len(name) > 63:
        yield invalid(path, key, "name part must be no more than 63 bytes")
    if not _QUALIFIED.fullmatch(name):
        yield invalid(path, key, _QUALIFIED_TEXT)


def labels(path: str, values: JSONObject | None) -> FieldErrors:
    """Check labels, or a selector that is only labels."""
    for key, value in (values or {}).items():
        yield from label_key(path, key)
        if len(value) > 63:
            yield invalid(path, value, "must be no more than 63 bytes")
        if value and not _QUALIFIED.fullmatch(value):
            yield invalid(path, value, _VALUE_TEXT)


def label_selector(path: str, selector: JSONObject | None) -> FieldErrors:
    """Check a label selector."""
    if selector is None:
        return
    yield from labels(f"{path}.matchLabels", selector.get("matchLabels"))
    for position, rule in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{position}]"
        operator, values = rule.get("operator", ""), rule.get("values") or ()
        match operator:
            case "In" | "NotIn":
                if not values:
                    yield required(
                        f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"
                    )
            case "Exists" | "DoesNotExist":
                if values:
                    why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    yield forbidden(f"{here}.values", why)
            case _:
                yield invalid(f"{here}.operator", operator, "not a valid selector operator")
        yield from label_key(f"{here}.key", rule.get("key", ""))


def natural(path: str, value: int | None) -> FieldErrors:
    """Check a number that must not be negative."""
    if value is not None and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def port(path: str, value: int) -> FieldErrors:
    """Check the number of a port."""
    if not 1 <= value <= 65535:
        yield invalid(path, value, "must be between 1 and 65535, inclusive")


def port_name(path: str, value: str) -> FieldErrors:
    """Check the name of a port, as IANA has it."""
    if len(value) > 15:
        yield invalid(path, value, "must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]*", value):
        yield invalid(
            path, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        )
    if not re.search(r"[a-z]", value):
        yield invalid(path, value, "must contain at least one letter (a-z)")
    if "--" in value:
        yield invalid(path, value, "must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        yield invalid(path, value, "must not begin or end with a hyphen")
