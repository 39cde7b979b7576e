"""Reconciling: what authorities and policies are worth, as conditions.

What belongs here: the reconcile functions. What does not: admission, which reads specs only: a status is never trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from operatorkit.context import Context, Reader
from operatorkit.names import ObjectKey
from operatorkit.operator import Requeue, Watch, generation_changed
from operators.attestation import reasons
from operators.attestation.api import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    ImagePolicy,
    KeyStatus,
)
from operators.attestation.app import app
from operators.attestation.images import ImageReferenceError, parse_pattern
from operators.attestation.observe import authority_of, policy_of
from operators.attestation.signatures import VerificationKey
from operators.attestation.signatures.keys import PublicKeyError, key_problem
from operators.attestation.signatures.pgp import read_certificate
from operators.attestation.signatures.pkix import read_bare_key

__all__ = ["reconcile_authority", "reconcile_policy"]

AnyAuthority = AttestationAuthority | ClusterAttestationAuthority
AnyPolicy = ImagePolicy | ClusterImagePolicy

_LONGEST = timedelta(hours=12)


def _policies(authority: Any, reader: Reader) -> Iterable[ObjectKey]:
    del authority
    return [policy.key for policy in reader.list(ImagePolicy)]


def _cluster_policies(authority: Any, reader: Reader) -> Iterable[ObjectKey]:
    del authority
    return [policy.key for policy in reader.list(ClusterImagePolicy)]


@app.reconcile(ClusterAttestationAuthority)
async def reconcile_cluster_authority(
    authority: ClusterAttestationAuthority, ctx: Context
) -> Requeue | None:
    """Read the keys of an authority and say what they are."""
    return reconcile_authority(authority, ctx)


@app.reconcile(AttestationAuthority)
async def reconcile_namespaced_authority(
    authority: AttestationAuthority, ctx: Context
) -> Requeue | None:
    """Read the keys of an authority and say what they are."""
    return reconcile_authority(authority, ctx)


@app.reconcile(
    ClusterImagePolicy,
    watches=[
        Watch(ClusterAttestationAuthority, to=_cluster_policies, predicate=generation_changed)
    ],
)
async def reconcile_cluster_policy(policy: ClusterImagePolicy, ctx: Context) -> None:
    """Say whether a policy can be applied."""
    reconcile_policy(policy, ctx)


@app.reconcile(
    ImagePolicy,
    watches=[
        Watch(ClusterAttestationAuthority, to=_policies, predicate=generation_changed),
        Watch(AttestationAuthority, to=_policies, predicate=generation_changed),
    ],
)
async def reconcile_namespaced_policy(policy: ImagePolicy, ctx: Context) -> None:
    """Say whether a policy can be applied."""
    reconcile_policy(policy, ctx)


def reconcile_authority(authority: AnyAuthority, ctx: Context) -> Requeue | None:
    """Set fingerprints, expiry and the condition Ready; look again when a key begins or ends."""
    now, invalid, ended = ctx.clock.now(), [], []
    statuses: list[KeyStatus] = []
    for key in authority_of(authority).keys:
        try:
            fingerprint, expiration, is_revoked = _material(key)
        except PublicKeyError as error:
            invalid.append(f"key {key.id!r}: {error}")
            statuses.append(KeyStatus(id=key.id))
            continue
        ends = [end for end in (expiration, key.not_after) if end is not None]
        statuses.append(
            KeyStatus(id=key.id, fingerprint=fingerprint, not_after=min(ends, default=None))
        )
        problem = key_problem(key, now)
        if problem is None and is_revoked:
            problem = f"key {key.id!r} is revoked"
        if problem is None and expiration is not None and now >= expiration:
            problem = f"key {key.id!r} has expired at {expiration.isoformat()}"
        if problem is not None:
            ended.append(problem)
    if authority.status.keys != statuses:
        authority.status.keys = statuses
    if invalid:
        ctx.condition("Ready", False, reasons.KEY_UNREADABLE, "; ".join(invalid))
    elif len(ended) == len(statuses):
        ctx.condition("Ready", False, reasons.KEY_NOT_VALID, "; ".join(ended))
    else:
        ctx.condition("Ready", True, reasons.AUTHORITY_READY, "; ".join(ended))
    return _next_look(authority, statuses, now)


def _material(key: VerificationKey) -> tuple[str, datetime | None, bool]:
    """Return the fingerprint of a key, when it expires by itself, and whether it is revoked. Raises PublicKeyError."""
    if key.type == "PGP":
        certificate = read_certificate(key.public_key)
        return certificate.fingerprint, certificate.expiration, certificate.is_revoked
    return read_bare_key(key).fingerprint, None, False


def _next_look(
    authority: AnyAuthority, statuses: Iterable[KeyStatus], now: datetime
) -> Requeue | None:
    moments = [status.not_after for status in statuses]
    moments += [
        moment for key in authority.spec.keys for moment in (key.not_before, key.revoked_at)
    ]
    left = [moment - now for moment in moments if moment is not None and moment > now]
    return Requeue(after=min(*left, _LONGEST)) if left else None


def reconcile_policy(policy: AnyPolicy, ctx: Context) -> None:
    """Set the condition Ready."""
    value = policy_of(policy)
    for text in (*value.images, *value.exempt):
        try:
            parse_pattern(text)
        except ImageReferenceError as error:
            ctx.condition("Ready", False, reasons.INVALID_PATTERN, str(error))
            return
    kinds: dict[str, type[AnyAuthority]] = {
        "AttestationAuthority": AttestationAuthority,
        "ClusterAttestationAuthority": ClusterAttestationAuthority,
    }
    absent = [
        f"{kind} {name}"
        for kind, namespace, name in value.authorities
        if ctx.get(kinds[kind], name, namespace=namespace or None) is None
    ]
    if absent:
        message = f"{', '.join(absent)} does not exist: create it, or name another"
        ctx.condition("Ready", False, reasons.AUTHORITY_NOT_FOUND, message)
        return
    ctx.condition("Ready", True, reasons.POLICY_READY)
