"""What people read uses the terms of docs/reference/glossary.md, and not these words in their place.

README, docs/, CHANGELOG and the other pages, the help of commands (docs/reference/cli.md is generated from it), and the
values and notes of charts are checked here; names, comments and messages of the code in `test_code_words`.
"""

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

LEFT_OUT_OF_PAGES = {
    r"gone": "deleted",
    r"mend(s|ed|ing)?|heal(s|ed|ing)?": "correct, fix, recover",
    r"hears?|heard": "be notified",
    r"whoever|whom": "the user who; the noun",
    r"wants?|wanted": "require, expect",
    r"going on": "continue",
    r"front": "foreground",
    r"beware": "be careful",
    r"is how it|lets go|goes by|said to be": "a verb in the active voice",
}
"""Words that have a use in code, and none on a page."""

EXCEPTIONS = {
    "docs/reference/performance.md": ("ours",),  # heads a column that `make bench` writes
    "CHANGELOG.md": ("410 Gone",),  # the name of the HTTP status
}
"""The field's own use of a word, on one page."""
_CODE = re.compile(r"```.*?^```|`[^`]*`|<!--.*?-->|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
WORD = re.compile(rf"\b({'|'.join(LEFT_OUT)})\b", re.IGNORECASE)
PAGE_WORD = re.compile(rf"\b({'|'.join([*LEFT_OUT, *LEFT_OUT_OF_PAGES])})\b", re.IGNORECASE)


def pages() -> list[Path]:
    """Return the pages for readers; decision records are never rewritten."""
    docs = [path for path in ROOT.glob("docs/**/*.md") if path.parent.name != "adr"]
    charts = [*ROOT.glob("charts/*/values.yaml"), *ROOT.glob("charts/*/templates/NOTES.txt")]
    return sorted([*ROOT.glob("*.md"), ROOT / "docs" / "adr" / "README.md", *docs, *charts])


def found(text: str, exceptions: tuple[str, ...] = ()) -> list[str]:
    """Return the left-out words of a page in its prose, each with its line; code is left out."""
    prose = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for each in exceptions:
        prose = prose.replace(each, " " * len(each))
    return [
        f"line {number}: {word[0]!r}; write {_instead(word[0])!r}"
        for number, line in enumerate(prose.splitlines(), 1)
        for word in PAGE_WORD.finditer(line)
    ]


def _instead(word: str) -> str:
    every = LEFT_OUT | LEFT_OUT_OF_PAGES
    return next(better for left_out, better in every.items() if re.fullmatch(left_out, word, re.IGNORECASE))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_uses_the_field_s_words(page: Path) -> None:
    exceptions = EXCEPTIONS.get(page.relative_to(ROOT).as_posix(), ())
    assert found(page.read_text(), exceptions) == []


def test_every_guide_is_read() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "CHANGELOG.md", "docs/explanation/architecture.md", "docs/reference/webhooks.md"} <= names
    assert {"docs/README.md", "docs/adr/README.md", "docs/reference/cli.md", "charts/pki/values.yaml"} <= names


@pytest.mark.parametrize("page", EXCEPTIONS)
def test_every_exception_is_needed(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [each for each in EXCEPTIONS[page] if found(each) == [] or each not in text] == []


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
        ("The pod is gone.", ["line 1: 'gone'; write 'deleted'"]),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(text: str, words: list[str]) -> None:
    assert found(text) == words
