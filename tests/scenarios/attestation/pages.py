"""Pages whose commands scenarios run, and what the pages show below them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

__all__ = ["DOCS", "blocks", "follow", "steps"]

DOCS = Path(__file__).resolve().parents[3] / "docs"
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the body of each block: `bash` is run, `text` is shown, `console` is neither."""
    return _BLOCK.findall(page.read_text())


def steps(page: Path) -> list[tuple[str, list[str]]]:
    """Return each command block and the lines that the page shows below it."""
    found: list[tuple[str, list[str]]] = []
    for language, body in blocks(page):
        if language == "bash":
            found.append((body, []))
        elif language == "text":
            found[-1] = (found[-1][0], body.splitlines())
    return found


async def follow(page: Path, shell: Callable[[str], Awaitable[str]], names: Mapping[str, str] | None = None) -> str:
    """Run the commands of a page and compare what they print with it; return the whole output.

    `names` replaces texts of the page, such as the registry of an example.
    """

    def here(text: str) -> str:
        for name, value in (names or {}).items():
            text = text.replace(name, value)
        return text

    script = "\n".join(f"{command}\necho @@@{number}@@@" for number, (command, _) in enumerate(steps(page)))
    output = await shell(here(script))
    parts = re.split(r"@@@\d+@@@\n", output)
    assert len(parts) == len(steps(page)) + 1, output
    for (command, lines), said in zip(steps(page), parts, strict=False):
        for line in map(here, lines):
            assert _shows(said, line), f"{command}\nprinted\n{said}\nbut the page shows\n{line}"
    return output


def _shows(output: str, line: str) -> bool:
    """Tell whether an output has a line; `...` stands for anything."""
    return re.search(".*".join(re.escape(part) for part in line.split("...")), output) is not None
