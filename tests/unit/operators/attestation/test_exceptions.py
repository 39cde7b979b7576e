"""What an exception excuses, and what none does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operators.attestation import reasons
from operators.attestation.exceptions import PolicyException, excuse
from operators.attestation.policy import Policy, Problem, Revocation, Revocations, revoked_images
from operators.attestation.workloads import ImageUse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
D, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
POLICY = Policy(shown="p", scope="cluster", images=("**",), authorities=(), count=1)


def problem(image=f"gcr.io/app@{D}", reason=reasons.IMAGE_NOT_ATTESTED):
    return Problem(ImageUse(image, "spec"), POLICY, "it lacks something", reason=reason)


def exception(name="fire", *, digests=(D,), expires=timedelta(hours=1), uses_left=1):
    return PolicyException(
        name=name, digests=frozenset(digests), reason="r", expires=NOW + expires, uses_left=uses_left
    )


def test_a_problem_with_a_covered_digest_is_excused_under_every_name():
    found = excuse([problem(), problem(f"mirror.example/app:v1@{D}"), problem(f"x@{OTHER}")], [exception()], NOW)
    assert [one.use.image for one in found.left] == [f"x@{OTHER}"]
    assert found.images == {"fire": (f"gcr.io/app@{D}", f"mirror.example/app:v1@{D}")}


@pytest.mark.parametrize(
    ("given", "exceptions"),
    [
        (problem(), []),
        (problem(), [exception(digests=[OTHER])]),
        (problem(), [exception(expires=timedelta(0))]),
        (problem(), [exception(expires=-timedelta(days=1))]),
        (problem(), [exception(uses_left=0)]),
        (problem(), [exception(uses_left=-1)]),
        (problem("gcr.io/app:v1"), [exception()]),
        (problem(""), [exception()]),
        (problem("gcr.io/app@sha256:aaa"), [exception()]),
        (problem(reason=reasons.ATTESTATION_REVOKED), [exception()]),
    ],
)
def test_a_problem_is_left(given, exceptions):
    found = excuse([given], exceptions, NOW)
    assert found.left == (given,)
    assert found.images == {}


def test_the_first_of_several_exceptions_by_name_is_used():
    found = excuse([problem()], [exception("b"), exception("a"), exception("0", uses_left=0)], NOW)
    assert list(found.images) == ["a"]


def test_a_revoked_digest_is_a_problem_of_each_image_that_has_it():
    uses = [ImageUse(f"gcr.io/app@{D}", "a"), ImageUse(f"x:v1@{D}", "b"), ImageUse("x:v1", "c"), ImageUse("", "d")]
    found = revoked_images(uses, Revocations(digests={D: Revocation("r", "bad")}))
    assert [(one.use.field, one.reason) for one in found] == [
        ("a", reasons.ATTESTATION_REVOKED),
        ("b", reasons.ATTESTATION_REVOKED),
    ]
    assert str(found[0]) == (
        f"No matched signatures for container image: gcr.io/app@{D} (a): ImageRevocation r: its digest is revoked: bad; "
        "deploy another image; only a user who may delete the ImageRevocation r can end this: kubectl delete "
        "imagerevocations.attest.operatorkit.dev r"
    )
