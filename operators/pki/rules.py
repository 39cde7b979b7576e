"""The rules of one policy: compiled, and applied to a request.

What belongs here: small named checks, one for each field of a policy. What does not: choosing among
policies (`operators.pki.policy`), how patterns match (`operators.pki.patterns`), and whether a
policy is understood (`operators.pki.policy_check`). Pure.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from operatorkit.names import dns_label_error
from operatorkit.selectors import matches
from operators.pki.api import (
    CertificatePolicy,
    CertificatePolicySpec,
    IssuerSelector,
    NameConstraints,
    ServiceForm,
)
from operators.pki.constraints import expanded, is_bounded
from operators.pki.patterns import Addresses, NameType, Requester, Token, Trie, pattern_error, split
from operators.pki.policy_check import check_policy
from operators.pki.request import Request, SpecError, format_duration, parse_duration

__all__ = [
    "DEFAULT_CLUSTER_DOMAIN",
    "Application",
    "IssuerFacts",
    "Name",
    "Rules",
    "rules_of",
    "selects",
]

DEFAULT_CLUSTER_DOMAIN = "cluster.local"
COMPILED_POLICIES = 1024


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """The issuer that a request names, as policies select it."""

    kind: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Who asks whom, and where; `from_service` is set where all names come from the serviceName of a Pki."""

    namespace: str
    issuer: IssuerFacts | None = None
    service_account: str | None = None
    cluster_domain: str = DEFAULT_CLUSTER_DOMAIN
    from_service: str | None = None
    requester: Requester = field(init=False)
    """What placeholders stand for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "requester", Requester(self.namespace, self.service_account))


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a request, read once for all policies; `form` is that of a Service of the requester's."""

    kind: NameType
    text: str
    tokens: tuple[Token, ...]
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    form: ServiceForm | None
    reserved: bool

    @classmethod
    def read(cls, kind: NameType, text: str, application: Application) -> Name:
        """Read a canonical name."""
        is_dns = kind == "dnsNames"
        if kind == "ipAddresses":
            return cls(kind, text, (), ipaddress.ip_address(text), None, reserved=False)
        return cls(
            kind,
            text,
            tuple(split(kind, text)),
            None,
            _service_form(text, application) if is_dns else None,
            is_dns and _is_reserved(text, application.cluster_domain),
        )


def selects(policy: CertificatePolicySpec, namespace: str) -> bool:
    """Return whether a policy speaks of a namespace."""
    return any(_like(namespace, pattern) for pattern in policy.namespaces)


# One policy, compiled ------------------------------------------------------------------------------------------------


class Rules:
    """A policy with its patterns compiled."""

    def __init__(self, name: str, spec: CertificatePolicySpec) -> None:
        self.name = name
        self.spec = spec
        self.spec_errors = check_policy(spec)
        allow = None if self.spec_errors else spec.allow
        older = [
            pattern for pattern in spec.allowed_names if pattern_error("dnsNames", pattern) is None
        ]
        dns_names = [*older, *(allow.dns_names if allow else [])]
        self.tries: dict[NameType, Trie] = {
            "dnsNames": Trie("dnsNames", dns_names),
            "uris": Trie("uris", allow.uris if allow else []),
            "emailAddresses": Trie("emailAddresses", allow.email_addresses if allow else []),
            "commonNames": Trie("commonNames", allow.common_names if allow else []),
        }
        self.forms: list[ServiceForm] = (
            spec.services if spec.services is not None else _default_forms(spec)
        )
        self.addresses = Addresses(allow.ip_addresses if allow else [])
        self.max_duration: timedelta | None = None
        if not self.spec_errors and spec.max_duration is not None:
            self.max_duration = parse_duration(spec.max_duration)

    def allows_name(self, name: Name, requester: Requester) -> bool:
        """Return whether the policy allows one name."""
        if name.kind == "ipAddresses":
            return name.address is not None and self.addresses.matches(name.address)
        trie = self.tries[name.kind]
        if name.reserved:
            return trie.spells_out(name.text)
        return (name.form is not None and name.form in self.forms) or trie.matches(
            name.tokens, requester
        )

    def other_errors(self, request: Request, application: Application) -> Iterator[SpecError]:
        """Apply every check but that of the names, in the order of a policy's fields."""
        yield from _issuer_allowed(application.issuer, self.spec)
        if len(request.names()) > self.spec.max_names:
            remedy = f"Request at most {self.spec.max_names} names, or split the certificate"
            yield SpecError(
                "spec", None, "more than allowed", remedy, shown=f"{len(request.names())} names"
            )
        yield from _key_allowed(request, self.spec)
        yield from _usages_allowed(request, self.spec)
        if self.max_duration is not None and request.duration > self.max_duration:
            remedy = f"Request at most {self.spec.max_duration}"
            yield SpecError(
                "spec.duration",
                None,
                "longer than allowed",
                remedy,
                shown=format_duration(request.duration),
            )
        yield from _ca_allowed(request, self)

    def patterns(self, kind: NameType, application: Application) -> list[str]:
        """Return the patterns of a type, and for DNS those that the forms of Services stand for."""
        if kind == "ipAddresses":
            return self.addresses.patterns
        services = _service_patterns(self.forms, application) if kind == "dnsNames" else []
        return [*self.tries[kind].patterns, *services]

    def constraints(self, application: Application) -> NameConstraints | None:
        """Return the name constraints of a CA, with the namespace in them."""
        return expanded(self.spec.name_constraints, application.requester)


@dataclass(frozen=True, slots=True)
class _Version:
    """A policy as of one generation: equal ones are compiled once."""

    uid: str
    generation: int
    name: str = field(compare=False)
    spec: CertificatePolicySpec = field(compare=False)


def rules_of(policy: CertificatePolicy) -> Rules:
    """Return the rules of a policy; those of one generation are compiled once."""
    metadata = policy.metadata
    if (
        not metadata.uid
    ):  # it is not from a server, so nothing distinguishes one version from another
        return Rules(metadata.name, policy.spec)
    return _compiled(_Version(metadata.uid, metadata.generation, metadata.name, policy.spec))


@functools.lru_cache(maxsize=COMPILED_POLICIES)
def _compiled(version: _Version) -> Rules:
    return Rules(version.name, version.spec)


# Checks --------------------------------------------------------------------------------------------------------------


def _issuer_allowed(
    issuer: IssuerFacts | None, policy: CertificatePolicySpec
) -> Iterator[SpecError]:
    if not policy.issuers or (
        issuer is not None and any(_is_selected(issuer, each) for each in policy.issuers)
    ):
        return
    named = "None" if issuer is None else f"{issuer.kind} {issuer.name}"
    yield SpecError(
        "spec.issuerRef",
        None,
        "not allowed",
        f"Use {_either([_in_words(each) for each in policy.issuers])}",
        shown=named,
    )


def _is_selected(issuer: IssuerFacts, selector: IssuerSelector) -> bool:
    if selector.kind is not None and selector.kind != issuer.kind:
        return False
    if selector.name is not None and not _like(issuer.name, selector.name):
        return False
    return selector.selector is None or matches(selector.selector, issuer.labels)


def _in_words(selector: IssuerSelector) -> str:
    named = f"{selector.kind or 'Issuer or ClusterIssuer'} {selector.name or '*'}"
    return (
        f"{named} with the labels that the policy selects"
        if selector.selector is not None
        else named
    )


def _key_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[SpecError]:
    if request.algorithm not in policy.allowed_key_algorithms:
        remedy = f"Use a key of kind {_either(policy.allowed_key_algorithms)}"
        yield SpecError(
            "spec.privateKey.algorithm",
            request.algorithm,
            "not allowed",
            remedy,
            shown=request.algorithm,
        )


def _usages_allowed(request: Request, policy: CertificatePolicySpec) -> Iterator[SpecError]:
    for usage in request.usages:
        if usage not in policy.allowed_usages:
            yield SpecError("spec.usages", usage, "not allowed", f"Leave out the usage {usage}")


def _ca_allowed(request: Request, policy: Rules) -> Iterator[SpecError]:
    if not request.is_ca:
        return
    if not policy.spec.allow_ca:
        yield SpecError(
            "spec.isCA",
            True,
            "CAs are not allowed",
            "Request a certificate that is not a CA",
            shown="true",
        )
    elif not is_bounded(policy.spec.name_constraints):
        remedy = f"Ask a cluster administrator for spec.nameConstraints in CertificatePolicy {policy.name}"
        yield SpecError(
            "spec.isCA",
            True,
            "the policy does not set the names that a CA may sign",
            remedy,
            shown="true",
        )


def _is_reserved(name: str, domain: str) -> bool:
    """Return whether a DNS name, or one that its wildcard covers, is of the machine itself or the API server."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    api_server = "kubernetes.default.svc." + domain
    names = [api_server, *("kubernetes.default.svc".rsplit(".", count)[0] for count in range(3))]
    if name.startswith("*."):
        return any(one.partition(".")[2] == name[2:] for one in names)
    return name in names


def _service_form(name: str, application: Application) -> ServiceForm | None:
    """Return as which form of the name of a Service in the requester's namespace a DNS name may be read."""
    service, _, rest = name.partition(".")
    if dns_label_error(service) is not None:
        return None
    namespace = application.namespace
    if not rest:
        return "Short"
    if rest == namespace:
        return "Namespaced"
    return (
        "Full"
        if rest in {f"{namespace}.svc", f"{namespace}.svc.{application.cluster_domain}"}
        else None
    )


def _service_patterns(forms: Sequence[ServiceForm], application: Application) -> list[str]:
    namespace = application.namespace
    patterns: dict[ServiceForm, list[str]] = {
        "Full": [f"*.{namespace}.svc", f"*.{namespace}.svc.{application.cluster_domain}"],
        "Namespaced": [f"*.{namespace}"],
        "Short": ["*"],
    }
    return [pattern for form in forms for pattern in patterns[form]]


def _default_forms(policy: CertificatePolicySpec) -> list[ServiceForm]:
    """Return the forms of Services' names where the policy does not say: an older policy did not allow any."""
    return [] if policy.allowed_names else ["Full"]


def _like(text: str, pattern: str) -> bool:
    """Return whether a name matches a pattern in which * stands for any number of characters. Takes linear time."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _either(words: Sequence[str]) -> str:
    return " or ".join(words) if words else "none: the policy allows no key"
