"""Denials: why a request is not granted, and the nearest one that would be.

What belongs here: the words of a denial. What does not: what is denied (`operators.pki.rules`).
Pure.

The denial speaks of the policy that came closest, and shows the first names that are denied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operators.pki.patterns import NameType, expand
from operators.pki.policy_check import some
from operators.pki.request import Request, SpecError
from operators.pki.rules import Application, Name, Rules
from operators.pki.suggest import Budget, nearest

__all__ = ["Denial", "Judgement", "deny", "no_policy", "type_of"]

ERRORS_SHOWN = 3
CLOSEST_COMPARED = 5
VALUE_SHOWN = 80

_FIELDS: dict[str, NameType] = {
    "spec.dnsNames": "dnsNames",
    "spec.ipAddresses": "ipAddresses",
    "spec.uris": "uris",
    "spec.emailAddresses": "emailAddresses",
    "spec.commonName": "commonNames",
}
_KINDS_IN_WORDS: dict[NameType, str] = {
    "dnsNames": "DNS name",
    "ipAddresses": "IP address",
    "uris": "URI",
    "emailAddresses": "email address",
    "commonNames": "common name of a CA",
}


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is not granted: one line, the remedy first. `absent` says that no policy selects the namespace."""

    message: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one policy does not allow."""

    policy: Rules
    denied: list[tuple[str, Name]]
    others: list[SpecError]


def no_policy(request: Request, application: Application) -> Denial:
    """Return the denial where no policy speaks of the namespace."""
    names = [_shown(name) for _, name in request.names()]
    return Denial(
        f"Ask a cluster administrator for a CertificatePolicy that selects namespace "
        f"{application.namespace} and allows {some(names)}: no policy does",
        absent=True,
    )


def deny(evaluated: Sequence[Judgement], application: Application) -> Denial:
    """Describe the policy that was meant: names show that better than keys, usages and durations."""
    fewest = min(len(each.denied) for each in evaluated)
    closest = sorted(
        (each for each in evaluated if len(each.denied) == fewest),
        key=lambda each: (len(each.others), each.policy.name),
    )[:CLOSEST_COMPARED]
    budget, described = Budget(), list[tuple[int, int, int, Judgement, list[SpecError]]]()
    for rank, each in enumerate(closest):
        spec_errors = list(_name_errors(each, application, budget))
        strange = sum(
            not spec_error.remedy.startswith("Did you mean") for spec_error in spec_errors
        )
        described.append((strange, len(each.others), rank, each, spec_errors))
    _, _, _, chosen, names = min(described, key=lambda each: each[:3])
    hidden = 0 if application.from_service else len(chosen.denied) - len(names)
    spec_errors = [*names, *chosen.others]
    text = "; ".join(str(spec_error) for spec_error in spec_errors[:ERRORS_SHOWN])
    more = len(spec_errors[ERRORS_SHOWN:]) + hidden
    types: dict[NameType, None] = dict.fromkeys(name.kind for _, name in chosen.denied) or {
        "dnsNames": None
    }
    allowed = [
        _shown(pattern) for kind in types for pattern in chosen.policy.patterns(kind, application)
    ]
    words = " or ".join(_KINDS_IN_WORDS[kind] for kind in types)
    what = expand(some(allowed), application.requester) if allowed else f"no {words}"
    return Denial(
        f"{text}{f'; and {more} more' if more else ''}. CertificatePolicy {chosen.policy.name} allows {what} here"
    )


def _name_errors(
    judgement: Judgement, application: Application, budget: Budget
) -> Iterator[SpecError]:
    """Describe the first names that are denied, each with the nearest one that is allowed."""
    policy = judgement.policy
    shown = judgement.denied[:ERRORS_SHOWN]
    if application.from_service is not None and shown:
        yield _service_error(judgement, application, application.from_service, budget)
        return
    for path, name in shown:
        near = None
        if name.kind != "ipAddresses":
            near = _nearest(policy, name.kind, name.text, application, budget)
        remedy = (
            f"Did you mean {near}?" if near else f"Request an allowed {_KINDS_IN_WORDS[name.kind]}"
        )
        yield SpecError(
            path,
            _shown(name.text),
            f"not allowed in namespace {application.namespace}",
            remedy,
        )


def _service_error(
    judgement: Judgement, application: Application, service: str, budget: Budget
) -> SpecError:
    """Describe denied names by the field of the Pki that they come from."""
    namespace = application.namespace
    near = _nearest(judgement.policy, "dnsNames", f"{service}.{namespace}.svc", application, budget)
    other, _, rest = (near or "").partition(".")
    if other and other != service and rest == f"{namespace}.svc":
        remedy = f"Did you mean {other}?"
    else:
        remedy = (
            "Ask a cluster administrator to allow it in spec.services of CertificatePolicy "
            f"{judgement.policy.name}"
        )
    names = some([name.text for _, name in judgement.denied])
    return SpecError(
        "spec.serviceName", service, f"not allowed in namespace {namespace}: {names}", remedy
    )


def _nearest(
    policy: Rules, kind: NameType, name: str, application: Application, budget: Budget
) -> str | None:
    return nearest(
        kind,
        name,
        policy.patterns(kind, application),
        application.requester,
        allowed=lambda candidate: policy.allows_name(
            Name.read(kind, candidate, application), application.requester
        ),
        budget=budget,
    )


def type_of(path: str) -> NameType:
    """Return the type of the names of a field."""
    return _FIELDS[path.partition("[")[0]]


def _shown(name: str) -> str:
    return name if len(name) <= VALUE_SHOWN else f"{name[:VALUE_SHOWN]}..."
