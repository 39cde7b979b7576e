"""The how-to guides of attestation, run as their readers run them; cosign is the real one."""

from __future__ import annotations

import json
import shutil

import pytest
from registries import build, find, running
from registries.bundles import SigningAuthority, provenance
from scenarios.attestation.pages import DOCS, follow

from operators.attestation import GrafeasServer

COSIGN = DOCS / "how-to" / "verify-cosign-signatures.md"
GITHUB = DOCS / "how-to" / "verify-github-attestations.md"
EXAMPLE = "sha256:aba48d60ba4410ec921f9d2e8169236c57660d121f9430dc9758d754eec8f887"

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("curl", "kubectl")), reason="needs curl and kubectl"
)


async def test_the_guide_to_cosign_shows_what_cosign_and_the_cluster_print(admission, shell, cleanup, tmp_path):
    del admission
    if find("cosign") is None or build("go-containerregistry") is None:
        pytest.skip("cosign is built by PYTHONPATH=tests python -m registries, which needs Go")
    async with cleanup((GrafeasServer, "cosign")), running("go-containerregistry", tmp_path) as registry:
        digest = await registry.push_image("team/app", "v1")
        await follow(COSIGN, shell, {"registry.example": registry.host, EXAMPLE: digest})


async def test_the_guide_to_attestations_of_github_shows_what_is_printed(admission, shell, cleanup, tmp_path):
    del admission
    github = SigningAuthority()
    bundle = github.bundle(provenance("ghcr.io/team/app", EXAMPLE))
    (tmp_path / "attestation.jsonl").write_text(f"{json.dumps(bundle)}\n")
    (tmp_path / "trusted_root.jsonl").write_text(f"{github.trusted_root()}\n")
    async with cleanup((GrafeasServer, "github")):
        await follow(GITHUB, shell)
