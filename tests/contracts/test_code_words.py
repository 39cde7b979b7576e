"""Names, docstrings, comments and messages of the code use the terms of docs/reference/glossary.md.

Of tests the names count: those of files, functions, fixtures and variables.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.test_words import LEFT_OUT, ROOT, WORD

EXCEPTIONS: dict[str, tuple[str, ...]] = {
    # The field's own words, and names that others own.
    "": ("connection refused", "ConnectionRefusedError", "connectionrefused", "click.echo", "echo"),
    # The API group of webhook configurations is admissionregistration.k8s.io.
    "operatorkit/webhooks": ("registration", "registrations"),
    "operatorkit/_runtime": ("registration", "registrations", "0011-echoes-of-applied-children"),
    "operatorkit/chart": ("registration", "registrations"),
    # Reasons keep their spelling.
    "operators/attestation": ("KEY UNREADABLE",),
    # SQL: https://mariadb.com/kb/en/create-server/
    "operators/mysql_sharding/proxy": ("foreign data wrapper",),
    # What a kubelet does with its node: https://kubernetes.io/docs/concepts/architecture/nodes/#self-registration-of-nodes
    "operatorkit/controlplane/nodes": ("registration",),
    # Sleeping coroutines wake: the word of asyncio and of every operating system.
    "operatorkit/testing/clock.py": ("wake", "wakes", "woke"),
    "operatorkit/testing": ("settled", "injected faults", "faults"),
    # A path that users see in messages of API servers, and that configurations in clusters hold.
    "operatorkit/webhooks/manifests.py": ("/if-nobody-answers-kubectl-delete/",),
}
"""What may stand in the files below a path: texts and words, compared without regard to case."""

EXCEPTIONS_OF_TESTS: dict[str, tuple[str, ...]] = {
    # Names of the package and of others; `settled` and `faults` are operatorkit.testing's.
    "": ("Connection Refused Error", "next wake", "echo", "registration", "registrations", "settled", "faults"),
    # "ours" is a key of the results that benchmarks write.
    "tests/bench": ("ours",),
    "tests/unit/bench": ("ours",),
    # Sleeping coroutines wake, see above.
    "tests/unit/testing": ("wake", "wakes"),
    "tests/unit/test_clock.py": ("wake", "wakes"),
}
"""What may stand in names of tests below a path."""


def sources() -> list[Path]:
    """Return the modules whose words are checked."""
    found = [path for top in ("operatorkit", "operators", "examples", "tools") for path in (ROOT / top).rglob("*.py")]
    return sorted(found)


def modules_of_tests() -> list[Path]:
    """Return the modules whose names are checked."""
    return sorted((ROOT / "tests").rglob("*.py"))


def _exceptions(name: str, exceptions: dict[str, tuple[str, ...]] = EXCEPTIONS) -> list[str]:
    """Return what may stand in a file, the longest first."""
    found = [text for part, texts in exceptions.items() if not part or name.startswith(part) for text in texts]
    return sorted(found, key=len, reverse=True)


def found(source: str, exceptions: list[str], *, names_only: bool = False) -> Iterator[str]:
    """Yield the left-out words of a module, each with its line."""
    allowed = re.compile("|".join(rf"(?<![a-z]){re.escape(each)}(?![a-z])" for each in exceptions), re.IGNORECASE)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", token.string).replace("_", " ")
        elif token.type in _TEXTS and not names_only:
            text = token.string
        else:
            continue
        if exceptions:
            text = allowed.sub(lambda match: "·" * len(match[0]), text)
        for word in WORD.finditer(text):
            line = token.start[0] + text.count("\n", 0, word.start())
            yield f"line {line}: {word[0]!r} in {token.string.splitlines()[0][:60]!r}"


_TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_uses_the_field_s_words(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert list(found(path.read_text(), _exceptions(name))) == []


@pytest.mark.parametrize("path", modules_of_tests(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_of_tests_use_the_field_s_words(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    exceptions = _exceptions(name, EXCEPTIONS_OF_TESTS)
    assert list(found(path.read_text(), exceptions, names_only=True)) == []
    assert WORD.findall(re.sub(r"[_./]", " ", name)) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def refuse_it(): ...", ["refuse"]),
        ("class WakeUp: ...", ["Wake"]),
        ("# nobody reads it\n", ["nobody"]),
        ('raise ValueError(f"refused {text}")', ["refused"]),
        ('"""connection refused"""', []),
        ("headroom = default", []),
    ],
)
def test_left_out_words_are_found_in_names_comments_and_texts(source: str, words: list[str]) -> None:
    assert [text.split("'")[1] for text in found(source, _exceptions("examples/any.py"))] == words


def test_every_left_out_word_has_another_in_its_place() -> None:
    assert all(LEFT_OUT.values())
