"""The public names: the contract with everybody who imports operatorkit."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import operatorkit

SNAPSHOT = Path(__file__).with_name("exports.json")
PACKAGES: dict[str, list[str]] = json.loads(SNAPSHOT.read_text())


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_exports_what_the_snapshot_says(package: str) -> None:
    """Run `python tests/contracts/test_exports.py` to take a new snapshot, and say why in CHANGELOG.md."""
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PACKAGES[package]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_exported_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_public_names_are_sorted() -> None:
    assert list(operatorkit.__all__) == sorted(operatorkit.__all__)


@pytest.mark.parametrize("module", ["operatorkit", "operatorkit.resource", "operatorkit.crd", "operatorkit.cli"])
def test_importing_loads_neither_kopf_nor_kubernetes_nor_a_server(module: str) -> None:
    heavy = "{'kopf', 'kubernetes', 'aiohttp.web'}"
    code = f"import {module}, sys; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


if __name__ == "__main__":
    packages = ["operatorkit", *sys.argv[1:]] if len(sys.argv) > 1 else sorted(PACKAGES)
    SNAPSHOT.write_text(
        json.dumps({package: sorted(importlib.import_module(package).__all__) for package in packages}, indent=2) + "\n"
    )
