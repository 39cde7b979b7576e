"""Checking a CertificatePolicy: whether it is understood, and what in it is other than it seems.

What belongs here: errors, which make a policy allow nothing, and notes, which its condition shows.
What does not: what a policy allows (`operators.pki.rules`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from operators.pki.api import CertificatePolicySpec, NameConstraints, NameConstraintSubtrees
from operators.pki.constraints import is_bounded, unbounded_types
from operators.pki.patterns import (
    PLACEHOLDER,
    NameType,
    Requester,
    expand,
    pattern_error,
    placeholder_error,
)
from operators.pki.request import SpecError, duration_error, parse_duration

__all__ = ["check_policy", "notes_on", "some"]

NAMES_SHOWN = 5
_LABEL = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?")


def check_policy(policy: CertificatePolicySpec) -> list[SpecError]:
    """Say what cannot be understood in a policy; such a policy allows nothing."""
    spec_errors = [
        SpecError(f"{path}[{index}]", pattern, *problem)
        for path, kind, patterns in _pattern_fields(policy)
        for index, pattern in enumerate(patterns)
        if (problem := pattern_error(kind, pattern)) is not None
    ]
    spec_errors += _unknown_placeholders(policy)
    if policy.max_duration is not None:
        try:
            parse_duration(policy.max_duration)
        except ValueError as error:
            spec_errors.append(duration_error("spec.maxDuration", policy.max_duration, error))
    if policy.allow_ca and not is_bounded(policy.name_constraints) and not policy.allowed_names:
        remedy = "Set spec.nameConstraints to the names that a CA may sign, or remove spec.allowCA"
        spec_errors.append(
            SpecError("spec.nameConstraints", None, "a CA without them signs any name", remedy)
        )
    for path, subtrees in _subtrees(policy.name_constraints):
        spec_errors += _subtree_errors(path, subtrees)
    return spec_errors


def notes_on(policy: CertificatePolicySpec) -> list[str]:
    """Say what in a policy is understood, but allows less, or more, than it seems to."""
    notes = []
    if policy.allowed_names:
        notes.append(
            "spec.allowedNames is the older form, and allows DNS names only: move its patterns to spec.allow by type"
        )
    idle = [name for name in policy.allowed_names if not _can_be_dns(name)]
    if idle:
        notes.append(
            f"spec.allowedNames: {some(idle)} allow nothing, because they are not DNS names"
        )
    if policy.allow_ca and not is_bounded(policy.name_constraints):
        notes.append(
            "spec.allowCA allows nothing without spec.nameConstraints: set the names that a CA "
            "may sign"
        )
    elif policy.allow_ca and (free := unbounded_types(policy.name_constraints)):
        notes.append(
            f"spec.nameConstraints: a CA may sign any name of the types that it does not "
            f"mention: {some(free)}"
        )
    patterns = [*policy.allowed_names, *(policy.allow.dns_names if policy.allow else [])]
    if any(re.search(r"\*\.\{\{\s*namespace\s*\}\}$", pattern) for pattern in patterns):
        notes.append(
            "*.{{namespace}} allows Internet names in a namespace with the name of a top-level "
            "domain, such as dev"
        )
    if any(
        "serviceAccount" in pattern
        for _, _, listed in _pattern_fields(policy)
        for pattern in listed
    ):
        notes.append(
            "patterns with {{serviceAccount}} match nothing, because the requester is not recorded"
        )
    return notes


def _pattern_fields(policy: CertificatePolicySpec) -> Iterator[tuple[str, NameType, list[str]]]:
    allow = policy.allow
    if allow is not None:
        yield "spec.allow.dnsNames", "dnsNames", allow.dns_names
        yield "spec.allow.ipAddresses", "ipAddresses", allow.ip_addresses
        yield "spec.allow.uris", "uris", allow.uris
        yield "spec.allow.emailAddresses", "emailAddresses", allow.email_addresses
        yield "spec.allow.commonNames", "commonNames", allow.common_names


def _unknown_placeholders(policy: CertificatePolicySpec) -> Iterator[SpecError]:
    for index, pattern in enumerate(policy.allowed_names):
        if (problem := placeholder_error(pattern)) is not None:
            yield SpecError(f"spec.allowedNames[{index}]", pattern, *problem)


def _subtrees(constraints: NameConstraints | None) -> Iterator[tuple[str, NameConstraintSubtrees]]:
    if constraints is not None:
        if constraints.permitted is not None:
            yield "spec.nameConstraints.permitted", constraints.permitted
        if constraints.excluded is not None:
            yield "spec.nameConstraints.excluded", constraints.excluded


def _subtree_errors(path: str, subtrees: NameConstraintSubtrees) -> Iterator[SpecError]:
    for index, network in enumerate(subtrees.ip_ranges):
        if (problem := pattern_error("ipAddresses", network)) is not None:
            yield SpecError(f"{path}.ipRanges[{index}]", network, *problem)
    for name, texts in (("dnsDomains", subtrees.dns_domains), ("uriDomains", subtrees.uri_domains)):
        for index, text in enumerate(texts):
            plain = expand(text, Requester("n", "a")).removeprefix(".")
            if not all(_LABEL.fullmatch(label) for label in plain.split(".")):
                remedy = "Write a domain without stars, such as {{namespace}}.svc"
                yield SpecError(f"{path}.{name}[{index}]", text, "it is not a domain", remedy)
    for index, text in enumerate(subtrees.email_addresses):
        if "*" in text or not text.isascii():
            remedy = "Write an address, a host, or a domain such as .example.com"
            yield SpecError(
                f"{path}.emailAddresses[{index}]", text, "it is not an email constraint", remedy
            )


def _can_be_dns(pattern: str) -> bool:
    plain = PLACEHOLDER.sub("n", pattern)
    return (
        re.fullmatch(r"[A-Za-z0-9.*-]+", plain) is not None
        and pattern_error("ipAddresses", plain) is not None
    )


def some(names: Sequence[str]) -> str:
    """Write the first names of a list, and how many there are more."""
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
