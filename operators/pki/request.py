"""The request: what a Certificate asks for, checked and in canonical form.

What belongs here: parsing a `CertificateSpec`, and saying everything that is wrong with it at once.
What does not: whether it is allowed (`operators.pki.policy`). Pure.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from operatorkit.names import dns_label_error, dns_subdomain_error
from operators.pki.api import (
    CertificateSpec,
    IssuerSpec,
    KeyAlgorithm,
    NameConstraints,
    PkiSpec,
    PrivateKey,
    Usage,
)
from operators.pki.patterns import canonical_uri

__all__ = [
    "Request",
    "SpecError",
    "describe",
    "duration_error",
    "format_duration",
    "is_dns_name",
    "object_name_errors",
    "parse_duration",
    "read_issuer",
    "read_pki",
    "read_request",
    "renewal_floor",
]


COMMON_NAME_MAX_LENGTH = 64
MINIMUM_DURATION = timedelta(hours=1)
MINIMUM_RENEW_BEFORE = timedelta(minutes=5)
MAXIMUM_DURATION = timedelta(days=36500)
MINIMUM_INTERVAL = timedelta(minutes=5)
KEY_SIZES: dict[KeyAlgorithm, tuple[int, ...]] = {
    "ECDSA": (256, 384, 521),
    "RSA": (2048, 3072, 4096),
    "Ed25519": (),
}

_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d+)?[hms])+)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([hms])")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z_a-z~%\[\]]+")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")  # RFC 5321, 4.1.2: dots stand between atoms only
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_DAYS = re.compile(r"\d{1,6}d")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class SpecError:
    """One thing that is wrong: `field` is a path, `remedy` what to write instead.

    `value` is what was found, as the object has it; None where something is missing. `shown` words it where Python's
    way to write it would not do.
    """

    field: str
    value: Hashable
    problem: str
    remedy: str
    shown: str | None = None

    def __str__(self) -> str:
        found = repr(self.value) if self.shown is None else self.shown
        return f"{self.remedy} ({self.field} is {found}: {self.problem})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A certificate that could be made: names in canonical form and without repetition."""

    common_name: str | None
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    uris: tuple[str, ...]
    email_addresses: tuple[str, ...]
    is_ca: bool
    usages: tuple[Usage, ...]
    duration: timedelta
    renew_before: timedelta | None
    algorithm: KeyAlgorithm
    size: int
    rotate_key: bool
    name_constraints: NameConstraints | None = None
    """Those that the policy gives to a CA; None before a policy was asked."""

    def names(self) -> list[tuple[str, str]]:
        """Return each name that the certificate will bear, with the path of its field."""
        found = [
            (f"spec.{field}[{index}]", name)
            for field, names in (
                ("dnsNames", self.dns_names),
                ("ipAddresses", self.ip_addresses),
                ("uris", self.uris),
                ("emailAddresses", self.email_addresses),
            )
            for index, name in enumerate(names)
        ]
        if self.common_name is not None and self.common_name not in [name for _, name in found]:
            found.insert(0, ("spec.commonName", self.common_name))
        return found

    def digest(self, issuer: str) -> str:
        """Return a short hash of what a certificate depends on, so that a changed request differs from a repair."""
        without = {"renew_before", "rotate_key", "name_constraints"}
        facts = {key: str(value) for key, value in asdict(self).items() if key not in without}
        text = json.dumps({**facts, "issuer": issuer}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def describe(spec_errors: Iterable[SpecError]) -> str:
    """Write errors as one message, the remedies first."""
    return "; ".join(str(spec_error) for spec_error in spec_errors)


def parse_duration(text: str) -> timedelta:
    """Read a duration as Go writes it, in hours, minutes and seconds. Raises ValueError, which says what is wrong."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not written in hours, minutes and seconds")
    seconds = sum(
        float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(match[2])
    )
    if seconds > MAXIMUM_DURATION.total_seconds():
        raise ValueError(f"is longer than {format_duration(MAXIMUM_DURATION)}, a hundred years")
    return timedelta(seconds=-seconds if match[1] else seconds)


def duration_error(
    field: str, text: str, error: ValueError, example: str = "2160h for 90 days"
) -> SpecError:
    """Describe a text that is not a duration; days are written in hours."""
    if _DAYS.fullmatch(text):
        example = f"{int(text[:-1]) * 24}h for {int(text[:-1])} days"
    return SpecError(field, text, f"it {error}", f"Write a duration such as {example}")


def renewal_floor(duration: timedelta) -> timedelta:
    """Return the least time between two certificates of one key: a tenth of the duration, and five minutes."""
    return max(duration / 10, MINIMUM_INTERVAL)


def format_duration(duration: timedelta) -> str:
    """Write a duration as Go does, without parts that are zero: 2160h, 1h30m."""
    rest = int(duration.total_seconds())
    sign, rest = ("-", -rest) if rest < 0 else ("", rest)
    parts = [(rest // 3600, "h"), (rest // 60 % 60, "m"), (rest % 60, "s")]
    return sign + "".join(f"{number}{unit}" for number, unit in parts if number) if rest else "0s"


def read_request(spec: CertificateSpec) -> tuple[Request | None, list[SpecError]]:
    """Check a spec; return the request, or None and every error, in the order of the fields."""
    spec_errors = object_name_errors("spec.secretName", spec.secret_name, "a Secret")
    spec_errors += object_name_errors("spec.issuerRef.name", spec.issuer_ref.name, "an issuer")
    dns_names = [
        _dns_name(f"spec.dnsNames[{i}]", name, spec_errors) for i, name in enumerate(spec.dns_names)
    ]
    addresses = [
        _ip_address(f"spec.ipAddresses[{i}]", name, spec_errors)
        for i, name in enumerate(spec.ip_addresses)
    ]
    uris = [_uri(f"spec.uris[{i}]", name, spec_errors) for i, name in enumerate(spec.uris)]
    emails = [
        _email(f"spec.emailAddresses[{i}]", name, spec_errors)
        for i, name in enumerate(spec.email_addresses)
    ]
    common_name = _common_name(spec, [*dns_names, *addresses, *uris, *emails], spec_errors)
    duration = _duration("spec.duration", spec.duration, MINIMUM_DURATION, spec_errors)
    renew_before = None
    if spec.renew_before is not None:
        renew_before = _duration(
            "spec.renewBefore", spec.renew_before, MINIMUM_RENEW_BEFORE, spec_errors
        )
        if renew_before is not None and duration is not None:
            spec_errors += _too_early(spec, renew_before, duration)
    if not spec.usages and not spec.is_ca:
        spec_errors.append(
            SpecError(
                "spec.usages",
                None,
                "no client would accept the certificate",
                "Give at least one usage",
                shown="[]",
            )
        )
    size = _key_size(spec.private_key, spec_errors)
    if spec_errors or duration is None:
        return None, spec_errors
    return Request(
        common_name=common_name,
        dns_names=tuple(dict.fromkeys(dns_names)),
        ip_addresses=tuple(dict.fromkeys(addresses)),
        uris=tuple(dict.fromkeys(uris)),
        email_addresses=tuple(dict.fromkeys(emails)),
        is_ca=spec.is_ca,
        usages=() if spec.is_ca else tuple(sorted(set(spec.usages))),
        duration=duration,
        renew_before=renew_before,
        algorithm=spec.private_key.algorithm,
        size=size,
        rotate_key=spec.private_key.rotation_policy == "Always",
    ), []


def read_pki(spec: PkiSpec) -> list[SpecError]:
    """Return what is wrong with the fields of a Pki; its Certificate has no other errors."""
    spec_errors = []
    if problem := dns_label_error(spec.service_name):
        spec_errors.append(
            SpecError("spec.serviceName", spec.service_name, problem, "Use the name of a Service")
        )
    if spec.secret_name is not None:
        spec_errors += object_name_errors("spec.secretName", spec.secret_name, "a Secret")
    return [
        *spec_errors,
        *object_name_errors("spec.issuerRef.name", spec.issuer_ref.name, "an issuer"),
    ]


def read_issuer(spec: IssuerSpec) -> list[SpecError]:
    """Return what is wrong with the spec of an issuer by itself."""
    return (
        []
        if spec.ca is None
        else object_name_errors("spec.ca.secretName", spec.ca.secret_name, "a Secret")
    )


def object_name_errors(field: str, name: str, kind: str) -> list[SpecError]:
    """Return what is wrong with a reference to an object: no server would have one of that name."""
    problem = dns_subdomain_error(name)
    return [SpecError(field, name, problem, f"Choose a valid name of {kind}")] if problem else []


def _too_early(
    spec: CertificateSpec, renew_before: timedelta, duration: timedelta
) -> list[SpecError]:
    floor = renewal_floor(duration)
    if renew_before <= duration - floor:
        return []
    remedy = (
        f"Use at most {format_duration(duration - floor)} with a spec.duration of {spec.duration}"
    )
    problem = f"two renewals would be less than {format_duration(floor)} apart"
    return [SpecError("spec.renewBefore", spec.renew_before, problem, remedy)]


def _dns_name(field: str, name: str, spec_errors: list[SpecError]) -> str:
    def spec_error(problem: str, remedy: str) -> str:
        spec_errors.append(SpecError(field, name, problem, remedy))
        return name

    canonical = name.lower()
    if _is_ip_address(name):
        return spec_error("it is an IP address", f"Move {name} to spec.ipAddresses")
    if not canonical.isascii():
        return spec_error("it is not ASCII", "Write an international name in its xn-- form")
    if len(canonical) > 253:
        return spec_error(
            f"it has {len(canonical)} characters", "Use a DNS name of at most 253 characters"
        )
    if canonical.endswith("."):
        return spec_error(
            "it ends with a dot", f"Write {canonical.rstrip('.') or 'a name'} without the last dot"
        )
    labels = canonical.split(".")
    if labels[0] == "*":
        if len(labels) < 3:
            return spec_error(
                "it would match a whole top-level domain",
                "Put a wildcard before at least two labels",
            )
        labels = labels[1:]
    for label in labels:
        if "*" in label:
            return spec_error(
                "a wildcard may only be the whole first label",
                "Use a wildcard such as *.example.com",
            )
        if not label:
            return spec_error("it has an empty label", "Remove the extra dot")
        if len(label) > 63:
            return spec_error(
                f"its label {label[:20]}... has {len(label)} characters",
                "Use labels of at most 63 characters",
            )
        if dns_label_error(label) is not None:
            return spec_error(
                f"its label {label!r} is not a DNS label",
                "Use letters, digits and inner hyphens between the dots",
            )
    if _NUMBER.fullmatch(labels[-1]):
        return spec_error(
            "its last label is a number, as in an IPv4 address",
            "End with a label that is not a number",
        )
    return canonical


def is_dns_name(name: str) -> bool:
    """Return whether a name can be one of spec.dnsNames."""
    spec_errors: list[SpecError] = []
    _dns_name("", name, spec_errors)
    return not spec_errors


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ip_address(field: str, name: str, spec_errors: list[SpecError]) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        spec_errors.append(
            SpecError(
                field,
                name,
                "it is not an IP address",
                "Write an address such as 10.0.0.1 or ::1",
            )
        )
        return name
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        spec_errors.append(
            SpecError(
                field,
                name,
                "it has a zone",
                f"Leave out the zone: {address.compressed.partition('%')[0]}",
            )
        )
    return str(address)


def _uri(field: str, name: str, spec_errors: list[SpecError]) -> str:
    if problem := _uri_problem(name):
        remedy = "Write an absolute URI in ASCII, such as spiffe://example.org/web"
        spec_errors.append(SpecError(field, name, problem, remedy))
        return name
    return canonical_uri(name)


def _uri_problem(name: str) -> str | None:
    if not _URI.fullmatch(name):
        return "it is not an absolute URI"
    if _BAD_PERCENT.search(name):
        return "it has a % without two hexadecimal digits after it"
    try:
        parts = urlsplit(name)
        port = parts.port
    except ValueError as error:
        return f"it is not a URI: {error}"
    host = parts.hostname or ""
    if port is not None and not host:
        return "it has a port without a host"
    if _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_ip_address(host):
        return "its host is neither a name nor an address"
    return None if parts.netloc or parts.path else "it has neither a host nor a path"


def _email(field: str, name: str, spec_errors: list[SpecError]) -> str:
    local, _, domain = name.rpartition("@")
    labels = domain.lower().split(".")
    well_formed = _EMAIL_LOCAL.fullmatch(local) and not any(map(dns_label_error, labels))
    if not well_formed or _NUMBER.fullmatch(labels[-1]) or len(local) > 64:
        remedy = "Write an address in ASCII, such as team@example.com"
        spec_errors.append(SpecError(field, name, "it is not an email address", remedy))
        return name
    return f"{local}@{domain.lower()}"


def _common_name(
    spec: CertificateSpec, names: Sequence[str], spec_errors: list[SpecError]
) -> str | None:
    """Return the common name, written as `names`, which are canonical, write it."""
    common_name = spec.common_name

    def spec_error(problem: str, remedy: str) -> None:
        spec_errors.append(SpecError("spec.commonName", common_name, problem, remedy))

    if not common_name:
        if spec.is_ca:
            spec_error(
                "verifiers identify CAs by their subjects", "Give the CA its own common name"
            )
        elif not names:
            spec_error(
                "the certificate would have no name",
                "Give at least one of spec.dnsNames or spec.ipAddresses",
            )
        return None
    written = [*spec.dns_names, *spec.ip_addresses, *spec.uris, *spec.email_addresses]
    canonical = dict(zip(written, names, strict=True)).get(common_name, common_name)
    if canonical not in names and canonical.lower() in names:
        canonical = canonical.lower()
    if len(canonical) > COMMON_NAME_MAX_LENGTH:
        spec_error(
            f"it has {len(canonical)} characters",
            f"Use a common name of at most {COMMON_NAME_MAX_LENGTH} characters, or leave it out",
        )
    elif not common_name.isprintable() or common_name != common_name.strip():
        spec_error(
            "it begins or ends with a space, or has unprintable characters",
            "Use printable characters only",
        )
    elif not spec.is_ca and canonical not in names:
        spec_error(
            "verifiers use the alternative names only",
            f"Add {common_name!r} to spec.dnsNames, or leave out the common name",
        )
    return canonical


def _duration(
    field: str, text: str, minimum: timedelta, spec_errors: list[SpecError]
) -> timedelta | None:
    example = "2160h for 90 days" if minimum == MINIMUM_DURATION else "720h for 30 days"
    try:
        duration = parse_duration(text)
    except ValueError as error:
        spec_errors.append(duration_error(field, text, error, example))
        return None
    if duration < minimum:
        problem = "it is negative" if duration < timedelta(0) else "it is too short"
        remedy = f"Use at least {format_duration(minimum)}, such as {example}"
        spec_errors.append(SpecError(field, text, problem, remedy))
        return None
    return duration


def _key_size(key: PrivateKey, spec_errors: list[SpecError]) -> int:
    allowed = KEY_SIZES[key.algorithm]
    if key.size is None:
        return allowed[0] if allowed else 0
    if key.size in allowed:
        return key.size
    remedy = (
        f"Use {', '.join(map(str, allowed))} for {key.algorithm}"
        if allowed
        else "Leave the size out for Ed25519"
    )
    spec_errors.append(
        SpecError("spec.privateKey.size", key.size, f"{key.algorithm} has no such size", remedy)
    )
    return 0
