"""The how-to guides are true: a reader who saves every file of a page and types its commands sees what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "tests" / "scenarios" / "attestation" / "test_guides.py"  # those that need a cluster run there
PAGES = sorted(page for page in ROOT.glob("docs/how-to/*.md") if page.name not in GUIDES.read_text())
_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_follows_a_guide_sees_what_it_shows(page: Path, tmp_path: Path) -> None:
    typed = 0
    for lang, info, body in _BLOCK.findall(page.read_text()):
        how, _, name = info.partition("=")
        match how, lang:
            case (("title" | "append"), _):
                with (tmp_path / name).open("w" if how == "title" else "a") as file:
                    file.write(body if how == "title" else f"\n\n{body}")
            case "", "console":
                for part in body.split("$ ")[1:]:
                    command, *shown = part.splitlines()
                    said = run(command, tmp_path)
                    assert [line for line in shown if line not in said] == [], said
                    typed += 1
            case _:
                assert (lang, info) == ("text", ""), "a block that no test runs"
    assert typed


def run(command: str, folder: Path) -> str:
    """Type a command in a fresh shell, with this Python first in the path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env={**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_there_are_guides() -> None:
    assert PAGES
