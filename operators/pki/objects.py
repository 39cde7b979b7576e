"""The children: what is written for a certificate that was decided on.

What belongs here: the Secret of a Certificate, and the Certificate of a Pki. What does not:
deciding (`plan`) and writing (`reconcile`). Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from kubernetes.client.models import V1ObjectMeta, V1Secret

from operatorkit.names import DNS_SUBDOMAIN_MAX_LENGTH, shorten
from operatorkit.resource import ObjectMeta
from operators.pki.api import GROUP, Certificate, CertificateSpec, Pki
from operators.pki.issue import Material

__all__ = [
    "ANNOTATION_REQUEST",
    "ANNOTATION_REVISION",
    "certificate_of",
    "names_of_service",
    "same_secret",
    "secret_data",
    "secret_of",
]

ANNOTATION_REQUEST = f"{GROUP}/request"
ANNOTATION_REVISION = f"{GROUP}/revision"


def secret_of(
    certificate: Certificate, material: Material, *, request: str, revision: int
) -> V1Secret:
    """Return the Secret that holds a certificate; `request` is the digest of what it was made for."""
    return V1Secret(
        metadata=V1ObjectMeta(
            name=certificate.spec.secret_name,
            namespace=certificate.metadata.namespace,
            annotations={ANNOTATION_REQUEST: request, ANNOTATION_REVISION: str(revision)},
        ),
        type="kubernetes.io/tls",
        data={name: base64.b64encode(value).decode() for name, value in material.data().items()},
    )


def same_secret(secret: V1Secret) -> V1Secret:
    """Return a Secret that `secret_of` made, as it is, to be applied again so that it stays."""
    assert secret.metadata is not None
    annotations = secret.metadata.annotations or {}
    return V1Secret(
        metadata=V1ObjectMeta(
            name=secret.metadata.name,
            namespace=secret.metadata.namespace,
            annotations={
                name: annotations[name]
                for name in (ANNOTATION_REQUEST, ANNOTATION_REVISION)
                if name in annotations
            },
        ),
        type=secret.type,
        data=secret.data,
    )


def secret_data(secret: V1Secret) -> dict[str, bytes]:
    """Return the decoded data of a Secret; what is not base64 is left out."""
    data = {}
    for name, value in (secret.data or {}).items():
        try:
            data[name] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
    return data


def certificate_of(pki: Pki, dns_names: Sequence[str]) -> Certificate:
    """Return the Certificate that a Pki stands for, with these names."""
    name = pki.metadata.name
    return Certificate(
        metadata=ObjectMeta(name=name, namespace=pki.metadata.namespace),
        spec=CertificateSpec(
            secret_name=pki.spec.secret_name or shorten(f"{name}-tls", DNS_SUBDOMAIN_MAX_LENGTH),
            issuer_ref=pki.spec.issuer_ref,
            dns_names=list(dns_names),
        ),
    )


def names_of_service(service: str, namespace: str, cluster_domain: str) -> list[str]:
    """Return the DNS names by which a cluster knows a Service."""
    return [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.{cluster_domain}",
    ]
