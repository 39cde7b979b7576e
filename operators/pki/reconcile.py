"""Reconciling: observe, plan, apply, report, for each kind of pki.

What belongs here: the reconcile functions. What does not: reading (`observe`), decisions (`plan`,
`policy`), X.509 (`issue`), and whom to notify of a Certificate, and how (`report`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.clock import format_time
from operatorkit.conditions import ConditionStatus, get_condition
from operatorkit.context import Context, Reader
from operatorkit.errors import (
    ChildConflict,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    TerminalError,
)
from operatorkit.events import Notice, Reference
from operatorkit.names import ObjectKey
from operatorkit.operator import Requeue, Watch, generation_changed
from operators.pki import reasons, report
from operators.pki.api import Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki
from operators.pki.app import app
from operators.pki.authorities import fingerprint
from operators.pki.issue import Issued, Material, VerificationError, issue, new_serial
from operators.pki.keys import PrivateKey, generate_key
from operators.pki.objects import certificate_of, secret_of
from operators.pki.observe import (
    AnyIssuer,
    certificates_near_secret,
    certificates_of_issuer,
    certificates_of_pod,
    certificates_unready,
    conflicting_certificates,
    issuer_changed,
    issuers_of_secret,
    kept_secrets,
    labels_of_issuer,
    look_again,
    look_again_for_signer,
    look_for_missing,
    observe,
    ownership_changed,
    repair_cause,
    signer_of,
)
from operators.pki.plan import (
    Cause,
    Issue,
    Keep,
    Observed,
    Pending,
    Reject,
    Step,
    WaitFor,
    grace_period_ends,
    plan,
    renewal_time,
    retry_delay,
)
from operators.pki.pods import controller_reference, need_changed
from operators.pki.policy import is_costly
from operators.pki.policy_check import check_policy, notes_on
from operators.pki.repairs import RepairBackOff
from operators.pki.request import Request, describe, read_pki
from operators.pki.rules import selects
from operators.pki.services import Expansion, expand_service
from operators.pki.signer import CaSigner, Signer, SignerError

__all__ = [
    "reconcile_certificate",
    "reconcile_cluster_issuer",
    "reconcile_issuer",
    "reconcile_pki",
    "reconcile_policy",
]

_STATUSES: dict[ConditionStatus, bool | None] = {"True": True, "False": False, "Unknown": None}
_WORKERS = 8


# Certificates --------------------------------------------------------------------------------------------------------


@app.reconcile(
    Certificate,
    owns=[V1Secret],
    watches=[
        Watch(V1Pod, to=certificates_of_pod, predicate=need_changed),
        Watch(V1Secret, to=certificates_near_secret, predicate=ownership_changed),
        Watch(Issuer, to=certificates_of_issuer, predicate=issuer_changed),
        Watch(ClusterIssuer, to=certificates_of_issuer, predicate=issuer_changed),
        Watch(CertificatePolicy, to=certificates_unready, predicate=generation_changed),
        Watch(Certificate, to=conflicting_certificates, predicate=generation_changed),
    ],
    workers=_WORKERS,
)
async def reconcile_certificate(certificate: Certificate, ctx: Context) -> Requeue | None:
    """Bring the Secret of a Certificate in line with its spec, and say how it stands."""
    moment = await look_for_missing(ctx)
    try:
        return _earlier(await _act(certificate, ctx, await _decide(certificate, ctx)), moment)
    except TerminalError:
        if moment is None:
            raise
        return Requeue(at=moment)  # and raise it then


def _earlier(requeue: Requeue | None, moment: datetime | None) -> Requeue | None:
    if moment is None or (requeue is not None and requeue.at is not None and requeue.at <= moment):
        return requeue
    return Requeue(at=moment)


async def _act(certificate: Certificate, ctx: Context, step: Step) -> Requeue | None:
    match step:
        case Reject():
            return await _reject(certificate, ctx, step)
        case Pending():
            return await _pend(certificate, ctx, step)
        case WaitFor():
            return await _wait(certificate, ctx, step.moment)
        case Keep():
            return await _keep(certificate, ctx, step)
        case Issue():
            return await _issue(certificate, ctx, step)


async def _decide(certificate: Certificate, ctx: Context) -> Step:
    """Plan by the caches, and, before something is said to be missing, by the cluster itself."""
    seen = await observe(certificate, ctx)
    step = await _plan(seen)
    if not _may_be_behind(certificate, step):
        return step
    try:
        again = await look_again(seen, ctx)
        return step if _is_the_same(seen, again) else await _plan(again)
    except Forbidden as error:
        ctx.log.warning("the caches could not be confirmed: %s", error)
        return step


def _is_the_same(seen: Observed, again: Observed) -> bool:
    """Return whether the cluster has what the caches had: the plan is made once then."""
    versions = [
        {(one.metadata.uid, one.metadata.generation) for one in each.policies}
        for each in (seen, again)
    ]
    return seen.signer == again.signer and versions[0] == versions[1]


async def _plan(seen: Observed) -> Step:
    """Plan; where many names meet many patterns, off the event loop, which others need."""
    if seen.request is not None and is_costly(seen.request, seen.policies):
        return await asyncio.to_thread(plan, seen)
    return plan(seen)


def _may_be_behind(certificate: Certificate, step: Step) -> bool:
    """Return whether a step is due to what the caches may only not hold yet, and says what was not said before."""
    if isinstance(step, Reject) and (step.absent or step.reason == reasons.DENIED_BY_POLICY):
        ready = get_condition(certificate.status.conditions, "Ready")
        said = (
            (ready.observed_generation, ready.status, ready.reason, ready.message)
            if ready is not None
            else None
        )
        return said != (certificate.metadata.generation, "False", step.reason, step.message)
    return isinstance(step, Pending)


async def _pend(certificate: Certificate, ctx: Context, step: Pending) -> Requeue:
    _forget_attempts(certificate)
    await report.pending((Certificate.api_resource(), ctx.key), ctx, step.reason, step.message)
    return Requeue(at=step.until)


async def _reject(certificate: Certificate, ctx: Context, step: Reject) -> Requeue | None:
    _forget_attempts(certificate)
    await report.failed(certificate, ctx, step.reason, step.message, pods=not step.others)
    if step.until is not None:
        return Requeue(at=step.until)
    raise TerminalError(step.message, reason=step.reason, reported=True)


async def _wait(certificate: Certificate, ctx: Context, moment: datetime) -> Requeue:
    ready = get_condition(certificate.status.conditions, "Ready")
    if ready is not None and ready.status == "False":
        await report.failed(certificate, ctx, ready.reason, ready.message, retried=True)
    else:
        name = certificate.spec.secret_name
        cause = repair_cause(certificate, ctx)
        times = ctx.memory(RepairBackOff).number(certificate.metadata.uid, cause, ctx.clock.now())
        message = (
            f"Find out who changes or deletes Secret {name}: it was {cause}, and repaired, "
            f"{times} times in a row, so the next repair is at {format_time(moment)}"
        )
        await report.failed(certificate, ctx, reasons.RETRY_SCHEDULED, message, retried=True)
    return Requeue(at=moment)


async def _keep(certificate: Certificate, ctx: Context, step: Keep) -> Requeue | None:
    status = certificate.status
    unreported = (
        step.revision == (status.revision or 0) + 1
        and status.fingerprint != step.material.fingerprint
    )
    secret = secret_of(certificate, step.material, request=step.digest, revision=step.revision)
    await ctx.apply(secret, *kept_secrets(certificate, ctx))
    if unreported:  # written by an operator that died before it said so
        due = status.renewal_time is not None and status.renewal_time <= ctx.clock.now()
        await report.issued(certificate, ctx, step.material, Cause.RENEWAL if due else Cause.NEW)
    else:
        await report.recovered(certificate, ctx, step.material)
    return _ready(certificate, ctx, step.material, step.revision, step.renewal)


async def _issue(certificate: Certificate, ctx: Context, step: Issue) -> Requeue | None:
    if step.cause is Cause.REPAIR:
        ctx.memory(RepairBackOff).count(
            certificate.metadata.uid, repair_cause(certificate, ctx), ctx.clock.now()
        )
    try:
        made = await _make(step, ctx.clock.now())
        secret = secret_of(certificate, made.material, request=step.digest, revision=step.revision)
        kept = kept_secrets(certificate, ctx)
        await ctx.apply(
            secret, *kept, enqueue=False
        )  # it was verified: a second run would find it right
    except VerificationError as error:
        reference = certificate.spec.issuer_ref
        message = (
            f"Check {reference.kind} {reference.name}: its certificate was not written, "
            f"because {error}"
        )
        return await _retry(certificate, ctx, reasons.SIGNING_FAILED, message)
    except ChildConflict as error:
        return await _reject(certificate, ctx, Reject(reasons.SECRET_CONFLICT, str(error)))
    except Conflict:
        raise
    except ClusterError as error:
        message = f"{_remedy(certificate.spec.secret_name, error)}: {error}"
        return await _retry(certificate, ctx, reasons.RETRY_SCHEDULED, message)
    ctx.log.info("issued %s, because %s", made.material.serial, step.cause)
    await report.issued(certificate, ctx, made.material, step.cause)
    renewal = None if made.clamped else renewal_time(certificate, step.request, made.material)
    return _ready(certificate, ctx, made.material, step.revision, renewal)


def _remedy(secret: str, error: ClusterError) -> str:
    """Say what to do about a Secret that the server rejects to write; its own words follow."""
    if isinstance(error, Invalid):
        return f"Delete Secret {secret}, which cannot be changed, so that it is recreated"
    return f"Find out why Secret {secret} cannot be written"


async def _make(step: Issue, now: datetime) -> Issued:
    key = step.key or await _new_key(step.request)
    return issue(step.request, step.signer, key, serial=new_serial(), now=now)


async def _new_key(request: Request) -> PrivateKey:
    """Make a key; RSA's takes long, and is made off the event loop."""
    if request.algorithm == "RSA":
        return await asyncio.to_thread(generate_key, request.algorithm, request.size)
    return generate_key(request.algorithm, request.size)


async def _retry(certificate: Certificate, ctx: Context, reason: str, message: str) -> Requeue:
    """Schedule the next attempt, and say when it is."""
    status, now = certificate.status, ctx.clock.now()
    generation = certificate.metadata.generation
    attempt = (status.failed_attempts or 0) + 1 if status.failed_generation == generation else 1
    delay = retry_delay(certificate.metadata.uid, attempt)
    moment = (now + delay + timedelta(seconds=1)).replace(microsecond=0)
    status.failed_attempts, status.failed_generation = attempt, generation
    status.last_failure_time, status.next_attempt_time = now, moment
    text = f"{message}; attempt {attempt} failed, the next one is at {format_time(moment)}"
    await report.failed(certificate, ctx, reason, text, retried=True)
    return Requeue(at=moment)


def _ready(
    certificate: Certificate,
    ctx: Context,
    material: Material,
    revision: int,
    renewal: datetime | None,
) -> Requeue:
    """Describe the certificate in the status, and come back when it is to be renewed."""
    status, end = certificate.status, material.certificate.not_valid_after_utc
    status.not_before, status.not_after = material.certificate.not_valid_before_utc, end
    status.renewal_time = renewal
    status.serial_number, status.fingerprint = material.serial, material.fingerprint
    status.issuer = f"{certificate.spec.issuer_ref.kind}/{certificate.spec.issuer_ref.name}"
    status.revision = revision
    _forget_attempts(certificate)
    then = (
        f"it is renewed at {format_time(renewal)}"
        if renewal is not None
        else "its issuer expires then, so its duration was shortened: renew the CA"
    )
    ctx.condition(
        "Ready",
        True,
        reasons.UP_TO_DATE,
        f"The certificate is valid until {format_time(end)}; {then}",
    )
    return Requeue(at=renewal or end)


def _forget_attempts(certificate: Certificate) -> None:
    status = certificate.status
    status.failed_attempts = status.failed_generation = None
    status.last_failure_time = status.next_attempt_time = None


# Issuers -------------------------------------------------------------------------------------------------------------


def _issuer_keys(secret: V1Secret, reader: Reader) -> Iterable[ObjectKey]:
    return [
        issuer.key for issuer in issuers_of_secret(secret, reader) if isinstance(issuer, Issuer)
    ]


def _cluster_issuer_keys(secret: V1Secret, reader: Reader) -> Iterable[ObjectKey]:
    return [
        issuer.key
        for issuer in issuers_of_secret(secret, reader)
        if isinstance(issuer, ClusterIssuer)
    ]


@app.reconcile(Issuer, watches=[Watch(V1Secret, to=_issuer_keys)])
async def reconcile_issuer(issuer: Issuer, ctx: Context) -> Requeue | None:
    """Say whether an Issuer can sign."""
    return await _check_issuer(issuer, ctx)


@app.reconcile(ClusterIssuer, watches=[Watch(V1Secret, to=_cluster_issuer_keys)])
async def reconcile_cluster_issuer(issuer: ClusterIssuer, ctx: Context) -> Requeue | None:
    """Say whether a ClusterIssuer can sign."""
    return await _check_issuer(issuer, ctx)


async def _check_issuer(issuer: AnyIssuer, ctx: Context) -> Requeue | None:
    scope = (type(issuer).api_resource(), ctx.key)
    try:
        signer = await _signer(issuer, ctx)
    except SignerError as error:
        issuer.status.not_after = issuer.status.fingerprint = None
        if error.absent:
            now, conditions = ctx.clock.now(), issuer.status.conditions
            until = grace_period_ends(
                conditions, issuer.metadata.generation, reasons.ISSUER_NOT_READY, now
            )
            if until > now:
                await report.pending(scope, ctx, reasons.ISSUER_NOT_READY, str(error))
                return Requeue(at=until)
        reason = reasons.INVALID_SPEC if error.invalid else reasons.ISSUER_NOT_READY
        await _report_failure(issuer, ctx, reason, str(error))
        if error.until is not None:
            return Requeue(at=error.until)
        raise TerminalError(str(error), reason=reason, reported=True) from error
    await ctx.events.hold(scope, [])
    issuer.status.fingerprint = fingerprint(signer)
    if not isinstance(signer, CaSigner):
        issuer.status.not_after = None
        ctx.condition(
            "Ready", True, reasons.ISSUER_READY, "Each certificate is signed by its own key"
        )
        return None
    issuer.status.not_after = signer.not_after
    end = format_time(signer.not_after)
    ctx.condition("Ready", True, reasons.ISSUER_READY, f"The CA can sign until {end}")
    return Requeue(at=signer.not_after - timedelta(hours=1))


async def _signer(issuer: AnyIssuer, ctx: Context) -> Signer:
    """Return what signs; ask the cluster itself before saying that its Secret is missing. Raises SignerError."""
    try:
        return await signer_of(issuer, ctx)
    except SignerError as error:
        if not error.absent:
            raise
        try:
            return await look_again_for_signer(issuer, ctx)
        except Forbidden as rejected:
            ctx.log.warning("the caches could not be confirmed: %s", rejected)
            raise error from rejected


async def _report_failure(
    obj: AnyIssuer | CertificatePolicy | Pki, ctx: Context, reason: str, message: str
) -> None:
    ctx.condition("Ready", False, reason, message)
    notice = Notice(
        regarding=Reference.of(obj),
        type="Warning",
        reason=reason,
        message=message,
        occurrence=obj.metadata.generation,
    )
    await ctx.events.hold((type(obj).api_resource(), ctx.key), [notice])


# Policies ------------------------------------------------------------------------------------------------------------


@app.reconcile(CertificatePolicy, predicate=generation_changed)
async def reconcile_policy(policy: CertificatePolicy, ctx: Context) -> Requeue | None:
    """Say whether a policy is understood."""
    spec_errors = check_policy(policy.spec)
    if spec_errors:
        message = describe(spec_errors)
        await _report_failure(policy, ctx, reasons.INVALID_SPEC, message)
        raise TerminalError(message, reason=reasons.INVALID_SPEC, reported=True)
    await ctx.events.hold((CertificatePolicy.api_resource(), ctx.key), [])
    notes = "".join(f"; {note}" for note in notes_on(policy.spec))
    ctx.condition(
        "Ready", True, reasons.POLICY_READY, f"The policy is applied to new requests{notes}"
    )
    return None


# Services ------------------------------------------------------------------------------------------------------------


def _pki_of_that_name(certificate: Certificate, reader: Reader) -> Iterable[ObjectKey]:
    """Return the Pki with which a Certificate of another owner conflicts, or conflicted."""
    mine = controller_reference(certificate.metadata)
    found = reader.get(Pki, certificate.metadata.name, namespace=certificate.metadata.namespace)
    return (
        [found.key]
        if found is not None and (mine is None or mine.uid != found.metadata.uid)
        else []
    )


def _pkis_selected(policy: CertificatePolicy, reader: Reader) -> Iterable[ObjectKey]:
    """Return the Pkis whose names a policy may change."""
    return [one.key for one in reader.list(Pki) if selects(policy.spec, one.metadata.namespace)]


@app.reconcile(
    Pki,
    owns=[Certificate],
    watches=[
        Watch(Certificate, to=_pki_of_that_name, predicate=generation_changed),
        Watch(CertificatePolicy, to=_pkis_selected, predicate=generation_changed),
    ],
)
async def reconcile_pki(pki: Pki, ctx: Context) -> Requeue | None:
    """Expand a Pki to its Certificate, and show how that stands."""
    if spec_errors := read_pki(pki.spec):
        message = describe(spec_errors)
        await _report_failure(pki, ctx, reasons.INVALID_SPEC, message)
        raise TerminalError(message, reason=reasons.INVALID_SPEC, reported=True)
    await ctx.events.hold((Pki.api_resource(), ctx.key), [])
    expansion = _expand(pki, ctx)
    pki.status.left_out = expansion.left_out
    if (
        expansion.policy is None
        and ctx.get(Certificate, ctx.key.name, namespace=ctx.key.namespace) is None
    ):
        now, scope = ctx.clock.now(), (Pki.api_resource(), ctx.key)
        until = grace_period_ends(
            pki.status.conditions, pki.metadata.generation, reasons.DENIED_BY_POLICY, now
        )
        if until > now:
            await report.pending(
                scope, ctx, reasons.DENIED_BY_POLICY, f"No policy allows {expansion.names[-1]}"
            )
            return Requeue(at=until)
    try:
        applied = await ctx.apply(certificate_of(pki, expansion.names))
    except ChildConflict as error:
        pki.status.secret_name = pki.status.not_after = None
        remedy = "Rename this Pki, or delete the Certificate with its name"
        raise TerminalError(f"{remedy}: {error}", reason=error.reason) from error
    certificate: Certificate = applied[0]
    pki.status.secret_name = certificate.spec.secret_name
    pki.status.not_after = certificate.status.not_after
    ready = get_condition(certificate.status.conditions, "Ready")
    if ready is None or ready.observed_generation != certificate.metadata.generation:
        ctx.condition(
            "Ready", None, "Issuing", f"Certificate {certificate.metadata.name} is being issued"
        )
    else:
        missing = ", ".join(
            each.name for each in pki.status.left_out if each.name not in expansion.names
        )
        left_out = (
            f"; no policy allows {missing}, which it lacks: see status.leftOut" if missing else ""
        )
        ctx.condition("Ready", _STATUSES[ready.status], ready.reason, f"{ready.message}{left_out}")
    return None


def _expand(pki: Pki, ctx: Context) -> Expansion:
    reference = pki.spec.issuer_ref
    return expand_service(
        pki,
        ctx.list(CertificatePolicy),
        issuer_labels=labels_of_issuer(reference, pki.metadata.namespace, ctx),
        cluster_domain=app.settings.cluster_domain,
    )
