"""Each threat of the table has a test, and the test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "attestation-threats.md"
_ROW = re.compile(r"^\| (?P<attack>[^|]+) \| (?P<stop>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/.]+\.py)::(\w+)`")


def rows() -> list[re.Match[str]]:
    return [row for row in _ROW.finditer(PAGE.read_text()) if row["attack"] != "attack"]


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_attack_names_what_stops_it_and_a_test_that_exists() -> None:
    assert len(rows()) >= 30
    for row in rows():
        tests = _TEST.findall(row["tests"])
        assert tests, row["attack"]
        for path, name in tests:
            assert name in functions(path), f"{row['attack']}: {path} has no {name}"


def test_every_scenario_of_forgeries_is_in_the_table() -> None:
    named = {name for row in rows() for _, name in _TEST.findall(row["tests"])}
    found = functions("tests/scenarios/attestation/test_forgeries.py")
    assert {name for name in found if name.startswith("test_")} <= named
