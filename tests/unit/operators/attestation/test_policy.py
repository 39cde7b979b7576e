"""The decision, as a table: which policies decide an image, and what counts as attested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.attestation.policy import Authority, Evidence, Policy, Question, _distinct, decide, plan, questions
from operators.attestation.signatures import Statement, Verified
from operators.attestation.workloads import ImageUse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
D = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
QA, BUILD, SCAN = (("ClusterAttestationAuthority", "", name) for name in ("qa", "build", "scan"))


def authority(key=QA, **more):
    return Authority(key=key, note=f"projects/p/notes/{key[2]}", server="default", keys=(), **more)


def policy(name="p", *, images=("**",), needs=(QA,), count=None, scope="cluster", **more):
    count = len(needs) if count is None else count
    return Policy(shown=name, scope=scope, images=images, authorities=needs, count=count, **more)


def statement(digest=D, name=None, reference=None, key="k1", age=timedelta(0), signed=True):
    at = NOW - age if signed else None
    return Verified(Statement(digest, name, "digest", reference), key, f"print-{key}", at)


def use(image=f"gcr.io/app@{D}", field="spec.containers[0].image"):
    return ImageUse(image, field)


THE_AUTHORITY, THE_USE = authority(), use()


def verdict(*policies, facts=None, authorities=(THE_AUTHORITY,), uses=(THE_USE,)):
    known = {one.key: one for one in authorities}
    judgements = plan(uses, policies)
    found = {
        question: Evidence(tuple((facts or {}).get(question.authority, ())))
        for question in questions(judgements, known)
    }
    return decide(judgements, known, found, NOW)


def messages(verdict):
    return [str(problem) for problem in verdict.denied]


def test_an_attested_image_is_admitted_and_another_is_not():
    assert verdict(policy(), facts={QA: [statement()]}).denied == ()
    (message,) = messages(verdict(policy("ClusterImagePolicy p")))
    assert message == (
        f"No matched signatures for container image: gcr.io/app@{D} (spec.containers[0].image): ClusterImagePolicy p: "
        "ClusterAttestationAuthority qa has not attested it: projects/p/notes/qa has no occurrence for it; sign "
        f"{D} with a key of ClusterAttestationAuthority qa and run: operatorkit attest upload --note projects/p/notes/qa "
        f"--image gcr.io/app@{D} --signature signature.asc"
    )


@pytest.mark.parametrize(
    ("image", "part"),
    [
        ("gcr.io/app:v1", "it has no digest"),
        ("gcr.io/app", "it has no digest"),
        ("", "the image is empty"),
        ("gcr.io/App", "upper-case"),
        ("app@sha256:abc", "is not 64 hexadecimal digits"),
    ],
)
def test_an_image_that_cannot_have_been_attested_is_denied_whatever_was_signed(image, part):
    (message,) = messages(verdict(policy(), facts={QA: [statement()]}, uses=[use(image)]))
    assert part in message


def test_one_unsigned_image_among_signed_ones_is_denied_and_named():
    uses = [use(), use(f"gcr.io/app@{OTHER}", "spec.initContainers[0].image")]
    (message,) = messages(verdict(policy(), facts={QA: [statement()]}, uses=uses))
    assert "spec.initContainers[0].image" in message


COUNTS = [
    ("the digest of another image", {}, statement(OTHER), "it names"),
    ("a digest alone, where the repository counts", {"identity": "Repository"}, statement(), "a digest alone"),
    ("another repository", {"identity": "Repository"}, statement(name="gcr.io/evil"), "not as gcr.io/app"),
    ("another tag", {"identity": "Exact"}, statement(name="gcr.io/app", reference=f"gcr.io/app:v1@{D}"), "v1"),
    ("too old", {"max_age": timedelta(days=1)}, statement(age=timedelta(days=2)), "the maximum age is 1 day"),
    ("of no time", {"max_age": timedelta(days=1)}, statement(signed=False), "an unknown time"),
]


@pytest.mark.parametrize(("terms", "found", "part"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_a_statement_that_is_not_what_the_authority_asks_for_does_not_count(terms, found, part):
    (message,) = messages(verdict(policy(), facts={QA: [found]}, authorities=[authority(**terms)]))
    assert part in message


def test_a_statement_that_is_exactly_what_the_authority_asks_for_counts():
    exact = statement(name="gcr.io/app", reference=f"gcr.io/app@{D}", age=timedelta(hours=1))
    terms = {"identity": "Exact", "max_age": timedelta(days=1)}
    assert verdict(policy(), facts={QA: [statement(OTHER), exact]}, authorities=[authority(**terms)]).denied == ()


def test_the_most_specific_pattern_of_the_cluster_decides_and_namespaces_only_add():
    loose = policy("loose", images=("**",), needs=(QA,))
    strict = policy("strict", images=("gcr.io/*",), needs=(BUILD,))
    own = policy("own", images=("gcr.io/app",), needs=(SCAN,), scope="namespace")
    known = [authority(QA), authority(BUILD), authority(SCAN)]
    found = verdict(loose, strict, own, authorities=known)
    assert [problem.policy.shown for problem in found.denied] == ["strict", "own"]
    elsewhere = verdict(loose, strict, own, authorities=known, uses=[use(f"quay.io/app@{D}")])
    assert [problem.policy.shown for problem in elsewhere.denied] == ["loose"]


def test_an_exempt_image_needs_nothing_of_that_policy():
    assert verdict(policy(exempt=("gcr.io/app",))).denied == ()
    assert len(verdict(policy(exempt=("gcr.io/app",)), policy("other")).denied) == 1


@pytest.mark.parametrize("broken", [{"images": ("gcr.io/a:tag",)}, {"exempt": ("A",)}])
def test_a_policy_that_cannot_be_understood_denies(broken):
    (message,) = messages(verdict(policy(**broken), facts={QA: [statement()]}))
    assert "the policy cannot be applied" in message


def test_an_authority_that_does_not_exist_has_attested_nothing():
    (message,) = messages(verdict(policy(needs=(("AttestationAuthority", "ns", "x"),))))
    assert "AttestationAuthority ns/x does not exist" in message


def test_without_a_server_the_policy_says_what_happens():
    known = {QA: authority()}
    for allow in (False, True):
        judgements = plan([use()], [policy(allow_on_backend_error=allow)])
        facts = {Question(QA, D): Evidence(unavailable="it is down")}
        found = decide(judgements, known, facts, NOW)
        assert bool(found.denied) is not allow
        assert bool(decide(judgements, known, {}, NOW).denied) is not allow
    # what is there and does not count is no error of the server
    judgements = plan([use()], [policy(allow_on_backend_error=True)])
    assert decide(judgements, known, {Question(QA, D): Evidence()}, NOW).denied


def test_modes_decide_what_a_problem_leads_to():
    found = verdict(policy("w", mode="Warn"), policy("a", mode="Audit"), policy("e"))
    assert [[p.policy.shown for p in part] for part in (found.denied, found.warned, found.audited)] == [
        ["e"],
        ["w"],
        ["a"],
    ]


THRESHOLDS = [
    ({}, 2, False),
    ({QA: ["k1"]}, 2, False),
    ({QA: ["k1"], BUILD: ["k2"]}, 2, True),
    ({QA: ["k1"], BUILD: ["k1"]}, 2, False),
    ({QA: ["k1"], BUILD: ["k1"], SCAN: ["k1"]}, 2, False),
    ({QA: ["k1", "k2"], BUILD: ["k1"]}, 2, True),
    ({QA: ["k1", "k2"]}, 2, False),
    ({QA: ["k1", "k2"], BUILD: ["k2", "k3"], SCAN: ["k1"]}, 3, True),
    ({QA: ["k1", "k2"], BUILD: ["k2"], SCAN: ["k1"]}, 3, False),
    ({QA: ["k1"]}, 1, True),
]


@pytest.mark.parametrize(("keys", "count", "admitted"), THRESHOLDS)
def test_a_threshold_counts_authorities_each_with_a_key_of_its_own(keys, count, admitted):
    known = [authority(QA), authority(BUILD), authority(SCAN)]
    facts = {key: [statement(key=name) for name in names] for key, names in keys.items()}
    found = verdict(policy(needs=(QA, BUILD, SCAN), count=count), facts=facts, authorities=known)
    assert (found.denied == ()) is admitted


@given(st.lists(st.frozensets(st.integers(0, 4).map(str), min_size=1, max_size=3), max_size=4))
def test_the_number_of_authorities_with_keys_of_their_own_is_the_largest_there_is(prints):
    def best(index, used):
        if index == len(prints):
            return 0
        take = max((1 + best(index + 1, used | {one}) for one in prints[index] - used), default=0)
        return max(take, best(index + 1, used))

    assert _distinct(prints) == best(0, frozenset())
