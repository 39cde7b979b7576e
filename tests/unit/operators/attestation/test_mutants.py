"""A share of the mutants of reviews, signatures and payloads; `make soak` runs the rest."""

from __future__ import annotations

import json

from soak.attestation_mutants import expected_to_be_denied, review, review_mutant, run

SHARE = 1200


async def test_no_mutant_is_admitted_or_verified_for_what_was_not_attested():
    outcome = await run(count=SHARE)
    assert outcome.wrong == []
    assert sum(outcome.seen.values()) == SHARE
    assert outcome.seen["review: admitted"] > 0, "some change nothing that matters"
    assert outcome.seen["review: Forbidden"] > 50


def test_the_oracle_distinguishes_what_was_attested_from_what_was_not():
    good, bad = "gcr.io/app@sha256:" + "ab" * 32, "gcr.io/app@sha256:" + "cd" * 32
    for kind in ("Pod", "Deployment"):
        assert not expected_to_be_denied(json.dumps(review(good, good, good, kind=kind)).encode())
        for images in ((bad, good, good), (good, bad, good), (good, good, bad)):
            assert expected_to_be_denied(json.dumps(review(*images, kind=kind)).encode())
    assert review_mutant(7) == review_mutant(7)
