"""Reports: whom to notify about a Certificate, and how.

What belongs here: the choice of audience, the messages, and the conditions. What does not: deciding
what is so (`operators.pki.plan`).

A failure is reported to the Certificate, the object that made it (a Pki), every Pod that uses the
Secret, and the workloads of these Pods; a recovery to the Certificate, and to those that had been
notified of the failure.

Pods that wait for a Secret which does not exist, and whose name resembles that of this
Certificate's, are notified of that, however the Certificate stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kubernetes.client.models import V1Pod

from operatorkit.clock import format_time
from operatorkit.conditions import get_condition
from operatorkit.context import Context
from operatorkit.errors import ClusterError
from operatorkit.events import Notice, Reference
from operatorkit.kinds import REPLICA_SETS
from operatorkit.names import ApiResource, ObjectKey
from operators.pki import reasons
from operators.pki.api import Certificate
from operators.pki.issue import Material
from operators.pki.missing import INDEX_WAITING, Missing, MissingSecrets
from operators.pki.plan import Cause
from operators.pki.pods import controller_reference, interesting

__all__ = ["INDEX_SECRETS", "failed", "issued", "pending", "recovered"]

INDEX_SECRETS = "secrets"
_ACTION = "Issue"
_SETTLING_SECONDS = 10


async def failed(
    certificate: Certificate,
    ctx: Context,
    reason: str,
    message: str,
    *,
    retried: bool = False,
    pods: bool = True,
) -> None:
    """Set Ready=False, and hold a Warning at everybody concerned until `recovered` or another failure.

    What is `retried` has the times of its attempts in the message: they are one Event all the same.
    Without `pods`, the Pods that use the Secret are not concerned: it is another Certificate's.
    """
    ctx.condition("Ready", False, reason, message)
    about = Reference.of(certificate)
    status = certificate.status
    attempts = (
        status.failed_attempts
        if status.failed_generation == certificate.metadata.generation
        else None
    )
    text = f"{message} [Certificate {certificate.metadata.name}, Secret {certificate.spec.secret_name}]"
    await ctx.events.hold(
        _scope(ctx),
        [
            Notice(
                regarding=reference,
                type="Warning",
                reason=reason,
                message=text,
                key=_series(certificate, reason) if retried else None,
                action=_ACTION,
                related=about,
                occurrence=(certificate.metadata.generation, attempts),
            )
            for reference in await _audience(certificate, ctx, pods=pods)
        ]
        + await _misnamed(ctx),
    )


async def pending(
    scope: tuple[ApiResource, ObjectKey], ctx: Context, reason: str, message: str
) -> None:
    """Set Ready=Unknown, and warn no one: what is missing may be on its way."""
    await ctx.events.hold(scope, await _misnamed(ctx) if scope == _scope(ctx) else [])
    ctx.condition(
        "Ready", None, reason, f"{message}; retrying for a moment, because it may be created soon"
    )


async def issued(certificate: Certificate, ctx: Context, material: Material, cause: Cause) -> None:
    """Report a new certificate: to the Certificate, and to those that had been notified of a failure."""
    reason = reasons.CERTIFICATE_RENEWED if cause is Cause.RENEWAL else reasons.CERTIFICATE_ISSUED
    await ctx.events.hold(_scope(ctx), await _misnamed(ctx))
    await ctx.events.normal(
        certificate,
        reason,
        _issued_message(certificate, material),
        key=_series(certificate, reason),
        action=_ACTION,
        related=certificate,
        promptly=True,
    )
    await _report_recovery(certificate, ctx, material)


async def recovered(certificate: Certificate, ctx: Context, material: Material) -> None:
    """Stop refreshing Warnings, and notify those that had been notified of the failure that it is over."""
    await ctx.events.hold(_scope(ctx), await _misnamed(ctx))
    await _report_recovery(certificate, ctx, material)


async def _report_recovery(certificate: Certificate, ctx: Context, material: Material) -> None:
    """Notify those that had been notified of a failure of this Certificate, and still exist.

    Also where it is said to be ready: an operator that died may not have notified them.
    """
    ready = get_condition(certificate.status.conditions, "Ready")
    if ready is None and _age_seconds(certificate, ctx.clock.now()) < _SETTLING_SECONDS:
        return

    def exists(recipient: Reference) -> bool:
        if recipient.kind != "Pod":
            return True
        known = ctx.get(V1Pod, recipient.name, namespace=recipient.namespace)
        return (
            known is not None and known.metadata is not None and known.metadata.uid == recipient.uid
        )

    await ctx.events.recovered(
        certificate,
        reasons.CERTIFICATE_ISSUED,
        _issued_message(certificate, material),
        key=_series(certificate, reasons.CERTIFICATE_ISSUED),
        action=_ACTION,
        exists=exists,
    )


async def _misnamed(ctx: Context) -> list[Notice]:
    """Return the message for Pods that wait for a Secret which does not exist, and perhaps mean this Certificate's."""
    return [
        Notice(
            regarding=reference,
            type="Warning",
            reason=reasons.SECRET_NOT_FOUND,
            message=_missing_message(missing, ctx.key),
            key=f"{reasons.SECRET_NOT_FOUND}/{missing.name}",
            action=_ACTION,
        )
        for missing in ctx.memory(MissingSecrets).near(ctx.key)
        if missing.confirmed
        for reference in await _waiting(missing.name, ctx)
    ]


async def _waiting(secret: str, ctx: Context) -> list[Reference]:
    """Return at most ten Pods that wait for a Secret, and their workloads."""
    pods = interesting(ctx.list(V1Pod, index=(INDEX_WAITING, f"{ctx.key.namespace}/{secret}")))
    return [*map(Reference.of, pods), *await _workloads(pods, ctx)]


def _missing_message(missing: Missing, certificate: ObjectKey) -> str:
    return (
        f"Did you mean {missing.near}? Secret {missing.name} does not exist, and no Certificate in namespace "
        f"{certificate.namespace} writes it; Certificate {certificate.name} writes {missing.near}"
    )


def _issued_message(certificate: Certificate, material: Material) -> str:
    issuer, secret = certificate.spec.issuer_ref, certificate.spec.secret_name
    end = format_time(material.certificate.not_valid_after_utc)
    return f"Secret {secret} holds a certificate of {issuer.kind} {issuer.name}, valid until {end}"


def _series(certificate: Certificate, reason: str) -> str:
    """Return what all Events of one reason about one Certificate have in common: a Pod may use several Secrets."""
    return f"{reason}/{certificate.metadata.name}"


def _scope(ctx: Context) -> tuple[ApiResource, ObjectKey]:
    """Return the scope that the engine releases when the object is gone."""
    return Certificate.api_resource(), ctx.key


async def _audience(certificate: Certificate, ctx: Context, *, pods: bool) -> list[Reference]:
    """Return the Certificate, its maker, at most ten Pods that use the Secret, and their workloads; each once."""
    secret = f"{certificate.metadata.namespace}/{certificate.spec.secret_name}"
    users = interesting(ctx.list(V1Pod, index=(INDEX_SECRETS, secret))) if pods else []
    maker = controller_reference(certificate.metadata)
    found = [
        Reference.of(certificate),
        *([maker] if maker is not None else []),
        *map(Reference.of, users),
    ]
    found += await _workloads(users, ctx)
    return list({reference.identity: reference for reference in found}.values())


async def _workloads(pods: Iterable[V1Pod], ctx: Context) -> list[Reference]:
    """Return what made these Pods: a Deployment rather than its ReplicaSet."""
    owners = {}
    for pod in pods:
        owner = controller_reference(pod.metadata)
        if owner is not None and owner.kind != "Node":
            owners[owner.identity] = owner
    return [await _above(owner, ctx) for owner in owners.values()]


async def _above(owner: Reference, ctx: Context) -> Reference:
    if owner.kind != "ReplicaSet":
        return owner
    try:
        replica_set = await ctx.api.get(REPLICA_SETS, owner.name, namespace=owner.namespace)
    except ClusterError as error:
        ctx.log.debug("the Deployment above ReplicaSet %s is not known: %s", owner.name, error)
        return owner
    for above in replica_set["metadata"].get("ownerReferences") or ():
        if above.get("controller"):
            return Reference(
                api_version=above["apiVersion"],
                kind=above["kind"],
                name=above["name"],
                namespace=owner.namespace,
                uid=above["uid"],
            )
    return owner


def _age_seconds(certificate: Certificate, now: datetime) -> float:
    created = certificate.metadata.creation_timestamp
    return (now - created).total_seconds() if created is not None else 0.0
