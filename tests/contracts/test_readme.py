"""README's code blocks are true: what it shows is run here, in the order in which a reader meets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(?P<lang>\w+)(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """Return (language, the rest of the fence's line, body) of every fenced block."""
    return [(m["lang"], m["info"].strip(), m["body"]) for m in _BLOCK.finditer(path.read_text())]


def test_every_block_of_readme_is_of_a_kind_that_a_test_runs() -> None:
    kinds = {(lang, info) for lang, info, _ in blocks(ROOT / "README.md")}
    assert kinds <= {("python", "title=website.py"), ("console", ""), ("make", ""), ("text", "")}
    assert ("python", "title=website.py") in kinds


def test_the_operator_that_readme_shows_is_complete_and_short(tmp_path: Path) -> None:
    (body,) = (body for lang, _, body in blocks(ROOT / "README.md") if lang == "python")
    assert len(body.splitlines()) <= 30
    assert body == (ROOT / "examples" / "01_website.py").read_text(), "README shows the first example, word for word"
    (tmp_path / "website.py").write_text(body)
    rendered = subprocess.run(
        [sys.executable, "-m", "operatorkit", "crd", "render", "website.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert rendered.returncode == 0, rendered.stderr
    assert "kind: CustomResourceDefinition" in rendered.stdout


def console_commands() -> list[tuple[str, str]]:
    """Return every `$ command` of README's console blocks with the output shown below it."""
    found = []
    for lang, _, body in blocks(ROOT / "README.md"):
        if lang != "console":
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def test_readme_shows_commands() -> None:
    assert len(console_commands()) >= 2


@pytest.mark.parametrize(("command", "output"), console_commands())
def test_a_command_of_readme_prints_what_readme_shows(command: str, output: str, tmp_path: Path) -> None:
    for lang, info, body in blocks(ROOT / "README.md"):
        if lang == "python":
            (tmp_path / info.removeprefix("title=")).write_text(body)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    printed = done.stdout + done.stderr
    for line in output.splitlines():
        if line.strip() != "...":
            assert line.strip() in printed, printed
