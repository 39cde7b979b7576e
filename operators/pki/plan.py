"""The plan: what to do next about one Certificate.

What belongs here: the decision, as a value, from what was observed. What does not: observing and
acting (`operators.pki.reconcile`). Pure: time is part of what was observed.

    spec faulty ─────────────────────────────> Reject InvalidSpec
    Secret of another owner ─────────────────> Reject SecretConflict
    certificate there and right, not due ────> Keep
    issuer missing or unable ────────────────> Keep what was reported good, or Reject
    not allowed ─────────────────────────────> Reject DeniedByPolicy
    failed, or repaired, a moment ago ───────> WaitFor
    otherwise ───────────────────────────────> Issue

A Reject that rests on the absence of something is Pending for the first two seconds: what is
applied together does not arrive together, and a user is not to be warned of what is on its way. So
is one that rests on what is about to go: the Secret of a Certificate that was deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from operatorkit.conditions import Condition, get_condition, is_true
from operators.pki import reasons
from operators.pki.api import Certificate, CertificatePolicy, Pki
from operators.pki.issue import BACKDATED, Material, VerificationError, read_material, verify
from operators.pki.keys import PrivateKey, kind_of_key, read_key
from operators.pki.objects import ANNOTATION_REQUEST, ANNOTATION_REVISION
from operators.pki.policy import Application, Denial, decide
from operators.pki.request import Request, SpecError, describe, renewal_floor
from operators.pki.rules import DEFAULT_CLUSTER_DOMAIN, IssuerFacts
from operators.pki.signer import CaSigner, Signer

__all__ = [
    "GRACE_PERIOD",
    "Cause",
    "Issue",
    "Keep",
    "Observed",
    "Pending",
    "Reject",
    "Step",
    "StoredSecret",
    "WaitFor",
    "grace_period_ends",
    "plan",
    "renewal_time",
    "retry_delay",
]

RENEWED_WITH_LEFT = 1 / 3
RENEWAL_JITTER = 0.1
GRACE_PERIOD = timedelta(seconds=2)
RETRY_BASE = timedelta(seconds=5)
RETRY_LIMIT = timedelta(minutes=5)


class Cause(StrEnum):
    """Why a certificate is issued."""

    NEW = "there was none"
    CHANGED = "the request changed"
    RENEWAL = "a renewal was due"
    REPAIR = "the Secret was changed"


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The Secret as it is: its decoded data and its annotations."""

    data: dict[str, bytes]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that the plan depends on. `signer` is a Reject where the issuer cannot sign."""

    certificate: Certificate
    request: Request | None
    spec_errors: Sequence[SpecError]
    conflict: Reject | None
    signer: Signer | Reject
    issuer: str
    policies: Sequence[CertificatePolicy]
    secret: StoredSecret | None
    repair_allowed_at: datetime
    now: datetime
    issuer_labels: Mapping[str, str] = field(default_factory=dict)
    cluster_domain: str = DEFAULT_CLUSTER_DOMAIN


@dataclass(frozen=True, slots=True)
class Reject:
    """Say why not, and wait for a change, or for the time when it will be possible.

    `absent` says that something is missing which may be on its way, or in the way and about to go;
    `others` that the Secret is another Certificate's, and so are the Pods that use it.
    """

    reason: str
    message: str
    until: datetime | None = None
    absent: bool = False
    others: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """Something is missing that may be on its way: say so, but warn no one before `until`."""

    reason: str
    message: str
    until: datetime


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Try again at that time: an attempt failed, or repairs come too fast."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Keep:
    """The certificate is right. `renewal` is None when renewing cannot help: it ends with its issuer."""

    request: Request
    material: Material
    digest: str
    revision: int
    renewal: datetime | None


@dataclass(frozen=True, slots=True)
class Issue:
    """Make a certificate, with the key that is there or (None) a new one."""

    request: Request
    signer: Signer
    digest: str
    revision: int
    cause: Cause
    key: PrivateKey | None


Step = Reject | Pending | WaitFor | Keep | Issue


def plan(seen: Observed) -> Step:
    """Decide what to do next."""
    step = _decide(seen)
    if isinstance(step, Reject) and step.absent:
        certificate = seen.certificate
        until = grace_period_ends(
            certificate.status.conditions, certificate.metadata.generation, step.reason, seen.now
        )
        return step if until <= seen.now else Pending(step.reason, step.message, until)
    return step


def grace_period_ends(
    conditions: Iterable[Condition], generation: int, reason: str, now: datetime
) -> datetime:
    """Return when to warn of something missing: two seconds after it was missed first, at once where it is old news.

    Times of conditions have whole seconds, so it is between one second and two.
    """
    ready = get_condition(conditions, "Ready")
    if ready is not None and ready.observed_generation == generation:
        if ready.status == "Unknown":
            since = ready.last_transition_time
            return (
                since + GRACE_PERIOD if since <= now else now
            )  # a clock that was set back does not lengthen the wait
        if ready.status == "False" and ready.reason == reason:
            return now
    return now.replace(microsecond=0) + GRACE_PERIOD


def _decide(seen: Observed) -> Reject | WaitFor | Keep | Issue:
    if seen.request is None or seen.spec_errors:
        return Reject(reasons.INVALID_SPEC, describe(seen.spec_errors))
    if seen.conflict is not None:
        return seen.conflict
    request = seen.request
    digest = request.digest(seen.issuer)
    if isinstance(seen.signer, Reject):
        return _without_signer(seen, request, digest, seen.signer)
    material, cause = _evaluate(seen, request, digest, seen.signer)
    if material is not None and cause is None:
        return _keep(
            seen, request, digest, material, _renewal(seen, request, material, seen.signer)
        )
    decision = decide(request, _application(seen), seen.policies)
    if isinstance(decision, Denial):
        return Reject(reasons.DENIED_BY_POLICY, decision.message, absent=decision.absent)
    assert cause is not None
    if (impossible := _impossible(seen, request, seen.signer)) is not None:
        return impossible
    moment = _not_before(seen, cause)
    if moment > seen.now:
        return WaitFor(moment)
    revision = (seen.certificate.status.revision or 0) + 1
    request = replace(request, name_constraints=decision.name_constraints)
    return Issue(request, seen.signer, digest, revision, cause, _reusable_key(seen, request))


def _application(seen: Observed) -> Application:
    """Return who asks whom. The names of a Pki's Certificate come from one field, by which denials call them."""
    metadata = seen.certificate.metadata
    owners = [owner for owner in metadata.owner_references or () if owner.controller]
    service = None
    if any((owner.kind, owner.api_version) == (Pki.kind, Pki.api_version) for owner in owners):
        names = seen.request.dns_names if seen.request is not None else ()
        service = names[-1].partition(".")[0] if names else None
    kind, _, name = seen.issuer.partition("/")
    return Application(
        namespace=metadata.namespace,
        issuer=IssuerFacts(kind, name, seen.issuer_labels),
        cluster_domain=seen.cluster_domain,
        from_service=service,
    )


def _impossible(seen: Observed, request: Request, signer: Signer) -> Reject | None:
    """Say why no attempt could succeed until the spec or the issuer changes."""
    if request.is_ca and isinstance(signer, CaSigner) and not signer.may_sign_cas:
        kind, _, name = seen.issuer.partition("/")
        return Reject(
            reasons.PROFILE_VIOLATION,
            f"Use another issuer in spec.issuerRef, or unset spec.isCA: the pathLen in the chain of {kind} {name} "
            f"allows no CA below it",
        )
    held = _held_key(seen)
    if held is None or request.rotate_key or kind_of_key(held) == (request.algorithm, request.size):
        return None
    found = kind_of_key(held)
    was = f"{found[0]} {found[1] or ''}".rstrip() if found is not None else "another kind"
    wanted = f"{request.algorithm} {request.size or ''}".rstrip()
    return Reject(
        reasons.KEY_POLICY_MISMATCH,
        f"Set spec.privateKey.rotationPolicy to Always, or delete Secret {seen.certificate.spec.secret_name}: the key "
        f"in it is {was}, which Never keeps, but spec.privateKey asks for {wanted}",
    )


def renewal_time(certificate: Certificate, request: Request, material: Material) -> datetime:
    """Return when to renew: with a third of the life left, or `renewBefore`, and up to a tenth of that earlier.

    The jitter comes from the object's uid and the serial number, so it is the same after a restart.
    """
    begin, end = (
        material.certificate.not_valid_before_utc + BACKDATED,
        material.certificate.not_valid_after_utc,
    )
    life = end - begin
    left = request.renew_before
    if left is None or left >= life:
        left = life * RENEWED_WITH_LEFT
    early = left * RENEWAL_JITTER * _fraction(f"{certificate.metadata.uid}/{material.serial}")
    least = min(renewal_floor(life), life * (1 - RENEWED_WITH_LEFT))
    return max(end - left - early, begin + (life - left) / 2, begin + least).replace(microsecond=0)


def retry_delay(uid: str, attempt: int) -> timedelta:
    """Return how long to wait after the n-th failure: 5 s doubling to 5 min, and up to a tenth more."""
    delay: timedelta = min(RETRY_BASE * 2.0 ** min(attempt - 1, 16), RETRY_LIMIT)
    return delay * (1 + RENEWAL_JITTER * _fraction(f"{uid}/{attempt}"))


def _evaluate(
    seen: Observed, request: Request, digest: str, signer: Signer
) -> tuple[Material | None, Cause | None]:
    """Return the material that the Secret holds, if it is right, and the cause to replace it, if there is one."""
    reported = seen.certificate.status.revision is not None
    if seen.secret is None:
        return None, Cause.REPAIR if reported else Cause.NEW
    made_for = seen.secret.annotations.get(ANNOTATION_REQUEST)
    if made_for is not None and made_for != digest:
        return None, _cause_of_other_request(seen)
    try:
        material = read_material(seen.secret.data)
        verify(material, request, signer, now=seen.now)
    except VerificationError:
        return None, _cause_of_bad(seen)
    renewal = _renewal(seen, request, material, signer)
    due = renewal is not None and renewal <= seen.now
    return material, Cause.RENEWAL if due else None


def _cause_of_other_request(seen: Observed) -> Cause:
    """Distinguish a changed spec from a changed annotation."""
    ready = get_condition(seen.certificate.status.conditions, "Ready")
    current = (
        ready is not None and ready.observed_generation == seen.certificate.metadata.generation
    )
    return (
        Cause.REPAIR if current and ready is not None and ready.status == "True" else Cause.CHANGED
    )


def _cause_of_bad(seen: Observed) -> Cause:
    """Distinguish an expired certificate from one that was tampered with."""
    end = seen.certificate.status.not_after
    return Cause.RENEWAL if end is not None and end <= seen.now else Cause.REPAIR


def _renewal(
    seen: Observed, request: Request, material: Material, signer: Signer
) -> datetime | None:
    if (
        isinstance(signer, CaSigner)
        and material.certificate.not_valid_after_utc >= signer.not_after
    ):
        return None
    return renewal_time(seen.certificate, request, material)


def _keep(
    seen: Observed, request: Request, digest: str, material: Material, renewal: datetime | None
) -> Keep:
    assert seen.secret is not None
    written = seen.secret.annotations.get(ANNOTATION_REVISION, "")
    revision = (
        int(written) if written.isdecimal() else max(seen.certificate.status.revision or 0, 1)
    )
    return Keep(request, material, digest, revision, renewal)


def _without_signer(
    seen: Observed, request: Request, digest: str, rejection: Reject
) -> Reject | Keep:
    """Keep a certificate that was reported good and is unchanged and not due: an issuer's absence does not spoil it."""
    status = seen.certificate.status
    if seen.secret is None or not is_true(status.conditions, "Ready"):
        return rejection
    if seen.secret.annotations.get(ANNOTATION_REQUEST) != digest:
        return rejection
    try:
        material = read_material(seen.secret.data)
    except VerificationError:
        return rejection
    renewal = renewal_time(seen.certificate, request, material)
    if material.fingerprint != status.fingerprint or renewal <= seen.now:
        return rejection
    return _keep(seen, request, digest, material, renewal)


def _not_before(seen: Observed, cause: Cause) -> datetime:
    status = seen.certificate.status
    moments = [seen.now]
    if (
        status.next_attempt_time is not None
        and status.failed_generation == seen.certificate.metadata.generation
    ):
        moments.append(status.next_attempt_time)
    if cause is Cause.REPAIR:
        moments.append(seen.repair_allowed_at)
    return max(moments)


def _reusable_key(seen: Observed, request: Request) -> PrivateKey | None:
    key = None if request.rotate_key else _held_key(seen)
    return key if kind_of_key(key) == (request.algorithm, request.size) else None


def _held_key(seen: Observed) -> PrivateKey | None:
    """Return the key that the Secret has, if it is one."""
    if seen.secret is None:
        return None
    try:
        return read_key(seen.secret.data.get("tls.key", b""))
    except ValueError:
        return None


def _fraction(text: str) -> float:
    """Return a number from 0 to 1 that looks random and depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
