"""The string formats of schemas, as strict and as lax as the API server is about them.

What belongs here: one check per format. What does not: formats of numbers, which are ranges
(`operatorkit.crd._validate`).

Source: k8s.io/kube-openapi/pkg/validation/strfmt
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date

from operatorkit.crd._patterns import search
from operatorkit.names import DNS_LABEL_PATTERN

__all__ = ["is_known", "matches"]

_HOSTNAME = (
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]"
    r"{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)
_CREDIT_CARD = (
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|"
    r"3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_QUOTED = r'"(?:[^"\\\r\n]|\\[^\r\n])*"'
_ADDRESS = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_ATOM}(?:\.{_ATOM})*|\[[0-9A-Fa-f:.]+\])"
_MAILBOX = re.compile(
    rf"[ \t]*(?:{_ADDRESS}|(?:(?:{_ATOM}|{_QUOTED}|\.)[ \t]*)*<{_ADDRESS}>)[ \t]*"
)
_CHANNEL = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_GO_DURATION = re.compile(r"[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_SCALA_DURATION = re.compile(r"\d+\s*([A-Za-zµ]+)", re.ASCII)
_SCALA_UNITS = frozenset({"ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"})
_SCALA_PREFIXES = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")


def _regex(pattern: str) -> Callable[[str], bool]:
    return lambda text: search(pattern, text)


def _uuid(third: str = "[0-9a-f]", fourth: str = "[0-9a-f]") -> Callable[[str], bool]:
    return _regex(
        rf"(?i)^[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{third}[0-9a-f]{{3}}-?{fourth}[0-9a-f]{{3}}-?[0-9a-f]{{12}}$"
    )


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return False
    year, month, day = map(int, text.split("-"))
    try:
        date(year or 2000, month, day)  # Go has a year 0, a leap year
    except ValueError:
        return False
    return True


def _is_datetime(text: str) -> bool:
    day, separator, rest = text.lower().partition("t")
    time, _, _ = rest.partition("t")
    if not separator or not _is_date(day):
        return False
    found = _TIME.fullmatch(time)
    return found is not None and found[1] <= "23" and found[2] <= "59" and found[3] <= "59"


def _is_duration(text: str) -> bool:
    if _GO_DURATION.fullmatch(text):
        return True
    units = [unit.lower() for unit in _SCALA_DURATION.findall(text)]
    return any(unit in _SCALA_UNITS or unit.startswith(_SCALA_PREFIXES) for unit in units)


def _is_ipv4(text: str) -> bool:
    """Take IPv4 with leading zeros, and IPv6 with an IPv4 tail."""
    return "." in text and (_is_sloppy_ipv4(text) or _is_ipv6_address(text))


def _is_sloppy_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(
        re.fullmatch(r"[0-9]+", part) and int(part) <= 255 for part in parts
    )


def _is_ipv6_address(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _is_cidr(text: str) -> bool:
    address, separator, length = text.partition("/")
    if not separator or not re.fullmatch(r"[0-9]{1,3}", length):
        return False
    if _is_sloppy_ipv4(address):
        return int(length) <= 32
    return _is_ipv6_address(address) and int(length) <= 128


def _is_mac(text: str) -> bool:
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        if separator in text:
            groups = text.split(separator)
            octets = len(groups) * width // 2
            return octets in {6, 8, 20} and all(
                re.fullmatch(rf"[0-9a-fA-F]{{{width}}}", group) for group in groups
            )
    return False


def _is_uri(text: str) -> bool:
    """Take absolute URIs and absolute paths, as Go's ParseRequestURI does."""
    if not text or any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        return False
    if re.search(r"%(?![0-9a-fA-F]{2})", text.partition("?")[0]):
        return False
    scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", text)
    if not scheme:
        return (
            text == "*"
            or (text.startswith("/") and not text.startswith("//"))
            or _is_authority(text[2:], text)
        )
    rest = text[scheme.end() :]
    return (
        _is_authority(rest[2:], rest) if rest.startswith("//") else bool(rest) or text.endswith(":")
    )


def _is_authority(after: str, whole: str) -> bool:
    if not whole.startswith("//"):
        return False
    authority = re.split(r"[/?]", after, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        return re.fullmatch(r"\[[^\]]*\](:[0-9]*)?", host) is not None
    return re.fullmatch(r"[^ <>\"\[\]:^`{|}\\#]*(:[0-9]*)?", host) is not None


def _is_email(text: str) -> bool:
    return _MAILBOX.fullmatch(text) is not None


def _is_hostname(text: str) -> bool:
    return (
        search(_HOSTNAME, text)
        and len(text.encode()) <= 255
        and all(len(p.encode()) <= 63 for p in text.split("."))
    )


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits, re.ASCII):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(weight * value for weight, value in enumerate(values, start=1)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits)) % 10 == 0


def _is_credit_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    if not search(_CREDIT_CARD, digits):
        return False
    doubled = [int(digit) * (2 if at % 2 else 1) for at, digit in enumerate(reversed(digits))]
    return sum(value % 10 + value // 10 for value in doubled) % 10 == 0


_CHECKS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _regex(r"^[0-9a-fA-F]{24}$"),
    "byte": _regex(
        r"^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=|[A-Za-z0-9+\/]{4})$"
    ),
    "cidr": _is_cidr,
    "creditcard": _is_credit_card,
    "date": _is_date,
    "datetime": _is_datetime,
    "duration": _is_duration,
    "email": _is_email,
    "hexcolor": _regex(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": lambda text: ":" in text and _is_ipv6_address(text),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "k8sshortname": lambda text: len(text) <= 63 and search(rf"^{DNS_LABEL_PATTERN}$", text),
    "k8slongname": lambda text: (
        len(text) <= 253 and search(rf"^{DNS_LABEL_PATTERN}(\.{DNS_LABEL_PATTERN})*$", text)
    ),
    "mac": _is_mac,
    "password": lambda _: True,
    "rgbcolor": _regex(rf"^rgb\({_CHANNEL},{_CHANNEL},{_CHANNEL}\)$"),
    "ssn": lambda text: len(text) == 11 and search(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$", text),
    "uri": _is_uri,
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
}


def is_known(format_: str) -> bool:
    """Return whether strings of this format are checked at all; dashes in the name do not count."""
    return format_.replace("-", "") in _CHECKS


def matches(format_: str, text: str) -> bool:
    """Return whether a text is of a known format."""
    return _CHECKS[format_.replace("-", "")](text)
