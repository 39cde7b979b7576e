"""Observing: what the plan of a Certificate depends on, and which changes concern which objects.

What belongs here: the operator's declaration, its indexes, the mapping of changes to objects, and
reading from caches. What does not: decisions (`plan`) and writes (`reconcile`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NoReturn, TypeVar

from kubernetes.client.models import V1ObjectMeta, V1Pod, V1Secret

from operatorkit.clock import format_time
from operatorkit.conditions import get_condition, is_true
from operatorkit.context import Context, Reader
from operatorkit.errors import InvalidObject, NotFound
from operatorkit.events import Reference
from operatorkit.names import LABEL_OWNER_UID, ObjectKey
from operatorkit.resource import api_resource_of, read
from operators.pki import reasons
from operators.pki.api import (
    GROUP,
    Certificate,
    CertificatePolicy,
    ClusterIssuer,
    Issuer,
    IssuerReference,
)
from operators.pki.app import app
from operators.pki.authorities import Authorities
from operators.pki.missing import INDEX_NAMES, INDEX_WAITING, MissingSecrets, marks
from operators.pki.missing import INDEX_WRITERS as _INDEX_SECRET
from operators.pki.objects import same_secret, secret_data
from operators.pki.plan import GRACE_PERIOD, Observed, Reject, StoredSecret
from operators.pki.pods import controller_reference, has_ended, required_secrets, secrets_of, waits
from operators.pki.repairs import RepairBackOff
from operators.pki.report import INDEX_SECRETS
from operators.pki.request import describe, read_issuer, read_request
from operators.pki.signer import SelfSigner, Signer, SignerError

__all__ = [
    "AnyIssuer",
    "certificates_near_secret",
    "certificates_of_issuer",
    "certificates_of_pod",
    "certificates_unready",
    "conflicting_certificates",
    "issuer_changed",
    "issuers_of_secret",
    "kept_secrets",
    "labels_of_issuer",
    "look_again",
    "look_again_for_signer",
    "look_for_missing",
    "observe",
    "ownership_changed",
    "repair_cause",
    "signer_of",
]

_INDEX_ISSUER = "issuer"
_INDEX_CA = "ca"
_INDEX_OWNER = "owner"
_INDEX_UNREADY = "unready"

_LOOK_AGAIN: Final = timedelta(seconds=5)

AnyIssuer = Issuer | ClusterIssuer
T = TypeVar("T")


# Which changes concern which objects ---------------------------------------------------------------------------------


def _key(metadata: V1ObjectMeta | None) -> ObjectKey:
    return ObjectKey((metadata and metadata.namespace) or "", (metadata and metadata.name) or "")


def _certificates_of_secret(namespace: str, name: str, reader: Reader) -> list[ObjectKey]:
    return list(reader.keys(Certificate, index=(_INDEX_SECRET, f"{namespace}/{name}")))


def certificates_of_pod(pod: V1Pod, reader: Reader) -> Iterable[ObjectKey]:
    """Return the Certificates whose Secrets a Pod uses, and those whose Secrets it perhaps means."""
    namespace = _key(pod.metadata).namespace
    found = [
        key for name in secrets_of(pod) for key in _certificates_behind(namespace, name, reader)
    ]
    return [*found, *reader.memory(MissingSecrets).pod_changed(pod, reader)]


def _certificates_behind(namespace: str, name: str, reader: Reader) -> list[ObjectKey]:
    """Return the Certificates that write a Secret, or the one that did before it got another secretName."""
    found = _certificates_of_secret(namespace, name, reader)
    if found:
        return found
    secret = reader.get(V1Secret, name, namespace=namespace)
    owner = (
        controller_reference(secret.metadata)
        if secret is not None and secret.metadata is not None
        else None
    )
    return (
        [ObjectKey(namespace, owner.name)]
        if owner is not None and owner.kind == Certificate.kind
        else []
    )


def certificates_near_secret(secret: V1Secret, reader: Reader) -> Iterable[ObjectKey]:
    """Return the Certificates that write this Secret, that Pods perhaps mean, and whose issuer has its CA in it."""
    key = _key(secret.metadata)
    owner = controller_reference(secret.metadata) if secret.metadata is not None else None
    found = [
        one
        for one in _certificates_of_secret(key.namespace, key.name, reader)
        if owner is None
        or (owner.kind, owner.name)
        != (Certificate.kind, one.name)  # which hears of its child anyway
    ]
    for issuer in issuers_of_secret(secret, reader):
        found += certificates_of_issuer(issuer, reader)
    return [*found, *reader.memory(MissingSecrets).look(key, reader)]


def issuers_of_secret(secret: V1Secret, reader: Reader) -> list[AnyIssuer]:
    """Return the issuers that have their CA in this Secret."""
    key = _key(secret.metadata)
    found: list[AnyIssuer] = [
        *reader.list(Issuer, namespace=key.namespace, index=(_INDEX_CA, key.name)),
    ]
    if key.namespace == app.settings.own_namespace:
        found += reader.list(ClusterIssuer, index=(_INDEX_CA, key.name))
    return found


def certificates_of_issuer(issuer: AnyIssuer, reader: Reader) -> list[ObjectKey]:
    """Return the Certificates that an issuer signs."""
    value = f"{issuer.kind}/{issuer.metadata.name}"
    namespace = issuer.metadata.namespace or None
    return list(reader.keys(Certificate, namespace=namespace, index=(_INDEX_ISSUER, value)))


def issuer_changed(old: AnyIssuer | None, new: AnyIssuer) -> bool:
    """Predicate: the spec changed, or its CA, or whether it can sign; not when merely its Secret got a label."""
    return old is None or _standing(old) != _standing(new)


def _standing(issuer: AnyIssuer) -> tuple[object, ...]:
    ready = get_condition(issuer.status.conditions, "Ready")
    said = (ready.status, ready.reason, ready.message) if ready is not None else None
    return issuer.metadata.generation, issuer.status.fingerprint, said


def ownership_changed(old: V1Secret | None, new: V1Secret) -> bool:
    """Predicate: the Secret is new, or has another owner: its content concerns its owner, or an issuer, alone."""
    return old is None or _owner(old) != _owner(new)


def owner_label(secret: V1Secret) -> str | None:
    """Return the uid of the object that applied a Secret."""
    return ((secret.metadata and secret.metadata.labels) or {}).get(LABEL_OWNER_UID)


def _owner(secret: V1Secret) -> tuple[object, ...]:
    if secret.metadata is None:
        return (None, None)
    return controller_reference(secret.metadata), owner_label(secret)


def certificates_unready(policy: CertificatePolicy, reader: Reader) -> Iterable[ObjectKey]:  # noqa: ARG001 - any may help
    """Return the Certificates that a new policy may help."""
    return list(reader.keys(Certificate, index=(_INDEX_UNREADY, "")))


def conflicting_certificates(certificate: Certificate, reader: Reader) -> Iterable[ObjectKey]:
    """Return the other Certificates that want the same Secret, and those whose Secrets Pods perhaps mean."""
    keys = _certificates_of_secret(
        certificate.metadata.namespace, certificate.spec.secret_name, reader
    )
    others = [key for key in keys if key != certificate.key]
    return [*others, *reader.memory(MissingSecrets).certificate_changed(certificate, reader)]


def _secret_keys(pod: V1Pod) -> list[str]:
    namespace = _key(pod.metadata).namespace
    return [f"{namespace}/{name}" for name in secrets_of(pod)]


def _required_secret_keys(pod: V1Pod) -> list[str]:
    namespace = _key(pod.metadata).namespace
    return [f"{namespace}/{name}" for name in required_secrets(pod)] if waits(pod) else []


def _marked_names(certificate: Certificate) -> list[str]:
    namespace = certificate.metadata.namespace
    return [f"{namespace}/{mark}" for mark in marks(certificate.spec.secret_name)]


app.index(V1Pod, INDEX_SECRETS, _secret_keys)
app.index(V1Pod, INDEX_WAITING, _required_secret_keys)
app.index(V1Secret, _INDEX_OWNER, lambda one: [label] if (label := owner_label(one)) else [])
app.index(
    Certificate, _INDEX_SECRET, lambda one: [f"{one.metadata.namespace}/{one.spec.secret_name}"]
)
app.index(Certificate, INDEX_NAMES, _marked_names)
app.index(
    Certificate,
    _INDEX_ISSUER,
    lambda one: [f"{one.spec.issuer_ref.kind}/{one.spec.issuer_ref.name}"],
)
app.index(
    Certificate, _INDEX_UNREADY, lambda one: [] if is_true(one.status.conditions, "Ready") else [""]
)
app.index(Issuer, _INDEX_CA, lambda one: [one.spec.ca.secret_name] if one.spec.ca else [])
app.index(ClusterIssuer, _INDEX_CA, lambda one: [one.spec.ca.secret_name] if one.spec.ca else [])


# What is there -----------------------------------------------------------------------------------------------------


async def observe(certificate: Certificate, ctx: Context) -> Observed:
    """Read all that the plan of a Certificate depends on. Raises ClusterError."""
    request, spec_errors = read_request(certificate.spec)
    secret = await _own_secret(certificate, ctx)
    now = ctx.clock.now()
    reference = certificate.spec.issuer_ref
    return Observed(
        certificate=certificate,
        request=request,
        spec_errors=spec_errors,
        conflict=_conflict(certificate, secret, ctx),
        signer=await _signer_or_rejection(certificate, ctx),
        issuer=f"{reference.kind}/{reference.name}",
        policies=ctx.list(CertificatePolicy),
        secret=None if secret is None else StoredSecret(secret_data(secret), _annotations(secret)),
        repair_allowed_at=ctx.memory(RepairBackOff).allowed_at(
            certificate.metadata.uid, _repaired_for(secret), now
        ),
        now=now,
        issuer_labels=labels_of_issuer(reference, certificate.metadata.namespace, ctx),
        cluster_domain=app.settings.cluster_domain,
    )


def _secret(ctx: Context, name: str, namespace: str) -> V1Secret | None:
    try:
        return ctx.get(V1Secret, name, namespace=namespace)
    except InvalidObject:
        return None


async def _own_secret(certificate: Certificate, ctx: Context) -> V1Secret | None:
    """Return the Secret of a Certificate, whole where the Certificate owns it: also when its label was removed."""
    key = ObjectKey(certificate.metadata.namespace, certificate.spec.secret_name)
    secret = _secret(ctx, key.name, key.namespace)
    if secret is None or secret.metadata is None or secret.data is not None:
        return secret
    owner = controller_reference(secret.metadata)
    if owner is not None and owner.uid == certificate.metadata.uid:
        return await _live(V1Secret, key, ctx)
    return secret


def repair_cause(certificate: Certificate, ctx: Context) -> str:
    """Return what the Secret would be repaired for now: repairs for different causes do not slow each other."""
    return _repaired_for(_secret(ctx, certificate.spec.secret_name, certificate.metadata.namespace))


def _repaired_for(secret: V1Secret | None) -> str:
    return "deleted" if secret is None else "changed"


def kept_secrets(certificate: Certificate, ctx: Context) -> list[V1Secret]:
    """Return the Secrets under former names of a Certificate, as they are, that Pods still use."""
    namespace = certificate.metadata.namespace
    kept = []
    for key in ctx.keys(V1Secret, index=(_INDEX_OWNER, certificate.metadata.uid)):
        if key.name == certificate.spec.secret_name or key.namespace != namespace:
            continue
        secret = _secret(ctx, key.name, namespace)
        pods = ctx.list(V1Pod, index=(INDEX_SECRETS, str(key)))
        if secret is not None and secret.data and any(not has_ended(pod) for pod in pods):
            kept.append(same_secret(secret))
    return kept


def _annotations(secret: V1Secret) -> dict[str, str]:
    return dict((secret.metadata and secret.metadata.annotations) or {})


def _conflict(certificate: Certificate, secret: V1Secret | None, ctx: Context) -> Reject | None:
    """Return why the Certificate cannot own the Secret: an older one names it too, or it has another owner.

    What a deleted Certificate left behind is about to be deleted, too: that is not reported at
    once.
    """
    name, namespace = certificate.spec.secret_name, certificate.metadata.namespace
    mine = _seniority(certificate)
    writers = (_INDEX_SECRET, f"{namespace}/{name}")
    others = (
        ctx.list(Certificate, index=writers)
        if ctx.keys(Certificate, index=writers) != [certificate.key]
        else ()
    )
    older = [other for other in others if other.key != certificate.key and _seniority(other) < mine]
    if older:
        first = min(older, key=_seniority)
        why = (
            "which is older"
            if _seniority(first)[0] != mine[0]
            else "of the same age, and first by name"
        )
        return Reject(
            reasons.SECRET_CONFLICT,
            f"Choose another spec.secretName, or delete one of the two: Certificate {first.metadata.name}, {why}, "
            f"writes Secret {name} too",
            others=True,
        )
    if secret is None or secret.metadata is None:
        return None
    owner = controller_reference(secret.metadata)
    label = (secret.metadata.labels or {}).get(LABEL_OWNER_UID)
    if certificate.metadata.uid in {owner.uid if owner is not None else None, label}:
        return None
    made_by = f"{owner.kind} {owner.name}" if owner is not None else "another owner"
    return Reject(
        reasons.SECRET_CONFLICT,
        f"Choose another spec.secretName, or delete Secret {name}: it was created by {made_by} "
        f"and is not changed",
        absent=owner is not None and _is_gone(owner, ctx),
    )


def _is_gone(owner: Reference, ctx: Context) -> bool:
    """Return whether this was a Certificate that exists no more: the garbage collector removes what it owned."""
    if (owner.kind, owner.api_version.partition("/")[0]) != (Certificate.kind, GROUP):
        return False
    found = ctx.get(Certificate, owner.name, namespace=owner.namespace)
    return found is None or found.metadata.uid != owner.uid


def _seniority(certificate: Certificate) -> tuple[str, str]:
    """Return what sorts the oldest first, and by name those that were created within one second."""
    created = certificate.metadata.creation_timestamp
    return (format_time(created) if created is not None else "", certificate.metadata.name)


async def _signer_or_rejection(certificate: Certificate, ctx: Context) -> Signer | Reject:
    """Return the signer, or why there is none, by what the caches hold. Raises ClusterError."""
    issuer: AnyIssuer | None = None
    try:
        issuer = _issuer(certificate.spec.issuer_ref, certificate.metadata.namespace, ctx)
        return await signer_of(issuer, ctx) if issuer is not None else _no_issuer(certificate, ctx)
    except (SignerError, InvalidObject) as error:
        rejection = _unable(certificate, error)
    if (
        rejection.until is None
        and issuer is not None
        and is_true(issuer.status.conditions, "Ready")
    ):
        # what is seen here is not what the issuer says of itself: one of the two is about to change
        return replace(rejection, until=ctx.clock.now() + _LOOK_AGAIN)
    return rejection


def _issuer(reference: IssuerReference, namespace: str, ctx: Context) -> AnyIssuer | None:
    """Return an issuer, by what the caches hold. Raises InvalidObject."""
    if reference.kind == "Issuer":
        return ctx.get(Issuer, reference.name, namespace=namespace)
    return ctx.get(ClusterIssuer, reference.name)


def labels_of_issuer(reference: IssuerReference, namespace: str, ctx: Context) -> dict[str, str]:
    """Return the labels by which policies select an issuer; none where it is missing or cannot be read."""
    try:
        issuer = _issuer(reference, namespace, ctx)
    except InvalidObject:
        return {}
    return {} if issuer is None else dict(issuer.metadata.labels or {})


def _no_issuer(certificate: Certificate, ctx: Context) -> Reject:
    """Say that there is no such issuer; one of that name of the other kind is what is mostly meant."""
    reference = certificate.spec.issuer_ref
    if reference.kind == "Issuer":
        place = f" in namespace {certificate.metadata.namespace}"
        if _exists(ClusterIssuer, reference.name, ctx):
            message = (
                f"Set spec.issuerRef.kind to ClusterIssuer: ClusterIssuer {reference.name} exists, but there is no "
                f"Issuer {reference.name}{place}"
            )
            return Reject(reasons.ISSUER_NOT_FOUND, message, absent=True)
    else:
        place = ""
        if _exists(Issuer, reference.name, ctx, namespace=certificate.metadata.namespace):
            message = (
                f"Set spec.issuerRef.kind to Issuer: Issuer {reference.name} exists in namespace "
                f"{certificate.metadata.namespace}, but there is no ClusterIssuer {reference.name}"
            )
            return Reject(reasons.ISSUER_NOT_FOUND, message, absent=True)
    message = f"Create {reference.kind} {reference.name}{place}, or name another in spec.issuerRef: it does not exist"
    return Reject(reasons.ISSUER_NOT_FOUND, message, absent=True)


def _exists(
    kind: type[AnyIssuer], name: str, ctx: Context, *, namespace: str | None = None
) -> bool:
    try:
        return ctx.get(kind, name, namespace=namespace) is not None
    except InvalidObject:
        return True


def _unable(certificate: Certificate, error: SignerError | InvalidObject) -> Reject:
    reference = certificate.spec.issuer_ref
    if isinstance(error, InvalidObject):
        return Reject(
            reasons.ISSUER_NOT_READY, f"Correct {reference.kind} {reference.name}: {error}"
        )
    message = f"{error} ({reference.kind} {reference.name} cannot sign)"
    return Reject(reasons.ISSUER_NOT_READY, message, error.until, absent=error.absent)


async def signer_of(issuer: AnyIssuer, ctx: Context) -> Signer:
    """Return what signs for an issuer, by what the caches know. Raises SignerError, ClusterError."""
    key = _ca_secret(issuer)
    if key is None:
        return SelfSigner()
    cached = _secret(ctx, key.name, key.namespace)
    found = await ctx.memory(Authorities).signer(key, cached, ctx) if cached is not None else None
    return found or _no_ca(key, ctx)


def _ca_secret(issuer: AnyIssuer) -> ObjectKey | None:
    """Return which Secret holds the CA of an issuer, None for one that needs none. Raises SignerError."""
    spec = issuer.spec
    if (spec.ca is None) == (spec.self_signed is None):
        raise SignerError("Set exactly one of spec.ca and spec.selfSigned")
    if spec.ca is None:
        return None
    if spec_errors := read_issuer(spec):
        raise SignerError(describe(spec_errors), invalid=True)
    return ObjectKey(issuer.metadata.namespace or app.settings.own_namespace, spec.ca.secret_name)


def _no_ca(key: ObjectKey, ctx: Context) -> NoReturn:
    writers = ctx.list(Certificate, index=(_INDEX_SECRET, str(key)))
    if writers:
        writer = min(writers, key=_seniority).metadata.name
        message = (
            f"See the conditions of Certificate {writer}, which writes Secret {key}: the "
            f"Secret does not exist yet"
        )
    else:
        message = f"Create Secret {key} with the CA's tls.crt and tls.key: it does not exist"
    raise SignerError(message, absent=True)


# What the cluster itself says, where caches say that something is missing ------------------------------------------


async def look_again(seen: Observed, ctx: Context) -> Observed:
    """Return what was observed, with what is missing for a certificate as the cluster itself has it.

    Each kind has a watch of its own, so a Certificate may be seen before what was created earlier
    than it: that something is missing is said only when the cluster has it not. Raises
    ClusterError.
    """
    signer = seen.signer
    if isinstance(signer, Reject) and signer.absent:
        signer = await _live_signer_or_rejection(seen.certificate, ctx)
        if isinstance(signer, Reject):
            return replace(seen, signer=signer)
    return replace(seen, signer=signer, policies=await _live_policies(ctx))


async def look_again_for_signer(issuer: AnyIssuer, ctx: Context) -> Signer:
    """Return what signs for an issuer, by what the cluster itself holds. Raises SignerError, ClusterError."""
    key = _ca_secret(issuer)
    return (
        SelfSigner()
        if key is None
        else await ctx.memory(Authorities).read(key, ctx) or _no_ca(key, ctx)
    )


async def _live_signer_or_rejection(certificate: Certificate, ctx: Context) -> Signer | Reject:
    reference = certificate.spec.issuer_ref
    kind: type[AnyIssuer] = Issuer if reference.kind == "Issuer" else ClusterIssuer
    namespace = certificate.metadata.namespace if kind is Issuer else ""
    try:
        issuer = await _live(kind, ObjectKey(namespace, reference.name), ctx)
        return (
            await look_again_for_signer(issuer, ctx)
            if issuer is not None
            else _no_issuer(certificate, ctx)
        )
    except (SignerError, InvalidObject) as error:
        return _unable(certificate, error)


async def _live_policies(ctx: Context) -> list[CertificatePolicy]:
    found = []
    for written in (await ctx.api.list(CertificatePolicy.api_resource())).items:
        with suppress(InvalidObject):  # such a policy allows nothing, and reports so itself
            found.append(CertificatePolicy.read(written))
    return found


async def _live(kind: type[T], key: ObjectKey, ctx: Context) -> T | None:
    try:
        return read(
            kind,
            await ctx.api.get(api_resource_of(kind), key.name, namespace=key.namespace or None),
        )
    except NotFound:
        return None


async def look_for_missing(ctx: Context) -> datetime | None:
    """Look whether Secrets that Pods wait for, and perhaps mean this Certificate's, are missing still.

    Returns when to look again: what is applied together does not arrive together, so a Secret is
    missing only when the cluster itself has none two seconds later. Raises ClusterError.
    """
    moments, now = [], ctx.clock.now()
    for missing in ctx.memory(MissingSecrets).near(ctx.key):
        if missing.since is None or missing.since > now:
            missing.since = now
        if missing.confirmed:
            continue
        if now < missing.since + GRACE_PERIOD:
            moments.append(missing.since + GRACE_PERIOD)
        else:
            missing.confirmed = (
                await _live(V1Secret, ObjectKey(ctx.key.namespace, missing.name), ctx) is None
            )
    return min(moments, default=None)
