"""From objects of the cluster to the values that the decision takes.

What belongs here: reading policies and authorities from the caches, and which policies are about a namespace. What does
not: the decision (`policy`). No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kubernetes.client.models import V1Namespace

from operatorkit.context import ObjectReader
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches
from operators.attestation.api import (
    AttestationAuthority,
    AuthorityReference,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
    VulnerabilityRule,
)
from operators.attestation.exceptions import PolicyException
from operators.attestation.policy import Authority, AuthorityKey, Policy, Revocation, Revocations
from operators.attestation.signatures import VerificationKey
from operators.attestation.vulnerabilities import VulnerabilityPolicy

__all__ = [
    "KINDS",
    "authorities_for",
    "authority_of",
    "exception_of",
    "exceptions_for",
    "exceptions_of_pod",
    "policies_for",
    "policy_of",
    "revocations",
    "servers",
]

KINDS: Final[tuple[type[Any], ...]] = (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
    V1Namespace,
)
"""The kinds that a decision reads."""


def policies_for(namespace: str, reader: ObjectReader) -> list[Policy]:
    """Return the policies that are about a namespace."""
    labels = _labels(namespace, reader)
    cluster = [
        policy_of(policy)
        for policy in reader.list(ClusterImagePolicy)
        if labels is None or _is_about(policy, labels)
    ]
    return [
        *cluster,
        *(policy_of(policy) for policy in reader.list(ImagePolicy, namespace=namespace)),
    ]


def authorities_for(namespace: str, reader: ObjectReader) -> dict[AuthorityKey, Authority]:
    """Return the authorities that policies of a namespace and of the cluster can refer to."""
    found: list[AttestationAuthority | ClusterAttestationAuthority] = [
        *reader.list(ClusterAttestationAuthority),
        *reader.list(AttestationAuthority, namespace=namespace),
    ]
    return {authority.key: authority for authority in map(authority_of, found)}


def exceptions_for(namespace: str, reader: ObjectReader) -> list[PolicyException]:
    """Return the exceptions of a namespace."""
    return [exception_of(one) for one in reader.list(ImagePolicyException, namespace=namespace)]


def exceptions_of_pod(pod: ObjectKey, reader: ObjectReader) -> list[PolicyException]:
    """Return the exceptions that a running Pod was admitted by, as far as they still hold."""
    return [
        replace(exception_of(one), uses_left=1)
        for one in reader.list(ImagePolicyException, namespace=pod.namespace)
        if any(use.pod == pod.name for use in one.status.uses)
    ]


def exception_of(obj: ImagePolicyException) -> PolicyException:
    """Return an exception as a value."""
    return PolicyException(
        name=obj.metadata.name,
        digests=frozenset(obj.spec.digests),
        reason=obj.spec.reason,
        expires=obj.spec.expires,
        uses_left=obj.spec.max_uses - len(obj.status.uses),
    )


def revocations(reader: ObjectReader) -> Revocations:
    """Return what is revoked."""
    found = [
        (one.spec, Revocation(one.metadata.name, one.spec.reason))
        for one in sorted(reader.list(ImageRevocation), key=lambda one: one.metadata.name)
    ]
    return Revocations(
        digests={spec.digest: one for spec, one in found if spec.digest is not None},
        keys={
            spec.key_fingerprint.lower(): one
            for spec, one in found
            if spec.key_fingerprint is not None
        },
    )


def servers(reader: ObjectReader) -> dict[str, GrafeasServer]:
    """Return the metadata servers by their names."""
    return {server.metadata.name: server for server in reader.list(GrafeasServer)}


def authority_of(obj: AttestationAuthority | ClusterAttestationAuthority) -> Authority:
    """Return an authority as a value."""
    return Authority(
        key=(obj.kind, obj.metadata.namespace, obj.metadata.name),
        note=obj.spec.note_reference,
        server=obj.spec.server,
        keys=tuple(
            VerificationKey(
                id=key.id,
                type=key.type,
                public_key=key.public_key.encode(),
                signature_algorithm=key.signature_algorithm,
                not_before=key.not_before,
                not_after=key.not_after,
                revoked_at=key.revoked_at,
            )
            for key in obj.spec.keys
        ),
        identity=obj.spec.identity,
        max_age=obj.spec.max_age,
    )


def policy_of(obj: ImagePolicy | ClusterImagePolicy) -> Policy:
    """Return a policy as a value."""
    require = obj.spec.require
    if require is None:
        references, count = [], 0  # its vulnerability rule alone decides
    elif require.threshold is not None:
        references, count = require.threshold.authorities, require.threshold.count
    elif require.any_of is not None:
        references, count = require.any_of, 1
    else:
        references = require.all_of or []
        count = max(len(references), 1)
    if require is None and obj.spec.vulnerability is None:
        count = 1  # nothing can pass a policy that says nothing
    namespace = obj.metadata.namespace
    return Policy(
        shown=f"{obj.kind} {f'{namespace}/' if namespace else ''}{obj.metadata.name}",
        scope="namespace" if namespace else "cluster",
        images=tuple(obj.spec.match.images),
        exempt=tuple(obj.spec.exempt),
        authorities=tuple(_key(reference, namespace) for reference in references),
        count=count,
        mode=obj.spec.mode,
        allow_on_backend_error=obj.spec.on_backend_error == "Allow",
        resolves_tags=obj.spec.tags == "Resolve",
        vulnerability=_vulnerability(obj.spec.vulnerability),
        builders=frozenset(
            obj.spec.provenance.builder_ids if obj.spec.provenance is not None else ()
        ),
    )


def _vulnerability(rule: VulnerabilityRule | None) -> VulnerabilityPolicy | None:
    if rule is None:
        return None
    return VulnerabilityPolicy(
        server=rule.server,
        parent=rule.parent,
        maximum=rule.maximum_severity,
        maximum_without_fix=rule.maximum_fix_unavailable_severity or rule.maximum_severity,
        allowed=tuple((one.id, one.expires) for one in rule.allow_cves),
        require_scan=rule.require_scan,
        max_scan_age=rule.max_scan_age,
    )


def _is_about(policy: ClusterImagePolicy, labels: Mapping[str, str]) -> bool:
    selector = policy.spec.match.namespace_selector
    return selector is None or matches(selector, labels)


def _key(reference: AuthorityReference, namespace: str) -> AuthorityKey:
    return (
        reference.kind,
        namespace if reference.kind == "AttestationAuthority" else "",
        reference.name,
    )


def _labels(namespace: str, reader: ObjectReader) -> Mapping[str, str] | None:
    """Return the labels of a namespace; None while it is not known: then every policy is about it."""
    found = reader.get(V1Namespace, namespace)
    if found is None or found.metadata is None:
        return None
    return {**(found.metadata.labels or {}), "kubernetes.io/metadata.name": namespace}
