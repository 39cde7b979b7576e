"""Policy: which namespaces may ask for which certificates.

What belongs here: the decision about one request, made of small named checks, and the nearest name that would have been
allowed. What does not: whether the request makes sense (`operators.pki.request`). Pure.

A request is allowed when one policy that selects its namespace allows all of it. Where none does, the denial speaks
of the policy that came closest.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operators.pki.api import CertificatePolicy, CertificatePolicySpec
from operators.pki.request import Fault, Request, format_duration, parse_duration

__all__ = ["Denial", "check_policy", "decide", "nearest_name", "selects"]

NAMES_SHOWN = 5
_NO_NAME_IS_NEAR = "Ask for an allowed name"
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_KNOWN_PLACEHOLDERS = frozenset({"namespace"})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is not granted: one line, the remedy first. `absent` says that no policy selects the namespace."""

    message: str
    absent: bool = False


def decide(request: Request, namespace: str, policies: Sequence[CertificatePolicy]) -> Denial | None:
    """Return None when some policy allows the request in `namespace`, else the denial."""
    applicable = [policy for policy in policies if not check_policy(policy.spec) and selects(policy.spec, namespace)]
    if not applicable:
        return Denial(
            f"Ask a cluster administrator for a CertificatePolicy that selects namespace {namespace} and allows "
            f"{_some([name for _, name in request.names()])}: none does",
            absent=True,
        )
    if not all(any(_faults(request, namespace, policy.spec)) for policy in applicable):
        return None
    closest = min(applicable, key=lambda policy: _remoteness(policy, request, namespace))
    faults = list(_faults(request, namespace, closest.spec))
    allowed = [_expand(pattern, namespace) for pattern in closest.spec.allowed_names]
    text = "; ".join(str(fault) for fault in faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Denial(f"{text}{more}. CertificatePolicy {closest.metadata.name} allows {_some(allowed)} here")


def _remoteness(policy: CertificatePolicy, request: Request, namespace: str) -> tuple[int, int, int, str]:
    """Return what sorts first the policy that was meant: names tell that better than keys, usages and durations."""
    names = list(_names_allowed(request, namespace, policy.spec))
    strange = [fault for fault in names if fault.remedy == _NO_NAME_IS_NEAR]
    return len(names), len(strange), len(list(_faults(request, namespace, policy.spec))), policy.metadata.name


def selects(policy: CertificatePolicySpec, namespace: str) -> bool:
    """Tell whether a policy speaks of a namespace."""
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), namespace) is not None
        for pattern in policy.namespaces
    )


def check_policy(policy: CertificatePolicySpec) -> list[Fault]:
    """Say what cannot be understood in a policy; such a policy allows nothing."""
    faults = []
    for index, pattern in enumerate(policy.allowed_names):
        for name in _PLACEHOLDER.findall(pattern):
            if name not in _KNOWN_PLACEHOLDERS:
                field = f"spec.allowedNames[{index}]"
                faults.append(Fault(field, repr(pattern), "no such placeholder", "Use {{namespace}}, or none"))
    if policy.max_duration is not None:
        try:
            parse_duration(policy.max_duration)
        except ValueError as error:
            remedy = "Write a duration, such as 2160h for 90 days"
            faults.append(Fault("spec.maxDuration", repr(policy.max_duration), f"it {error}", remedy))
    return faults


def nearest_name(name: str, patterns: Sequence[str], namespace: str) -> str | None:
    """Return the allowed name that differs least from `name`, or None when all are far from it.

    The stars of a pattern take what `name` has in their place, so `*.a.svc` offers `web.a.svc` for `web.b.svc`.
    """
    candidates = {_resembling(name, _expand(pattern, namespace)) for pattern in patterns}
    ranked = sorted((_distance(name, candidate), candidate) for candidate in candidates if candidate)
    if not ranked or ranked[0][0] > max(2, len(name) // 2):
        return None
    return ranked[0][1]


def _faults(request: Request, namespace: str, policy: CertificatePolicySpec) -> Iterator[Fault]:
    """Apply every check to a request, in the order of a policy's fields."""
    yield from _names_allowed(request, namespace, policy)
    yield from _key_allowed(request, policy)
    yield from _usages_allowed(request, policy)
    yield from _duration_allowed(request, policy)
    yield from _ca_allowed(request, policy)


def _names_allowed(request: Request, namespace: str, policy: CertificatePolicySpec) -> Iterator[Fault]:
    for field, name in request.names():
        if any(_matches(name, _expand(pattern, namespace)) for pattern in policy.allowed_names):
            continue
        near = nearest_name(name, policy.allowed_names, namespace)
        remedy = f"Did you mean {near}?" if near else _NO_NAME_IS_NEAR
        yield Fault(field, repr(name), f"not allowed in namespace {namespace}", remedy)


def _key_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[Fault]:
    if request.algorithm not in policy.allowed_key_algorithms:
        remedy = f"Use a key of kind {_either(policy.allowed_key_algorithms)}"
        yield Fault("spec.privateKey.algorithm", request.algorithm, "not allowed", remedy)


def _usages_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[Fault]:
    for usage in request.usages:
        if usage not in policy.allowed_usages:
            yield Fault("spec.usages", repr(usage), "not allowed", f"Leave out the usage {usage}")


def _duration_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[Fault]:
    if policy.max_duration is not None and request.duration > parse_duration(policy.max_duration):
        remedy = f"Ask for at most {policy.max_duration}"
        yield Fault("spec.duration", format_duration(request.duration), "longer than allowed", remedy)


def _ca_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[Fault]:
    if request.is_ca and not policy.allow_ca:
        yield Fault("spec.isCA", "true", "CAs are not allowed", "Ask for a certificate that is no CA")


def _expand(pattern: str, namespace: str) -> str:
    return _PLACEHOLDER.sub(namespace, pattern)


def _matches(name: str, pattern: str) -> bool:
    address, network = _address(name), _network(pattern)
    if address is not None and network is not None:
        return address.version == network.version and address in network
    return re.fullmatch("[^./@]+".join(re.escape(part) for part in pattern.split("*")), name) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _resembling(name: str, pattern: str) -> str:
    """Return a name that `pattern` allows, with the parts of `name` where the pattern leaves a choice, or ""."""
    if "*" not in pattern:
        return "" if _network(pattern) is not None and "/" in pattern else pattern
    offered, wanted = pattern.split("."), name.split(".")
    parts = []
    for index, label in enumerate(offered):
        own = wanted[index] if index < len(wanted) else ""
        if label == "*":
            parts.append(own)
        elif "*" in label:
            before, _, after = label.partition("*")
            parts.append(f"{before}{own.removeprefix(before).removesuffix(after) or 'x'}{after}")
        else:
            parts.append(label)
    candidate = ".".join(parts)
    return candidate if _matches(candidate, pattern) else ""


def _distance(one: str, other: str) -> int:
    """Return how many letters must be inserted, removed or replaced to turn one text into the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, wanted in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != wanted))
    return row[-1]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def _either(words: Sequence[str]) -> str:
    return " or ".join(words) if words else "none: the policy allows no key at all"
