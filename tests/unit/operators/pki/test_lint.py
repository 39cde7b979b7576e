"""What linters and mutants find: a sample of what `make soak` does."""

from __future__ import annotations

import pytest
from cryptography import x509
from soak.certificate_mutants import mutate_many
from soak.certificates import ALLOWED, Linters, lint_many

import operators.pki.issue


@pytest.mark.parametrize("seed", [1, 2])
def test_no_linter_finds_anything_in_a_sample_that_is_not_argued_away(seed):
    linters = Linters.find(build=False)
    done, wrong = lint_many(linters, count=40, first=seed)
    assert wrong == []
    assert done["certificates"] == 40
    assert min(done[kind] for kind in ("leaves", "cas", "self-signed leaves")) > 0


def test_a_finding_is_reported(monkeypatch):
    """By the linters themselves: of a certificate that is as it was before the rule was mended."""
    subject = operators.pki.issue._subject
    nameless = x509.Name([])
    monkeypatch.setattr(
        operators.pki.issue, "_subject", lambda asked, signer: subject(asked, signer) if asked.is_ca else nameless
    )
    _, wrong = lint_many(Linters.find(build=False), count=30, first=1)
    assert any("pkilint pkix.name_empty" in line for line in wrong)


def test_every_finding_that_stands_has_its_argument():
    assert all(len(argument) > 20 for argument, _ in ALLOWED.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_every_mutant_of_a_certificate_or_key_ends_in_a_named_error(seed):
    seen, escaped = mutate_many(count=1200, first=seed)
    assert escaped == []
    assert sum(seen.values()) == 1200
    assert seen["ECDSA leaf: VerificationError"] > 0
    assert seen["root: SignerError"] > 0
