"""A test that is not understood is named in docs/known-issues.md, and leaves the page with its mark."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "known-issues.md"


def quarantined(source: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield (test as pytest names it, reason) for each mark; a mark that is no literal call has no reason."""
    if "quarantine" not in source:
        return
    tree = ast.parse(source)
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.quarantine":
                yield _named(tree, node, path), _reason(parent)


def _named(tree: ast.Module, mark: ast.Attribute, path: str) -> str:
    """Return the innermost function or class whose decorators hold the mark, or the file."""
    names = [path]
    scope: ast.AST = tree
    while inner := next((one for one in ast.iter_child_nodes(scope) if mark in ast.walk(one)), None):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(inner.name)
        scope = inner
    return "::".join(names)


def _reason(call: ast.AST) -> str:
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
        argument = call.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
    return ""


def listed(page: str) -> set[str]:
    """Return the tests of the table of quarantined tests."""
    section = page.partition("## Quarantined tests")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def marks() -> list[tuple[str, str]]:
    return [
        found
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for found in quarantined(path.read_text(), path.relative_to(ROOT).as_posix())
        if path != Path(__file__).resolve()
    ]


def test_each_quarantined_test_has_a_reason_and_an_entry() -> None:
    assert [test for test, reason in marks() if not reason.strip()] == []
    assert {test for test, _ in marks()} == listed(PAGE.read_text())


def test_the_suite_leaves_quarantined_tests_out_and_reports_them_apart() -> None:
    makefile = (ROOT / "Makefile").read_text()
    runs = [line for line in makefile.splitlines() if re.search(r"pytest tests/(unit|scenarios|contracts) ", line)]
    assert len(runs) == 5
    assert [run for run in runs if "not quarantine" not in run and "-m quarantine " not in run] == []
    assert "make quarantine" in (ROOT / ".ci" / "run").read_text()
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert [mark for mark in options["markers"] if mark.startswith("quarantine(reason):")]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('@pytest.mark.quarantine("slow")\ndef test_a(): ...', [("t.py::test_a", "slow")]),
        ("@pytest.mark.quarantine\ndef test_a(): ...", [("t.py::test_a", "")]),
        ("@pytest.mark.quarantine()\nasync def test_a(): ...", [("t.py::test_a", "")]),
        (
            'class TestB:\n    @pytest.mark.quarantine("odd")\n    def test_c(self): ...',
            [("t.py::TestB::test_c", "odd")],
        ),
        ('pytestmark = pytest.mark.quarantine("all of it")', [("t.py", "all of it")]),
        ('@pytest.mark.parametrize("a", [1])\ndef test_a(a): ...', []),
    ],
)
def test_marks_are_found_wherever_they_stand(source: str, found: list[tuple[str, str]]) -> None:
    assert list(quarantined(source, "t.py")) == found


def test_only_the_table_of_quarantined_tests_is_read() -> None:
    page = (
        "`x` \n## Quarantined tests\n| test |\n| `a.py::test_b` | today | odd |\n## Seen once\n| `c.py::test_d` | | |\n"
    )
    assert listed(page) == {"a.py::test_b"}
