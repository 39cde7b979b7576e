from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("code_figures", ROOT / "tools" / "code_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SAMPLE = f'''"""A module."""

# why: a comment on a line of its own
LONG = "{"x" * 100}"  # a comment behind code


def public(items):
    """One line."""
    # why

    for item in items:
        if item and item > 1 or not item:
            _helper(item)
    return [one for one in items if one]


def _helper(item):
    return _helper(item - 1) if item else _twice()


def _twice():
    return _Odd()._twice


def _unused():
    """Text
    of two lines.
    """
'''


def test_the_sample_is_counted(tool: ModuleType) -> None:
    found = tool.figures(SAMPLE)
    assert found.function_lines == [5, 2, 2, 1]  # without blank lines, comments and docstrings
    assert found.branches == [6, 1, 0, 0]  # for, if, `and`, `or`, for and if of the comprehension; the conditional
    assert (found.private_functions, found.used_once) == (3, 2)  # _helper calls itself; _twice is named in _helper
    assert (found.code_lines, found.long_lines) == (11, 1)
    assert (found.comment_lines, found.all_lines) == (2, len(SAMPLE.splitlines()))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("while a: pass", 1),
        ("if a: pass\n elif b: pass\n else: pass", 2),
        ("try: pass\n except A: pass\n except B: pass\n finally: pass", 2),
        ("assert a", 1),
        ("return a and b and c", 2),
        ("match a:\n  case 1: pass\n  case [b] if b: pass\n  case _: pass", 2),
        ("match a:\n  case _ if b: pass", 1),
        ("with a: pass", 0),
        ("def inner():\n  if a: pass", 0),
        ("return [a for b in c for d in e if f if g]", 4),
        ("return lambda: a or b", 1),
    ],
)
def test_decision_points(tool: ModuleType, body: str, count: int) -> None:
    assert tool.figures(f"def outer():\n {body}").branches[0] == count


def test_a_nested_function_counts_for_itself(tool: ModuleType) -> None:
    assert sorted(tool.figures("def outer():\n def inner():\n  if a: pass\n return inner").branches) == [0, 1]


def test_a_function_named_at_two_places_is_not_used_once(tool: ModuleType) -> None:
    assert tool.figures("def _f(): ...\n\n_f()\nx._f()").used_once == 0
    assert tool.figures("def _f(): ...").used_once == 0


def test_rows_add_up_and_an_empty_one_has_dashes(tool: ModuleType) -> None:
    twice = tool.Figures()
    for _ in range(2):
        twice.add(tool.figures(SAMPLE))
    assert twice.row() == ["8", "2", "5", "0.00 %", "1.75", "66.67 %", "9.09 %", "7.14 %"]
    assert tool.Figures().row() == ["0", "-", "-", "-", "-", "-", "-", "-"]


def test_our_packages_are_rows_and_a_directory_without_python_is_an_error(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tool.packages()
    assert {"operatorkit (single modules)", "operatorkit.crd", "operators.pki", "**all**"} <= set(rows)
    assert len(rows["**all**"]) == sum(len(files) for name, files in rows.items() if name != "**all**")
    assert tool.main([str(tmp_path)]) == 1
    assert "give directories of packages" in capsys.readouterr().err
    (tmp_path / "one.py").write_text(SAMPLE)
    assert tool.main([str(tmp_path)]) == 0
    assert f"| {tmp_path.name} | 4 |" in capsys.readouterr().out
