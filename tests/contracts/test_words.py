"""What people read uses the terms of docs/reference/glossary.md, and not these words in their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = {
    r"faults?": "error, field error",
    r"refus(e|es|ed|ing)|refusals?": "reject, deny",
    r"wak(e|es|ing)|woke": "enqueue, reconcile",
    r"echo(es)?": "own write",
    r"swallow(s|ed|ing)?": "ignore, filter",
    r"anew": "recreated, again",
    r"foreign": "of other owners, external, unknown",
    r"ours|rivals?": "owned, conflicting",
    r"journal": "write-ahead log",
    r"reshap(e|es|ed|ing)": "conversion",
    r"whom to trust": "CA bundle",
    r"registrations?": "webhook configuration",
    r"unreadable|misfits?|unconvertible": "decode error, conversion error",
    r"junctors?": "composition",
    r"patience": "grace period",
    r"at the door": "at admission",
    r"settled": "idle",
    r"told|tells?|complain(s|ed)?": "report, notify",
    r"judg(e|es|ed|ing)": "evaluate, validate, decide",
    r"cannot be had": "in use",
    r"leash(ed)?|scratch": "exit with its parent; temporary directory",
    r"rooms?|cellars?|top floor": "package, layer",
    r"somebody|nobody": "another owner, a user; or the passive voice",
}
"""Word to write instead. Words that are also good English (take, held, going, says, answer, forms) are left to an editor."""

GENERATED = {
    ROOT / "docs" / "reference" / "cli.md",  # the help of commands
    ROOT / "docs" / "reference" / "performance.md",  # make bench; "ours" heads a column
}
_CODE = re.compile(r"```.*?^```|`[^`]*`|<!--.*?-->|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
WORD = re.compile(rf"\b({'|'.join(LEFT_OUT)})\b", re.IGNORECASE)


def pages() -> list[Path]:
    """Return the pages for readers; decision records are never rewritten."""
    docs = [path for path in ROOT.glob("docs/**/*.md") if path.parent.name != "adr" and path not in GENERATED]
    return sorted([*ROOT.glob("*.md"), *docs])


def found(text: str) -> list[str]:
    """Return the left-out words of a page in its prose, each with its line; code is left out."""
    prose = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    return [
        f"line {number}: {word[0]!r}; write {_instead(word[0])!r}"
        for number, line in enumerate(prose.splitlines(), 1)
        for word in WORD.finditer(line)
    ]


def _instead(word: str) -> str:
    return next(better for left_out, better in LEFT_OUT.items() if re.fullmatch(left_out, word, re.IGNORECASE))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_uses_the_field_s_words(page: Path) -> None:
    assert found(page.read_text()) == []


def test_every_guide_is_read() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "CHANGELOG.md", "docs/explanation/architecture.md", "docs/reference/webhooks.md"} <= names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The server refuses it.", ["line 1: 'refuses'; write 'reject, deny'"]),
        (
            "a\n\nFaults and\nan echo",
            ["line 3: 'Faults'; write 'error, field error'", "line 4: 'echo'; write 'own write'"],
        ),
        ("`wake=False` and [the page](rooms.md)\n```text\nrefused\n```\n", []),
        ("```sh\necho\n```\nIt refused", ["line 4: 'refused'; write 'reject, deny'"]),
        ("default, wakefulness, headroom", []),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(text: str, words: list[str]) -> None:
    assert found(text) == words
