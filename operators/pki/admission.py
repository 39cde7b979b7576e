"""Admission: requests that are invalid by themselves are rejected before they are stored.

What belongs here: validating Certificates and policies by themselves, and what a Certificate leaves
to be understood. What does not: whether a policy allows it (`operators.pki.policy`): policies
change, so that is evaluated, and reported, when a certificate is made. Pure, but for the
declarations.

An error that was there before does not stand in the way of another change: it is in a condition and
an Event already.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from datetime import timedelta

from operatorkit import AdmissionRequest, Allowed, Cause, Denied, Mutated
from operatorkit.webhooks import invalid, required
from operators.pki.api import (
    Certificate,
    CertificatePolicy,
    CertificateSpec,
    ClusterIssuer,
    Issuer,
    Pki,
)
from operators.pki.app import app
from operators.pki.policy_check import check_policy, notes_on
from operators.pki.request import (
    Request,
    SpecError,
    is_dns_name,
    read_issuer,
    read_pki,
    read_request,
)

__all__ = [
    "default_certificate",
    "new_errors",
    "validate_certificate",
    "validate_cluster_issuer",
    "validate_issuer",
    "validate_pki",
    "validate_policy",
    "warnings_of",
]

LONG_SERVER_LIFE = timedelta(days=825)
LONG_RSA_LIFE = timedelta(days=730)
LONG_KEY_LIFE = timedelta(days=398)
SHORT_NOTICE = timedelta(hours=24)

_INDEX = re.compile(r"\[\d+\]")


@app.validate(Certificate)
async def validate_certificate(
    new: Certificate, old: Certificate | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject what cannot be issued, all of it at once; warn of what is better not asked for."""
    del request
    if new.metadata.deletion_timestamp is not None or (old is not None and old.spec == new.spec):
        return Allowed()
    asked, spec_errors = read_request(new.spec)
    known = read_request(old.spec)[1] if old is not None else []
    if fresh := new_errors(spec_errors, known):
        return Denied(*(_cause(spec_error) for spec_error in fresh))
    return Allowed(warnings=[] if asked is None else warnings_of(asked))


@app.mutate(Certificate)
async def default_certificate(
    certificate: Certificate, request: AdmissionRequest
) -> Mutated[Certificate] | Allowed:
    """Make the common name, where it is a DNS name and the only name, the alternative name that verifiers look at.

    A common name that is changed later takes along the alternative name that was made of it.
    """
    spec = certificate.spec
    if spec.is_ca or not spec.common_name or not is_dns_name(spec.common_name):
        return Allowed()
    stands_alone = not _names(spec) or spec.dns_names == _made_of_the_common_name(request)
    if stands_alone and spec.dns_names != [spec.common_name]:
        spec.dns_names = [spec.common_name]
        return Mutated(certificate)
    return Allowed()


@app.validate(CertificatePolicy)
async def validate_policy(
    new: CertificatePolicy, old: CertificatePolicy | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject what cannot be understood: such a policy would allow nothing; warn of what is other than it seems."""
    del request
    if new.metadata.deletion_timestamp is not None or (old is not None and old.spec == new.spec):
        return Allowed()
    if fresh := new_errors(
        check_policy(new.spec), check_policy(old.spec) if old is not None else []
    ):
        return Denied(*(_cause(spec_error) for spec_error in fresh))
    return Allowed(warnings=notes_on(new.spec))


@app.validate(Issuer)
async def validate_issuer(
    new: Issuer, old: Issuer | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject a reference to a Secret that cannot exist."""
    del request
    return _check_issuer(new, old)


@app.validate(ClusterIssuer)
async def validate_cluster_issuer(
    new: ClusterIssuer, old: ClusterIssuer | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject a reference to a Secret that cannot exist."""
    del request
    return _check_issuer(new, old)


@app.validate(Pki)
async def validate_pki(new: Pki, old: Pki | None, request: AdmissionRequest) -> Allowed | Denied:
    """Reject what no Certificate could be made of."""
    del request
    if new.metadata.deletion_timestamp is not None:
        return Allowed()
    if fresh := new_errors(read_pki(new.spec), read_pki(old.spec) if old is not None else []):
        return Denied(*(_cause(spec_error) for spec_error in fresh))
    return Allowed()


def _check_issuer(
    new: Issuer | ClusterIssuer, old: Issuer | ClusterIssuer | None
) -> Allowed | Denied:
    if new.metadata.deletion_timestamp is not None:
        return Allowed()
    if fresh := new_errors(read_issuer(new.spec), read_issuer(old.spec) if old is not None else []):
        return Denied(*(_cause(spec_error) for spec_error in fresh))
    return Allowed()


def new_errors(spec_errors: Sequence[SpecError], known: Sequence[SpecError]) -> list[SpecError]:
    """Return the errors that were not there before; one that only moved within its list was."""
    before = {_identity(spec_error) for spec_error in known}
    return [spec_error for spec_error in spec_errors if _identity(spec_error) not in before]


def warnings_of(request: Request) -> list[str]:
    """Say what is legal in a request, but unwise, and what would be better."""
    found = []
    if "server auth" in request.usages and request.duration > LONG_SERVER_LIFE:
        found.append(
            f"spec.duration: some clients reject server certificates of more than {LONG_SERVER_LIFE.days} days"
        )
    if request.algorithm == "RSA" and request.size == 2048 and request.duration > LONG_RSA_LIFE:
        found.append(
            "spec.privateKey.size: 2048 bits are not enough for this duration: use 3072, or ECDSA"
        )
    if not request.rotate_key and request.duration > LONG_KEY_LIFE:
        found.append(
            "spec.privateKey.rotationPolicy: Never keeps the same key for years: use Always, or "
            "a shorter duration"
        )
    if (
        request.renew_before is not None
        and request.renew_before < SHORT_NOTICE < request.duration / 3
    ):
        found.append(
            "spec.renewBefore: less than 24h leaves little time to react to a failed renewal"
        )
    return found


def _identity(spec_error: SpecError) -> tuple[str, Hashable, str]:
    return _INDEX.sub("[]", spec_error.field), spec_error.value, spec_error.problem


def _cause(spec_error: SpecError) -> Cause:
    detail = f"{spec_error.problem}: {spec_error.remedy}"
    if spec_error.value is None:
        return required(spec_error.field, detail)
    return invalid(spec_error.field, spec_error.value, detail)


def _names(spec: CertificateSpec) -> list[str]:
    return [*spec.dns_names, *spec.ip_addresses, *spec.uris, *spec.email_addresses]


def _made_of_the_common_name(request: AdmissionRequest) -> list[str] | None:
    """Return the names that `default_certificate` gave to the object as it is now, if it did."""
    if request.old_object is None:
        return None
    spec = request.old_object.get("spec") or {}
    name, names = spec.get("commonName"), spec.get("dnsNames")
    return names if name and names == [name] else None
