"""The kinds of pki.operatorkit.dev/v1alpha1.

What belongs here: the resource classes, their defaults, and the rules that the API server can check
by itself. What does not: what the rules of a server cannot say (`operators.pki.request`) and which
names a team may ask for (`operators.pki.policy`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from operatorkit.conditions import Condition
from operatorkit.names import DNS_LABEL_PATTERN
from operatorkit.resource import (
    LabelSelector,
    Model,
    PrinterColumn,
    Resource,
    Rule,
    Time,
    exactly_one_of,
)

__all__ = [
    "GROUP",
    "AllowedNames",
    "CaSource",
    "Certificate",
    "CertificatePolicy",
    "CertificatePolicySpec",
    "CertificatePolicyStatus",
    "CertificateSpec",
    "CertificateStatus",
    "ClusterIssuer",
    "Issuer",
    "IssuerReference",
    "IssuerSelector",
    "IssuerSpec",
    "IssuerStatus",
    "KeyAlgorithm",
    "LeftOutName",
    "NameConstraintSubtrees",
    "NameConstraints",
    "Pki",
    "PkiSpec",
    "PkiStatus",
    "PrivateKey",
    "SelfSigned",
    "ServiceForm",
    "Usage",
]

GROUP = "pki.operatorkit.dev"
VERSION = "v1alpha1"

KeyAlgorithm = Literal["ECDSA", "RSA", "Ed25519"]
Usage = Literal["server auth", "client auth"]
ServiceForm = Literal["Full", "Namespaced", "Short"]

_CATEGORY = (
    "pki-all"  # not pki: kubectl would take that for the category where the kind Pki is meant
)
_DURATION = r"self.matches('^([0-9]+([.][0-9]+)?(h|m|s))+$')"
_AGE = PrinterColumn("Age", ".metadata.creationTimestamp", type="date")
_READY = PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status')
_REASON = PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason')

# Durations stay text here: what is wrong with one is said with the remedy, by the operator where a server does not
# evaluate rules, and an object with a bad one can still be read. `operators.pki.request` makes them timedelta.

_OBJECT_NAME = Rule(
    f"self.matches('^{DNS_LABEL_PATTERN}([.]{DNS_LABEL_PATTERN})*$')",
    message="must be a valid name of an object: lower case letters, digits, '-' and '.'",
)

SecretName = Annotated[str, Field(min_length=1, max_length=253), _OBJECT_NAME]
ObjectName = Annotated[str, Field(min_length=1, max_length=253), _OBJECT_NAME]
DnsName = Annotated[str, Field(min_length=1, max_length=253)]
IpAddress = Annotated[str, Field(min_length=2, max_length=45)]
Uri = Annotated[str, Field(min_length=1, max_length=2048)]
EmailAddress = Annotated[str, Field(min_length=3, max_length=254)]
Duration = Annotated[
    str,
    Field(max_length=32),
    Rule(
        f"{_DURATION} && duration(self) >= duration('1h')",
        message="must be at least 1h, written in hours, minutes and seconds: 2160h is 90 days",
    ),
]
ShortDuration = Annotated[
    str,
    Field(max_length=32),
    Rule(
        f"{_DURATION} && duration(self) >= duration('5m')",
        message="must be at least 5m, written in hours, minutes and seconds: 720h is 30 days",
    ),
]


class IssuerReference(Model):
    """Who signs."""

    kind: Literal["Issuer", "ClusterIssuer"] = "Issuer"
    """Issuer, in the namespace of the certificate, or ClusterIssuer."""
    name: ObjectName
    """Name of the issuer."""


class PrivateKey(Model):
    """The key of a certificate."""

    class_rules = (
        Rule(
            "!has(self.size) || self.algorithm != 'ECDSA' || self.size in [256, 384, 521]",
            message="size of an ECDSA key must be 256, 384 or 521",
        ),
        Rule(
            "!has(self.size) || self.algorithm != 'RSA' || self.size in [2048, 3072, 4096]",
            message="size of an RSA key must be 2048, 3072 or 4096",
        ),
        Rule(
            "!has(self.size) || self.algorithm != 'Ed25519'",
            message="size of an Ed25519 key is fixed: leave it out",
        ),
    )

    algorithm: KeyAlgorithm = "ECDSA"
    """Kind of key: ECDSA is small and fast, RSA for clients that know nothing else."""
    size: int | None = None
    """Bits: 256 (default), 384 or 521 for ECDSA; 2048 (default), 3072 or 4096 for RSA; none for Ed25519."""
    rotation_policy: Literal["Always", "Never"] = "Always"
    """Always makes a new key for each certificate; Never keeps the key that the Secret has."""


class CertificateSpec(Model):
    """The certificate that is wanted, and where to put it."""

    class_rules = (
        Rule(
            "has(self.commonName) || (has(self.dnsNames) && size(self.dnsNames) > 0)"
            " || (has(self.ipAddresses) && size(self.ipAddresses) > 0)"
            " || (has(self.uris) && size(self.uris) > 0)"
            " || (has(self.emailAddresses) && size(self.emailAddresses) > 0)",
            message="needs a name: give at least one of dnsNames, ipAddresses, uris, emailAddresses or commonName",
        ),
    )

    secret_name: SecretName
    """Secret that receives tls.crt, tls.key and ca.crt; in the same namespace, made and kept by the operator."""
    issuer_ref: IssuerReference
    """Issuer that signs: one of this namespace, or a ClusterIssuer."""
    common_name: Annotated[str, Field(max_length=64)] | None = None
    """Subject common name; it must be one of the other names, unless this is a CA."""
    dns_names: Annotated[list[DnsName], Field(max_length=100)] = []
    """DNS names, such as web.shop.svc; a wildcard may only be the whole first label, as in *.shop.svc."""
    ip_addresses: Annotated[list[IpAddress], Field(max_length=100)] = []
    """IPv4 and IPv6 addresses."""
    uris: Annotated[list[Uri], Field(max_length=20)] = []
    """URIs, such as SPIFFE identities."""
    email_addresses: Annotated[list[EmailAddress], Field(max_length=20)] = []
    """Email addresses."""
    is_ca: Annotated[bool, Field(alias="isCA")] = False
    """Whether the certificate may sign others; a policy must allow it."""
    usages: Annotated[list[Usage], Field(max_length=2)] = ["server auth"]
    """What the certificate proves: that of a server, of a client, or both. A CA has none."""
    duration: Duration = "2160h"
    """Life of the certificate: 2160h, which is 90 days, by default, and at least 1h; shortened where the issuer's own
    ends sooner. Written in hours, minutes and seconds."""
    renew_before: ShortDuration | None = None
    """How long before its end the certificate is renewed, such as 720h; a third of its life by default. Up to a tenth
    of that is added, so that certificates made together are not renewed together."""
    private_key: PrivateKey = PrivateKey()
    """Private key: its kind and size, and whether each certificate gets a new one."""


class CertificateStatus(Model):
    """The certificate that is there."""

    conditions: list[Condition] = []
    """Ready: the Secret holds a valid certificate for this spec."""
    not_before: Time | None = None
    """Begin of validity."""
    not_after: Time | None = None
    """End of validity."""
    renewal_time: Time | None = None
    """When it will be renewed."""
    serial_number: str | None = None
    """Serial number, hexadecimal."""
    fingerprint: str | None = None
    """SHA-256 of the certificate, hexadecimal."""
    issuer: str | None = None
    """Kind and name of the issuer that signed it."""
    revision: int | None = None
    """How many certificates have been issued for this object."""
    last_failure_time: Time | None = None
    """When the last attempt failed that is going to be repeated."""
    next_attempt_time: Time | None = None
    """When the next attempt will be made."""
    failed_attempts: int | None = None
    """Failed attempts since the last success or change of spec."""
    failed_generation: int | None = None
    """Generation of the spec that the attempts were for."""


class Certificate(
    Resource[CertificateSpec, CertificateStatus],
    group=GROUP,
    version=VERSION,
    short_names=["pkicert"],
    categories=[_CATEGORY],
    printer_columns=[
        _READY,
        PrinterColumn("Secret", ".spec.secretName"),
        PrinterColumn("Issuer", ".spec.issuerRef.name"),
        PrinterColumn("Expires", ".status.notAfter", type="string"),
        _REASON,
        PrinterColumn("Renewal", ".status.renewalTime", priority=1),
        _AGE,
    ],
):
    """A certificate in a Secret, renewed before it expires."""


class SelfSigned(Model):
    """Each certificate is signed by its own key: for the first CA of a chain, and for tests."""


class CaSource(Model):
    """A CA whose certificate and key are in a Secret."""

    secret_name: SecretName
    """Secret of an Issuer's own namespace, or for a ClusterIssuer of the operator's, with tls.crt (the CA, then its
    chain), tls.key, and optionally ca.crt (the root)."""


class IssuerSpec(Model):
    """How certificates are signed: exactly one of these."""

    class_rules = (exactly_one_of("ca", "selfSigned"),)

    ca: CaSource | None = None
    """Sign with a CA from a Secret."""
    self_signed: SelfSigned | None = None
    """Sign each certificate with its own key."""


class IssuerStatus(Model):
    """Whether the issuer can sign."""

    conditions: list[Condition] = []
    """Ready: certificates can be signed now."""
    not_after: Time | None = None
    """When the CA's chain ends."""
    fingerprint: str | None = None
    """SHA-256 of the certificates of the CA's chain, hexadecimal: another one is another CA, or another chain."""


_ISSUER_COLUMNS = (
    _READY,
    _REASON,
    PrinterColumn("Expires", ".status.notAfter", type="string"),
    _AGE,
)


class Issuer(
    Resource[IssuerSpec, IssuerStatus],
    group=GROUP,
    version=VERSION,
    short_names=["pkiissuer"],
    categories=[_CATEGORY],
    printer_columns=_ISSUER_COLUMNS,
):
    """Signs certificates of its own namespace."""


class ClusterIssuer(
    Resource[IssuerSpec, IssuerStatus],
    group=GROUP,
    version=VERSION,
    scope="Cluster",
    short_names=["pkiclusterissuer"],
    categories=[_CATEGORY],
    printer_columns=_ISSUER_COLUMNS,
):
    """Signs certificates of every namespace."""


Pattern = Annotated[str, Field(min_length=1, max_length=2048)]
NamePatterns = Annotated[list[Pattern], Field(max_length=500)]
Domains = Annotated[list[DnsName], Field(max_length=100)]


class AllowedNames(Model):
    """Names that may be asked for, by type.

    In patterns, * stands for one label, path segment or word, or a part of one, and ** for one or
    more; {{namespace}} and {{serviceAccount}} for those of the request.
    """

    dns_names: NamePatterns = []
    """DNS names, such as *.{{namespace}}.example.com; names of the requester's own Services need none, see services."""
    ip_addresses: NamePatterns = []
    """IP addresses and networks, such as 10.0.0.0/8."""
    uris: NamePatterns = []
    """URIs, such as spiffe://example.org/ns/{{namespace}}/*; stars match neither percent-encoded characters nor dot
    segments, queries or fragments: only a pattern that spells them out allows them."""
    email_addresses: NamePatterns = []
    """Email addresses, such as *@{{namespace}}.example.com."""
    common_names: NamePatterns = []
    """Common names of CAs, which are none of the other names, such as Root of {{namespace}}."""


class IssuerSelector(Model):
    """Issuers: those to which all that is given here applies."""

    kind: Literal["Issuer", "ClusterIssuer"] | None = None
    """Issuer or ClusterIssuer; both by default."""
    name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of the issuer; * stands for any number of characters."""
    selector: LabelSelector | None = None
    """Labels of the issuer. Who may write an Issuer may label it too: give the kind ClusterIssuer where that matters.
    """


class NameConstraintSubtrees(Model):
    """Names by type; {{namespace}} stands for that of the request."""

    dns_domains: Domains = []
    """Domains, with all that is below them, such as {{namespace}}.svc."""
    ip_ranges: Annotated[list[Pattern], Field(max_length=100)] = []
    """Networks, such as 10.0.0.0/8."""
    uri_domains: Domains = []
    """Hosts of URIs; a domain with a leading dot stands for all hosts below it."""
    email_addresses: Annotated[list[EmailAddress], Field(max_length=100)] = []
    """Addresses, hosts, or domains with a leading dot."""


class NameConstraints(Model):
    """Which names a CA may sign. Of a type that is not permitted any name may be signed, unless it is excluded."""

    permitted: NameConstraintSubtrees | None = None
    """Names that it may sign, where there are any of their type."""
    excluded: NameConstraintSubtrees | None = None
    """Names that it may not sign."""


class CertificatePolicySpec(Model):
    """What may be asked for: a request is granted when one policy allows all of it."""

    namespaces: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]], Field(max_length=1000)
    ] = ["*"]
    """Namespaces the policy speaks of; * stands for any number of characters."""
    allow: AllowedNames | None = None
    """Names that may be asked for, beside those of Services."""
    services: Annotated[list[ServiceForm], Field(max_length=3)] | None = None
    """Forms of the names of Services that a namespace gets for Services of its own: Full (the default) is
    <service>.<namespace>.svc, alone and with the cluster domain; Namespaced is <service>.<namespace>; Short is
    <service>. Beware of the latter two: accounts.dev and payments mean something else elsewhere. None by default where
    allowedNames is set."""
    allowed_names: Annotated[list[Pattern], Field(max_length=1000)] = []
    """Older form of allow.dnsNames: its patterns allow DNS names only."""
    issuers: Annotated[list[IssuerSelector], Field(max_length=100)] = []
    """Issuers that may be asked; all by default."""
    max_names: Annotated[int, Field(ge=1, le=240)] = 100
    """Names that one certificate may have."""
    allowed_key_algorithms: Annotated[list[KeyAlgorithm], Field(max_length=3)] = [
        "ECDSA",
        "RSA",
        "Ed25519",
    ]
    """Kinds of keys that may be asked for."""
    allowed_usages: Annotated[list[Usage], Field(max_length=2)] = ["server auth", "client auth"]
    """Usages that may be asked for."""
    max_duration: Duration | None = None
    """Longest life that may be asked for."""
    allow_ca: Annotated[bool, Field(alias="allowCA")] = False
    """Whether certificates that may sign others can be asked for; nameConstraints must say which names they sign."""
    name_constraints: NameConstraints | None = None
    """Names that a CA of this policy may sign; it carries them as a critical extension."""


class CertificatePolicyStatus(Model):
    """Whether the policy can be applied."""

    conditions: list[Condition] = []
    """Ready: the policy is understood."""


class CertificatePolicy(
    Resource[CertificatePolicySpec, CertificatePolicyStatus],
    group=GROUP,
    version=VERSION,
    scope="Cluster",
    plural="certificatepolicies",
    short_names=["pkipolicy"],
    categories=[_CATEGORY],
    printer_columns=[
        _READY,
        PrinterColumn("Namespaces", ".spec.namespaces"),
        _REASON,
        PrinterColumn("Names", ".spec.allow.dnsNames", priority=1),
        _AGE,
    ],
):
    """Allows namespaces to ask for names. Nothing is allowed without one."""


class PkiSpec(Model):
    """One field is enough: the service."""

    service_name: Annotated[str, Field(min_length=1, max_length=63)]
    """Service in the namespace of this object. The certificate gets those of the names <service>,
    <service>.<namespace>, <service>.<namespace>.svc and <service>.<namespace>.svc.<cluster domain> that a policy
    allows."""
    secret_name: SecretName | None = None
    """Secret that receives the certificate; <name of this object>-tls by default."""
    issuer_ref: IssuerReference = IssuerReference(kind="ClusterIssuer", name="default")
    """Issuer that signs; the ClusterIssuer named default by default."""


class LeftOutName(Model):
    """A name of the Service that the certificate does not get."""

    name: str
    """The name."""
    reason: str
    """Why not, and the remedy."""


class PkiStatus(Model):
    """The certificate that this object stands for."""

    conditions: list[Condition] = []
    """Ready: as the Certificate says."""
    secret_name: str | None = None
    """Secret that receives the certificate."""
    left_out: list[LeftOutName] = []
    """Names of the Service that no policy allows."""
    not_after: Time | None = None
    """End of validity."""


class Pki(
    Resource[PkiSpec, PkiStatus],
    group=GROUP,
    version=VERSION,
    plural="pkis",
    categories=[_CATEGORY],
    printer_columns=[
        _READY,
        PrinterColumn("Service", ".spec.serviceName"),
        PrinterColumn("Secret", ".status.secretName"),
        PrinterColumn("Issuer", ".spec.issuerRef.name"),
        PrinterColumn("Expires", ".status.notAfter", type="string"),
        _REASON,
        _AGE,
    ],
):
    """A certificate for a service, by the name of the service alone."""
