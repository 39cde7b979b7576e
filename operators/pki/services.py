"""Services: the names that a Pki gets for its Service.

What belongs here: which of the names policies allow, and why the others are left out. What does
not: the decision about a Certificate (`operators.pki.plan`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from operators.pki.api import CertificatePolicy, LeftOutName, Pki
from operators.pki.objects import certificate_of, names_of_service
from operators.pki.policy import Application, denied_names
from operators.pki.request import read_request
from operators.pki.rules import IssuerFacts

__all__ = ["Expansion", "expand_service"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """The names of a Pki's Certificate. `policy` is the one that allows them, None where none allows any.

    Where no name is allowed `names` has them all: the Certificate says why at its Pods.
    """

    names: list[str]
    left_out: list[LeftOutName]
    policy: str | None


def expand_service(
    pki: Pki,
    policies: Sequence[CertificatePolicy],
    *,
    issuer_labels: Mapping[str, str],
    cluster_domain: str,
) -> Expansion:
    """Return the names of the Service that one policy allows, of that policy that allows the most."""
    namespace, service = pki.metadata.namespace, pki.spec.service_name
    names = names_of_service(service, namespace, cluster_domain)
    request, _ = read_request(certificate_of(pki, names).spec)
    reference = pki.spec.issuer_ref
    application = Application(
        namespace=namespace,
        issuer=IssuerFacts(reference.kind, reference.name, issuer_labels),
        cluster_domain=cluster_domain,
        from_service=service,
    )
    if request is None:  # the Certificate says what is wrong with it
        return Expansion(names, [], None)
    denied, policy = denied_names(names, request, application, policies)
    left_out = [
        LeftOutName(name=name, reason=_reason(name, service, namespace, policy)) for name in denied
    ]
    granted = [name for name in names if name not in denied]
    return Expansion(granted or names, left_out, policy if granted else None)


def _reason(name: str, service: str, namespace: str, policy: str | None) -> str:
    form = {service: "Short", f"{service}.{namespace}": "Namespaced"}.get(name, "Full")
    if policy is None:
        return (
            f"Ask a cluster administrator for a CertificatePolicy that allows it in namespace "
            f"{namespace}: no policy does"
        )
    return f"Ask a cluster administrator to add {form} to spec.services of CertificatePolicy {policy}, if it must be"
