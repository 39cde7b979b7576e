"""Policy: which namespaces may ask which issuers for which certificates.

What belongs here: the decision about one request. What does not: the rules of one policy
(`operators.pki.rules`), the words of a denial (`operators.pki.denial`), and whether the request
makes sense (`operators.pki.request`). Pure.

A request is allowed when one policy that selects its namespace allows all of it. Where none does,
the denial speaks of the policy that came closest.

The cost of a decision is bounded: a policy is compiled once per generation, every name is matched
once against each policy, a request of more names than any policy admits is not matched at all, and
suggestions are made for the names that the denial shows, from a bounded number of candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.pki.api import AllowedNames, CertificatePolicy, NameConstraints
from operators.pki.denial import Denial, Judgement, deny, no_policy, type_of
from operators.pki.request import Request
from operators.pki.rules import Application, Name, rules_of, selects

__all__ = ["Application", "Denial", "Grant", "decide", "denied_names", "is_costly"]

CHEAP = 1500
"""Names times policies, and patterns, that are decided on within a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The request is allowed by this policy; a CA gets its name constraints."""

    policy: str
    name_constraints: NameConstraints | None = None


def decide(
    request: Request, application: Application, policies: Sequence[CertificatePolicy]
) -> Grant | Denial:
    """Return the grant of the first policy, by name, that allows the request, or else the denial."""
    compiled = [
        rules_of(policy) for policy in sorted(policies, key=lambda policy: policy.metadata.name)
    ]
    applicable = [
        one for one in compiled if not one.spec_errors and selects(one.spec, application.namespace)
    ]
    if not applicable:
        return no_policy(request, application)
    names = request.names()
    if len(names) > (most := max(one.spec.max_names for one in applicable)):
        return Denial(
            f"Request at most {most} names (spec has {len(names)}), or split the certificate"
        )
    evaluated, read = (
        [],
        [(path, Name.read(type_of(path), name, application)) for path, name in names],
    )
    for policy in applicable:
        denied = [
            (path, name)
            for path, name in read
            if not policy.allows_name(name, application.requester)
        ]
        others = list(policy.other_errors(request, application))
        if not denied and not others:
            return Grant(policy.name, policy.constraints(application) if request.is_ca else None)
        evaluated.append(Judgement(policy, denied, others))
    return deny(evaluated, application)


def denied_names(
    names: Sequence[str],
    request: Request,
    application: Application,
    policies: Sequence[CertificatePolicy],
) -> tuple[list[str], str | None]:
    """Return which DNS names no single policy allows together with the rest, and the policy that allows the most.

    `request` is what they are asked for with. The policy is None where none selects the namespace
    or allows the rest.
    """
    best: tuple[list[str], str | None] = (list(names), None)
    read = [Name.read("dnsNames", name, application) for name in names]
    for policy in map(rules_of, sorted(policies, key=lambda policy: policy.metadata.name)):
        if policy.spec_errors or not selects(policy.spec, application.namespace):
            continue
        if any(policy.other_errors(request, application)):
            continue
        denied = [name.text for name in read if not policy.allows_name(name, application.requester)]
        if best[1] is None or len(denied) < len(best[0]):
            best = denied, policy.name
    return best


def is_costly(request: Request, policies: Sequence[CertificatePolicy]) -> bool:
    """Return whether a decision may take more than about five milliseconds: make it off the event loop then."""
    patterns = sum(
        len(policy.spec.allowed_names) + _patterns(policy.spec.allow) for policy in policies
    )
    return len(request.names()) * len(policies) + patterns > CHEAP


def _patterns(allow: AllowedNames | None) -> int:
    if allow is None:
        return 0
    lists = (
        allow.dns_names,
        allow.ip_addresses,
        allow.uris,
        allow.email_addresses,
        allow.common_names,
    )
    return sum(map(len, lists))
