"""The walk-through of the documentation, word for word, with real gpg, curl and kubectl."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from operators.attestation import GrafeasServer

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tutorial" / "attestation-walk-through.md"
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall(PAGE.read_text())

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("gpg", "curl", "kubectl")), reason="needs gpg, curl and kubectl"
)


def steps() -> list[tuple[str, list[str]]]:
    """Return each command block and the lines that the page shows below it."""
    found: list[tuple[str, list[str]]] = []
    for language, body in BLOCKS:
        if language == "bash":
            found.append((body, []))
        elif language == "text":
            found[-1] = (found[-1][0], body.splitlines())
    return found


def shows(output: str, line: str) -> bool:
    """Tell whether an output has a line; `...` stands for anything."""
    return re.search(".*".join(re.escape(part) for part in line.split("...")), output) is not None


def test_every_block_is_run_or_shown():
    assert {language for language, _ in BLOCKS} == {"console", "bash", "text"}
    assert len(steps()) == 10


async def test_the_walk_through_says_what_the_page_shows(admission, shell, cleanup):
    del admission
    async with cleanup((GrafeasServer, "walk-through")):
        script = "\n".join(f"{command}\necho @@@{number}@@@" for number, (command, _) in enumerate(steps()))
        output = await shell(script)
        parts = re.split(r"@@@\d+@@@\n", output)
        assert len(parts) == len(steps()) + 1, output
        for (command, lines), said in zip(steps(), parts, strict=False):
            for line in lines:
                assert shows(said, line), f"{command}\nprinted\n{said}\nbut the page shows\n{line}"
    assert '"code"' not in output, output
