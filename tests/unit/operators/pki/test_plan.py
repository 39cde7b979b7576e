"""What is done next about a Certificate, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.conditions import set_condition
from operatorkit.resource import ObjectMeta
from operators.pki import reasons
from operators.pki.api import (
    AllowedNames,
    Certificate,
    CertificatePolicy,
    CertificateSpec,
    CertificateStatus,
    NameConstraints,
    NameConstraintSubtrees,
    Pki,
)
from operators.pki.issue import Material, issue
from operators.pki.keys import generate_key, public_bytes
from operators.pki.objects import secret_data, secret_of
from operators.pki.plan import (
    Cause,
    Issue,
    Keep,
    Observed,
    Pending,
    Reject,
    StoredSecret,
    WaitFor,
    grace_period_ends,
    plan,
    renewal_time,
    retry_delay,
)
from operators.pki.request import Request, read_request, renewal_floor
from operators.pki.signer import CaSigner, SelfSigner, read_ca

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "Issuer/ca"


def certificate(**spec: Any) -> Certificate:
    spec = {"secretName": "web-tls", "issuerRef": {"name": "ca"}, "dnsNames": ["app1"], "duration": "24h", **spec}
    return Certificate(
        metadata=ObjectMeta(name="web", namespace="team", uid="uid-1", generation=1),
        spec=CertificateSpec.model_validate(spec),
        status=CertificateStatus(),
    )


def requested(wanted: Certificate) -> Request:
    request, spec_errors = read_request(wanted.spec)
    assert request is not None, spec_errors
    return request


def made(wanted: Certificate, signer: Any, now: datetime = NOW) -> Material:
    request = requested(wanted)
    key = generate_key(request.algorithm, request.size)
    return issue(request, signer, key, serial=7, now=now).material


@pytest.fixture(scope="module")
def ca() -> CaSigner:
    root = certificate(isCA=True, commonName="root", dnsNames=[], duration="87600h")
    return read_ca("team/ca", made(root, SelfSigner()).data(), NOW)


def policy(*names: str) -> CertificatePolicy:
    return CertificatePolicy.read(
        {
            "apiVersion": CertificatePolicy.api_version,
            "kind": "CertificatePolicy",
            "metadata": {"name": "team"},
            "spec": {"allowedNames": list(names)},
        }
    )


def observed(wanted: Certificate, signer: Any, **changes: Any) -> Observed:
    request, spec_errors = read_request(wanted.spec)
    facts = {
        "certificate": wanted,
        "request": request,
        "spec_errors": spec_errors,
        "conflict": None,
        "signer": signer,
        "issuer": ISSUER,
        "policies": [policy("app1", "app2")],
        "secret": None,
        "repair_allowed_at": NOW,
        "now": NOW,
    }
    return Observed(**{**facts, **changes})


def stored(wanted: Certificate, material: Material, *, revision: int = 1) -> StoredSecret:
    digest = requested(wanted).digest(ISSUER)
    secret = secret_of(wanted, material, request=digest, revision=revision)
    assert secret.metadata is not None
    return StoredSecret(secret_data(secret), secret.metadata.annotations or {})


def reported(wanted: Certificate, material: Material) -> Certificate:
    """Fill in the status as the operator does."""
    status = wanted.status
    status.revision, status.fingerprint = 1, material.fingerprint
    status.not_after = material.certificate.not_valid_after_utc
    set_condition(status.conditions, "Ready", True, reasons.UP_TO_DATE, now=NOW, observed_generation=1)
    return wanted


def test_a_first_request_is_issued(ca):
    step = plan(observed(certificate(), ca))
    assert isinstance(step, Issue)
    assert (step.cause, step.revision, step.key) == (Cause.NEW, 1, None)


def test_a_faulty_spec_is_rejected_before_all_else(ca):
    step = plan(
        observed(certificate(dnsNames=["a..b"]), ca, conflict=Reject(reasons.SECRET_CONFLICT, "conflict"), policies=[])
    )
    assert isinstance(step, Reject)
    assert step.reason == reasons.INVALID_SPEC


def test_a_conflict_is_rejected_even_where_the_secret_looks_right(ca):
    wanted = certificate()
    step = plan(
        observed(
            wanted,
            ca,
            conflict=Reject(reasons.SECRET_CONFLICT, "somebody else's"),
            secret=stored(wanted, made(wanted, ca)),
        )
    )
    assert step == Reject(reasons.SECRET_CONFLICT, "somebody else's")


def test_what_is_right_is_kept_and_no_policy_is_asked_again(ca):
    wanted = certificate()
    material = made(wanted, ca)
    step = plan(observed(reported(wanted, material), ca, secret=stored(wanted, material), policies=[]))
    assert isinstance(step, Keep)
    assert step.revision == 1
    assert step.renewal == renewal_time(wanted, requested(wanted), material)


def test_a_certificate_that_is_due_is_renewed_if_policy_still_allows(ca):
    wanted = certificate()
    material = made(wanted, ca)
    later = renewal_time(wanted, requested(wanted), material)
    seen = observed(reported(wanted, material), ca, secret=stored(wanted, material), now=later)
    step = plan(seen)
    assert isinstance(step, Issue)
    assert (step.cause, step.revision) == (Cause.RENEWAL, 2)
    assert isinstance(plan(replace(seen, now=later - timedelta(seconds=1))), Keep)
    denied = plan(replace(seen, policies=[policy("other")]))
    assert isinstance(denied, Reject)
    assert denied.reason == reasons.DENIED_BY_POLICY


def test_a_certificate_that_ends_with_its_ca_is_not_renewed_in_vain():
    root = certificate(isCA=True, commonName="root", dnsNames=[], duration="240h")
    short = read_ca("team/ca", made(root, SelfSigner()).data(), NOW)
    wanted = certificate(duration="2160h")
    material = made(wanted, short)
    step = plan(observed(reported(wanted, material), short, secret=stored(wanted, material)))
    assert isinstance(step, Keep)
    assert step.renewal is None


def test_an_expired_certificate_is_renewed_and_a_broken_one_repaired(ca):
    wanted = certificate()
    material = made(wanted, ca)
    seen = observed(reported(wanted, material), ca, secret=stored(wanted, material))
    late = plan(replace(seen, now=NOW + timedelta(days=2)))
    assert isinstance(late, Issue)
    assert late.cause is Cause.RENEWAL
    assert seen.secret is not None
    broken = replace(seen, secret=replace(seen.secret, data={**seen.secret.data, "tls.key": b"nonsense"}))
    gone = replace(seen, secret=None)
    for tampered in (broken, gone):
        step = plan(tampered)
        assert isinstance(step, Issue)
        assert step.cause is Cause.REPAIR
        waiting = plan(replace(tampered, repair_allowed_at=NOW + timedelta(minutes=1)))
        assert waiting == WaitFor(NOW + timedelta(minutes=1))


def test_a_changed_spec_is_issued_at_once(ca):
    wanted = certificate()
    material = made(wanted, ca)
    secret = stored(wanted, material)
    changed = reported(certificate(dnsNames=["app2"]), material)
    changed.metadata.generation = 2
    step = plan(observed(changed, ca, secret=secret, repair_allowed_at=NOW + timedelta(hours=1)))
    assert isinstance(step, Issue)
    assert step.cause is Cause.CHANGED


def test_a_new_ca_key_means_a_new_certificate(ca):
    wanted = certificate()
    root = certificate(isCA=True, commonName="root", dnsNames=[], duration="87600h")
    other = read_ca("team/ca", made(root, SelfSigner()).data(), NOW)
    material = made(wanted, other)
    step = plan(observed(reported(wanted, material), ca, secret=stored(wanted, material)))
    assert isinstance(step, Issue)


def test_an_issuer_that_cannot_sign_does_not_spoil_what_it_signed_before(ca):
    wanted = certificate()
    material = made(wanted, ca)
    rejection = Reject(reasons.ISSUER_NOT_READY, "its Secret is gone")
    seen = observed(reported(wanted, material), rejection, secret=stored(wanted, material))
    assert isinstance(plan(seen), Keep)
    assert plan(replace(seen, now=NOW + timedelta(hours=20))) == rejection
    assert plan(replace(seen, secret=None)) == rejection
    assert plan(observed(certificate(), rejection)) == rejection


@pytest.mark.parametrize(
    ("status", "reason", "generation", "seconds"),
    [
        ("Unknown", reasons.ISSUER_NOT_FOUND, 1, 1),
        ("Unknown", reasons.ISSUER_NOT_READY, 1, 1),
        ("False", reasons.ISSUER_NOT_FOUND, 1, 0),
        ("False", reasons.ISSUER_NOT_FOUND, 0, 2),
        ("False", reasons.DENIED_BY_POLICY, 1, 2),
        ("True", reasons.UP_TO_DATE, 1, 2),
    ],
)
def test_what_is_missing_is_awaited_once(status, reason, generation, seconds):
    wanted, missing = certificate(), Reject(reasons.ISSUER_NOT_FOUND, "create it", absent=True)
    since = NOW - timedelta(seconds=1)
    set_condition(wanted.status.conditions, "Ready", status, reason, now=since, observed_generation=generation)
    moment = NOW + timedelta(seconds=seconds)
    assert grace_period_ends(wanted.status.conditions, 1, reasons.ISSUER_NOT_FOUND, NOW) == moment
    expected = Pending(missing.reason, missing.message, moment) if seconds else missing
    assert plan(observed(wanted, missing)) == expected


def test_a_clock_that_was_set_back_does_not_lengthen_the_wait(ca):
    wanted, missing = certificate(), Reject(reasons.ISSUER_NOT_FOUND, "create it", absent=True)
    later = NOW + timedelta(hours=1)
    set_condition(wanted.status.conditions, "Ready", None, missing.reason, now=later, observed_generation=1)
    assert plan(observed(wanted, missing)) == missing


def test_without_any_policy_a_request_is_pending_and_with_one_denied_at_once(ca):
    assert isinstance(plan(observed(certificate(), ca, policies=[])), Pending)
    assert isinstance(plan(observed(certificate(), ca, policies=[policy("other")])), Reject)


def test_after_a_failure_the_next_attempt_waits_unless_the_spec_changes(ca):
    wanted = certificate()
    wanted.status.failed_generation, wanted.status.next_attempt_time = 1, NOW + timedelta(seconds=30)
    assert plan(observed(wanted, ca)) == WaitFor(NOW + timedelta(seconds=30))
    wanted.metadata.generation = 2
    assert isinstance(plan(observed(wanted, ca)), Issue)


def test_a_key_that_never_rotates_is_used_again_while_it_fits(ca):
    wanted = certificate(privateKey={"rotationPolicy": "Never"})
    material = made(wanted, ca)
    seen = observed(reported(wanted, material), ca, secret=stored(wanted, material), now=NOW + timedelta(hours=20))
    step = plan(seen)
    assert isinstance(step, Issue)
    assert step.key is not None
    assert public_bytes(step.key.public_key()) == public_bytes(material.key.public_key())
    larger = certificate(privateKey={"rotationPolicy": "Never", "size": 384})
    other = plan(observed(reported(larger, material), ca, secret=seen.secret))
    assert isinstance(other, Reject)
    assert other.reason == reasons.KEY_POLICY_MISMATCH
    assert "Set spec.privateKey.rotationPolicy to Always" in other.message
    assert "ECDSA 256, which Never keeps, but spec.privateKey asks for ECDSA 384" in other.message
    nonsense = replace(seen.secret, data={**seen.secret.data, "tls.key": b"nonsense"})
    repaired = plan(observed(reported(larger, material), ca, secret=nonsense))
    assert isinstance(repaired, Issue)
    assert repaired.key is None


@given(
    st.integers(min_value=1, max_value=9000),
    st.none() | st.integers(min_value=1, max_value=9000),
    st.text(min_size=1),
)
def test_renewal_comes_after_the_begin_and_before_the_end(hours, left, uid):
    before = {} if left is None or left > hours * 0.9 else {"renewBefore": f"{left}h"}
    wanted = certificate(duration=f"{hours}h", **before)
    wanted.metadata.uid = uid
    material = Material(_Span(NOW - timedelta(minutes=5), NOW + timedelta(hours=hours)), (), None, None)  # type: ignore[arg-type]
    moment = renewal_time(wanted, requested(wanted), material)
    floor = renewal_floor(timedelta(hours=hours)) - timedelta(seconds=1)
    assert NOW + floor <= moment < NOW + timedelta(hours=hours)
    assert moment == renewal_time(wanted, requested(wanted), material)


@given(st.text(), st.integers(min_value=1, max_value=10_000))
def test_retries_wait_from_five_seconds_to_five_minutes(uid, attempt):
    delay = retry_delay(uid, attempt).total_seconds()
    assert min(5 * 2 ** min(attempt - 1, 20), 300) <= delay <= 330


class _Span:
    """A certificate of which only the validity matters."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.not_valid_before_utc, self.not_valid_after_utc = begin, end
        self.serial_number = 7


def test_what_is_in_the_way_and_about_to_go_is_awaited_for_two_seconds_and_then_reported(ca):
    conflict = Reject(reasons.SECRET_CONFLICT, "a deleted Certificate's", absent=True)
    wanted = certificate()
    assert plan(observed(wanted, ca, conflict=conflict)) == Pending(
        reasons.SECRET_CONFLICT, "a deleted Certificate's", NOW.replace(microsecond=0) + timedelta(seconds=2)
    )
    assert wanted.status is not None
    set_condition(
        wanted.status.conditions,
        "Ready",
        None,
        reasons.SECRET_CONFLICT,
        "",
        observed_generation=1,
        now=NOW - timedelta(seconds=2),
    )
    assert plan(observed(wanted, ca, conflict=conflict)) == conflict


@pytest.mark.parametrize("before", ["54m", "50m", "30m", "5m"])
def test_two_certificates_of_one_key_lie_a_floor_apart(before):
    wanted = certificate(duration="1h", renewBefore=before)
    for uid in range(200):
        wanted.metadata.uid = f"uid-{uid}"
        material = Material(_Span(NOW - timedelta(minutes=5), NOW + timedelta(hours=1)), (), None, None)  # type: ignore[arg-type]
        assert renewal_time(wanted, requested(wanted), material) >= NOW + timedelta(minutes=6)


def test_a_ca_that_no_chain_allows_is_rejected_for_good(ca):
    below = certificate(isCA=True, commonName="below", dnsNames=[])
    issuer = read_ca("team/ca", made(below, ca).data(), NOW)
    lower = certificate(isCA=True, commonName="lower", dnsNames=[])
    allowed = policy("x")
    allowed.spec.allow = AllowedNames(common_names=["lower"])
    allowed.spec.allow_ca = True
    allowed.spec.name_constraints = NameConstraints(permitted=NameConstraintSubtrees(dns_domains=["a"]))
    step = plan(observed(lower, issuer, policies=[allowed]))
    assert isinstance(step, Reject)
    assert (step.reason, step.until) == (reasons.PROFILE_VIOLATION, None)
    assert step.message.startswith("Use another issuer in spec.issuerRef, or unset spec.isCA: the pathLen")
    granted = plan(observed(lower, ca, policies=[allowed]))
    assert isinstance(granted, Issue)
    assert granted.request.name_constraints == allowed.spec.name_constraints


def test_the_names_of_a_pki_are_denied_by_its_own_field(ca):
    wanted = certificate(dnsNames=["shop.team.svc"])
    owner = {"apiVersion": Pki.api_version, "kind": "Pki", "name": "shop", "uid": "u", "controller": True}
    wanted.metadata = ObjectMeta.model_validate(
        {"name": "shop", "namespace": "team", "uid": "uid-1", "generation": 1, "ownerReferences": [owner]}
    )
    step = plan(observed(wanted, ca, policies=[policy("other")]))
    assert isinstance(step, Reject)
    assert "spec.serviceName is 'shop'" in step.message
    assert "dnsNames" not in step.message
