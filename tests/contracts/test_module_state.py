"""Modules of operators hold declarations and constants: what changes while an operator runs is in `ctx.memory`."""

from __future__ import annotations

import importlib
import pkgutil
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

import operators

_NEVER = (list, set, bytearray, OrderedDict, deque)


def modules() -> list[str]:
    """Return the names of all modules of the bundled operators."""
    found = pkgutil.walk_packages(operators.__path__, "operators.")
    return sorted(each.name for each in found if not each.name.endswith("migrations.env"))  # only alembic runs it


def mutable(module: ModuleType) -> Iterator[str]:
    """Yield the names of values that a module holds and that can change."""
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        if isinstance(value, _NEVER) or _is_mutable_instance(value):
            yield name


def _is_mutable_instance(value: Any) -> bool:
    kind = type(value)
    if not kind.__module__.startswith("operators.") or isinstance(value, (Enum, tuple)):
        return False
    return not (is_dataclass(kind) and kind.__dataclass_params__.frozen)


@pytest.mark.parametrize("name", modules())
def test_a_module_of_an_operator_holds_nothing_that_changes(name: str) -> None:
    assert list(mutable(importlib.import_module(name))) == []


def test_mutable_values_are_found() -> None:
    from operators.pki.repairs import RepairBackOff

    module = ModuleType("module")
    module.__dict__.update(repairs=RepairBackOff(), names=[], limit=3, words=frozenset({"a"}))
    assert list(mutable(module)) == ["repairs", "names"]
