"""Bringing an object into the shape of its schema: dropping what it does not name, filling in defaults.

What belongs here: the API server's algorithms for pruning, for nulls that may not be, and for
defaults. What does not: saying what is wrong with an object (`operatorkit.crd._validate`).
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from operatorkit.crd._node import METADATA_FIELDS, Node

__all__ = ["default", "drop_nulls", "prune"]


def prune(value: Any, node: Node | None, *, root: bool, unknown: list[str] | None = None) -> None:
    """Drop fields that the schema does not specify, in place, and append their paths to `unknown`.

    At the `root` of an object, and of embedded ones, apiVersion, kind and metadata stay.
    """
    if root:
        node = dataclasses.replace(node or Node(), embedded=True)
    found = [] if unknown is None else unknown
    _prune(value, node, "", found)
    found.sort()


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _prune(value: Any, node: Node | None, path: str, unknown: list[str]) -> None:
    if node is not None and node.preserve_unknown:
        _prune_known(value, node, path, unknown)
    elif isinstance(value, dict):
        for key in list(value):
            if node is not None and node.embedded and key in METADATA_FIELDS:
                continue
            if node is not None and key in node.properties:
                _prune(value[key], node.properties[key], _join(path, key), unknown)
            elif node is not None and node.has_additional:
                _prune(value[key], node.additional, _join(path, key), unknown)
            else:
                if path or key not in METADATA_FIELDS:
                    unknown.append(_join(path, key))
                del value[key]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _prune(item, None if node is None else node.items, f"{path}[{index}]", unknown)


def _prune_known(value: Any, node: Node | None, path: str, unknown: list[str]) -> None:
    """Prune only what is below the fields that a preserving schema does specify."""
    if node is None:
        return
    if isinstance(value, dict):
        for key in list(value):
            if node.embedded and key in METADATA_FIELDS:
                continue
            if key in node.properties:
                _prune(value[key], node.properties[key], _join(path, key), unknown)
            elif node.has_additional:
                _prune(value[key], node.additional, _join(path, key), unknown)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _prune_known(item, node.items, f"{path}[{index}]", unknown)


def drop_nulls(value: Any, node: Node | None) -> None:
    """Drop nulls that the schema neither allows nor has a default for, in place."""
    if isinstance(value, dict):
        for key in list(value):
            child = None
            if node is not None:
                child = node.properties.get(key) or node.additional
            if (
                value[key] is None
                and child is not None
                and not child.nullable
                and child.default is None
            ):
                del value[key]
            else:
                drop_nulls(value[key], child)
    elif isinstance(value, list):
        for item in value:
            drop_nulls(item, None if node is None else node.items)


def default(value: Any, node: Node | None) -> None:
    """Fill in defaults, in place: for absent fields, and for nulls where null is not allowed."""
    if node is None:
        return
    if isinstance(value, dict):
        # Defaults are filled in from the outside to the inside, because a default that is set here
        # may be an object whose own fields have defaults. For the same reason it is copied: the
        # next object must not share it with this one.
        for key, child in node.properties.items():
            if child.default is not None and (
                key not in value or (value[key] is None and not child.nullable)
            ):
                value[key] = copy.deepcopy(child.default)
        for key in value:
            if key in node.properties:
                default(value[key], node.properties[key])
            elif node.additional is not None:
                value[key] = _or_default(value[key], node.additional)
                default(value[key], node.additional)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            value[index] = _or_default(item, node.items)
            default(value[index], node.items)


def _or_default(value: Any, node: Node) -> Any:
    return copy.deepcopy(node.default) if value is None and not node.nullable else value
