"""The walk-through of the documentation, word for word, with real gpg, curl and kubectl."""

from __future__ import annotations

import shutil

import pytest
from scenarios.attestation.pages import DOCS, blocks, follow, steps

from operators.attestation import GrafeasServer

PAGE = DOCS / "tutorial" / "attestation-walk-through.md"

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("gpg", "curl", "kubectl")), reason="needs gpg, curl and kubectl"
)


def test_every_block_is_run_or_shown():
    assert {language for language, _ in blocks(PAGE)} == {"console", "bash", "text"}
    assert len(steps(PAGE)) == 10


async def test_the_walk_through_says_what_the_page_shows(admission, shell, cleanup):
    del admission
    async with cleanup((GrafeasServer, "walk-through")):
        output = await follow(PAGE, shell)
    assert '"code"' not in output, output
