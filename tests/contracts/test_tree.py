"""What holds for the tree as a whole, whatever the code does."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Return the committed files, or, outside a checkout (an sdist), those that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for pattern in patterns for path in ROOT.rglob(pattern) if ".venv" not in path.parts]


PYTHON_FILES = tracked("*.py")


def test_no_requirement_names_an_index_or_a_url() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text()
        assert "--index-url" not in text
        assert "--find-links" not in text
        assert "://" not in text, path


def test_every_pinned_requirement_has_a_hash() -> None:
    for name in ("runtime.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text()
        pins = re.split(r"\n(?=[a-z0-9])", text)
        pins = [pin for pin in pins if "==" in pin.split("\n")[0]]
        assert len(pins) > 30
        assert [pin.split(" ")[0] for pin in pins if "--hash=sha256:" not in pin] == []


@pytest.mark.parametrize("package", ["operatorkit", "operators"])
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PYTHON_FILES
        if path.is_relative_to(ROOT / package) and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def imported(path: Path) -> set[str]:
    """Return what a file imports, each as module.name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_what_is_private_to_a_package_stays_in_it() -> None:
    strangers = []
    for path in PYTHON_FILES:
        if not path.is_relative_to(ROOT / "operatorkit") and not path.is_relative_to(ROOT / "operators"):
            continue
        for name in imported(path):
            package, private, _ = name.partition("._")
            own = bool(private) and package.split(".")[0] in {"operatorkit", "operators"}
            if own and not path.is_relative_to(ROOT.joinpath(*package.split("."))):
                strangers.append(f"{path.relative_to(ROOT)} imports {name}")
    assert strangers == []


def test_no_work_is_left_as_a_remark() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    word = re.compile(rf"\b({'|'.join(words)})\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PYTHON_FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert found == []


def test_no_module_outgrows_600_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in PYTHON_FILES
        if (lines := len(path.read_text().splitlines())) > 600
    }
    assert long == {}


def test_every_decision_record_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert records
    assert [name for name in records if f"({name})" not in index] == []
    assert sorted(re.findall(r"\((0[^)]+\.md)\)", index)) == records
