"""Whole Kubernetes objects inside of custom resources.

What belongs here: checking the apiVersion, kind and metadata of embedded objects. What does not:
the metadata of the custom resource itself, which an API server checks for every kind alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from operatorkit.crd._node import Node
from operatorkit.crd.field_errors import FieldError, invalid, required
from operatorkit.names import DNS_1035_LABEL_PATTERN, dns_label_error

__all__ = ["embedded_errors"]

_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


def embedded_errors(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Return what is wrong with the embedded objects in a value, at any depth."""
    errors: list[FieldError] = []
    if isinstance(value, dict):
        if node.embedded:
            errors += _object_errors(value, f"{path}." if path else "")
        for key, item in value.items():
            if key in node.properties:
                errors += embedded_errors(
                    node.properties[key], item, f"{path}.{key}" if path else key
                )
            elif node.additional is not None:
                errors += embedded_errors(node.additional, item, f"{path}[{key}]")
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            errors += embedded_errors(node.items, item, f"{path}[{index}]")
    return errors


def _object_errors(value: dict[str, Any], prefix: str) -> list[FieldError]:
    errors = [required(f"{prefix}{key}") for key in ("apiVersion", "kind") if key not in value]
    if "apiVersion" in value:
        errors += _api_version(value["apiVersion"], f"{prefix}apiVersion")
    if "kind" in value:
        errors += _kind(value["kind"], f"{prefix}kind")
    if "metadata" in value:
        errors += _metadata(value["metadata"], f"{prefix}metadata")
    return errors


def _api_version(value: Any, path: str) -> list[FieldError]:
    if not isinstance(value, str):
        return [invalid(path, value, "must be a string")]
    if not value:
        return [invalid(path, value, "must not be empty")]
    if value.count("/") > 1:
        return [invalid(path, value, f"unexpected GroupVersion string: {value}")]
    return []


def _kind(value: Any, path: str) -> list[FieldError]:
    if not isinstance(value, str):
        return [invalid(path, value, "must be a string")]
    if not value:
        return [invalid(path, value, "must not be empty")]
    if len(value) <= 63 and re.fullmatch(DNS_1035_LABEL_PATTERN, value.lower()):
        return []
    found = []
    if len(value) > 63:
        found.append("must be no more than 63 characters")
    if not re.fullmatch(DNS_1035_LABEL_PATTERN, value.lower()):
        found.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            f"validation is '{DNS_1035_LABEL_PATTERN}')"
        )
    return [
        invalid(path, value, f"may have mixed case, but should otherwise match: {','.join(found)}")
    ]


def _metadata(value: Any, path: str) -> list[FieldError]:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [invalid(path, value, "must be an object")]
    errors = [
        *_name_errors(value.get("name"), path),
        *_namespace_errors(value.get("namespace"), path),
    ]
    for field in ("labels", "annotations"):
        entries = value.get(field)
        if isinstance(entries, dict):
            errors += _entry_errors(entries, f"{path}.{field}", values=field == "labels")
    return errors


def _name_errors(name: Any, path: str) -> Iterator[FieldError]:
    """Check what a name in a path of the API server cannot be; most kinds have stricter rules of their own."""
    if not isinstance(name, str):
        return
    if name in {".", ".."}:
        yield invalid(f"{path}.name", name, f"may not be '{name}'")
    elif "/" in name or "%" in name:
        yield invalid(f"{path}.name", name, "may not contain '/' or '%'")


def _namespace_errors(namespace: Any, path: str) -> Iterator[FieldError]:
    if isinstance(namespace, str) and namespace and (error := dns_label_error(namespace)):
        yield invalid(f"{path}.namespace", namespace, error)


def _entry_errors(entries: dict[str, Any], path: str, *, values: bool) -> Iterator[FieldError]:
    """Check the keys of labels or annotations, and, of labels only, the values."""
    for key, text in entries.items():
        name = key.rpartition("/")[2]
        if not _QUALIFIED.fullmatch(name) or len(name) > 63:
            yield invalid(path, key, "name part must be a qualified name of at most 63 bytes")
        elif values and isinstance(text, str) and text and not _QUALIFIED.fullmatch(text):
            yield invalid(path, text, "a valid label must be empty or a qualified name")
