"""Typed patterns: which names a list of patterns allows.

What belongs here: the syntax of patterns, and matching names of one type against many of them at
once. What does not: who may use which pattern (`operators.pki.policy`), and what is offered instead
(`operators.pki.suggest`). Pure.

A name is a row of tokens: the labels of a DNS name, the words of a common name, the local part and
the labels of an email address, and the scheme, host labels and path segments of a URI. `*` stands
for one token or a part of one, `**` for one or more tokens of the same part of the name: the host,
or the path. `{{namespace}}` and `{{serviceAccount}}` stand for those of the request.

A star never matches what a parser after us might read differently: a percent-encoded character, a
dot segment, an empty segment, a path parameter (`;`), a port, a query or a fragment. Only a pattern
that spells these out allows them.

    pattern  ──split──> tokens ──insert──> trie, one per type and policy
    name     ──split──> tokens ──walk────> set of nodes; allowed when a node of the last set ends a pattern

A step of a walk looks up the token, and tries the few stars and placeholders that stand in its
place: the number of patterns that differ elsewhere does not count.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "PLACEHOLDER",
    "Addresses",
    "NameType",
    "Requester",
    "Token",
    "Trie",
    "canonical_uri",
    "expand",
    "join",
    "pattern_error",
    "placeholder_error",
    "split",
]

NameType = Literal["dnsNames", "ipAddresses", "uris", "emailAddresses", "commonNames"]
Token = tuple[str, str]
"""The part of the name that a token belongs to (host, path, ...), and its text."""

PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAMESPACE, _ACCOUNT = "{{namespace}}", "{{serviceAccount}}"
_PLACEHOLDERS = {"namespace": _NAMESPACE, "serviceAccount": _ACCOUNT}

_URI = re.compile(r"([^:/?#]+):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_PATH_PART = re.compile(r"([:/])([^:/]*)")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_AMBIGUOUS = {"/": "%;\\", ":": "%;\\@", "local": "%!", "host": "%:[]", "label": "", "word": ""}
_GROUPS = {"/": "path", ":": "path"}
_SPELLED_OUT = frozenset({"scheme", "authority", "userinfo", "port", "query", "fragment"})


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks. Without a `service_account`, which may be unknown, patterns with {{serviceAccount}} match nothing."""

    namespace: str
    service_account: str | None = None


def split(kind: NameType, name: str) -> list[Token]:
    """Return the tokens of a canonical name, or of a pattern. Raises ValueError for a URI without a scheme."""
    if kind == "dnsNames":
        return [("label", label) for label in name.split(".")]
    if kind == "commonNames":
        return [("word", word) for word in name.split(" ")]
    if kind == "emailAddresses":
        local, at, domain = name.rpartition("@")
        if not at:
            raise ValueError("it has no @")
        return [("local", local), *(("host", label) for label in domain.split("."))]
    return list(_uri_tokens(name))


def join(kind: NameType, tokens: Sequence[Token]) -> str:
    """Return the name that has these tokens."""
    if kind == "dnsNames":
        return ".".join(text for _, text in tokens)
    if kind == "commonNames":
        return " ".join(text for _, text in tokens)
    written, before = "", ""
    marks = {
        "scheme": "",
        "authority": "//",
        "userinfo": "",
        "port": ":",
        "query": "?",
        "fragment": "#",
        "local": "",
    }
    for part, text in tokens:
        if part == "host":
            written += {"host": ".", "local": "@"}.get(before, "") + text
        elif part == ":" and before == "scheme":
            written += text
        else:
            written += marks.get(part, part) + text + {"scheme": ":", "userinfo": "@"}.get(part, "")
        before = part
    return written


def canonical_uri(uri: str) -> str:
    """Return a URI with its scheme and host in lower case and no percent-encoding that is not needed (RFC 3986, 6.2.2).

    Dot segments stay: a certificate bears what was asked for, and a star does not match them.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        return uri
    scheme, authority, path, query, fragment = match.groups()
    rest = "".join(
        mark + _PERCENT.sub(_unescaped, text)
        for mark, text in (("", path), ("?", query), ("#", fragment))
        if text is not None
    )
    if authority is None:
        return f"{scheme.lower()}:{rest}"
    userinfo, at, host = _PERCENT.sub(_unescaped, authority).rpartition("@")
    return f"{scheme.lower()}://{userinfo}{at}{host.lower()}{rest}"


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _uri_tokens(uri: str) -> Iterator[Token]:
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError("it has no scheme")
    scheme, authority, path, query, fragment = match.groups()
    yield "scheme", scheme
    if authority is not None:
        yield "authority", ""
        userinfo, at, host = authority.rpartition("@")
        if at:
            yield "userinfo", userinfo
        port = re.search(r":([^:\]]*)$", host)
        host = host[: port.start()] if port else host
        yield from (
            ("host", label) for label in ([host] if host.startswith("[") else host.split("."))
        )
        if port:
            yield "port", port[1]
        yield from (("/", segment) for segment in path.split("/")[1:])
    else:
        yield from _PATH_PART.findall(f":{path}")
    if query is not None:
        yield "query", query
    if fragment is not None:
        yield "fragment", fragment


# Patterns ------------------------------------------------------------------------------------------------------------


def placeholder_error(pattern: str) -> tuple[str, str] | None:
    """Return what is wrong with the placeholders of a pattern, and the remedy; None when nothing is."""
    if set(PLACEHOLDER.findall(pattern)) <= _PLACEHOLDERS.keys():
        return None
    return "no such placeholder", "Use {{namespace}} or {{serviceAccount}}, or no placeholder"


def pattern_error(kind: NameType, pattern: str) -> tuple[str, str] | None:
    """Return what is wrong with a pattern, and the remedy; None when nothing is."""
    if (problem := placeholder_error(pattern)) is not None:
        return problem
    if kind == "ipAddresses":
        return _address_pattern_error(pattern)
    try:
        tokens = split(kind, _canonical(kind, pattern))
    except ValueError as error:
        example = {"uris": "spiffe://example.org/ns/{{namespace}}/*"}.get(
            kind, "*@{{namespace}}.example.com"
        )
        return str(error), f"Write a pattern such as {example}"
    for part, text in tokens:
        if part in _SPELLED_OUT and ("*" in text or PLACEHOLDER.search(text)):
            return (
                f"its {part} is not spelled out",
                f"Spell out the {part}: stars and placeholders stand in hosts and paths",
            )
        if "**" in text and text != "**":
            return (
                "** is not a whole label or segment",
                "Put ** between two dots or slashes, or use *",
            )
        if part == "scheme" and not _SCHEME.fullmatch(text):
            return (
                "it has no scheme",
                "Begin with a scheme, as in spiffe://example.org/ns/{{namespace}}/*",
            )
    if kind == "dnsNames" and any(not text for _, text in tokens):
        return "it has an empty label", "Remove the extra dot"
    return None


def _address_pattern_error(pattern: str) -> tuple[str, str] | None:
    """Return what is wrong with an address or network, and the remedy; None when nothing is."""
    try:
        ipaddress.ip_network(pattern)
    except ValueError:
        try:
            network = ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return (
                "it is neither an address nor a network",
                "Write a network in CIDR form, such as 10.0.0.0/8",
            )
        return "its address has bits beyond the prefix", f"Write {network}, or the address alone"
    return None


def expand(pattern: str, requester: Requester) -> str:
    """Return a pattern for people: with the namespace, and with the service account where that is known."""
    if "{{" not in pattern:
        return pattern
    account = requester.service_account or _ACCOUNT
    return _normal(pattern).replace(_NAMESPACE, requester.namespace).replace(_ACCOUNT, account)


def _normal(pattern: str) -> str:
    """Return a pattern with its placeholders written without spaces."""
    if "{{" not in pattern:
        return pattern
    return PLACEHOLDER.sub(lambda match: _PLACEHOLDERS.get(match[1], match[0]), pattern)


def _canonical(kind: NameType, pattern: str) -> str:
    normal = _normal(pattern)
    if kind in {"ipAddresses", "commonNames"}:
        return normal
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(match[0])
        return "\x00"

    hidden = PLACEHOLDER.sub(hide, normal)
    if kind == "dnsNames":
        hidden = hidden.lower()
    elif kind == "uris":
        hidden = canonical_uri(hidden)
    else:
        local, at, domain = hidden.rpartition("@")
        hidden = f"{local}{at}{domain.lower()}"
    return re.sub("\x00", lambda _: kept.pop(0), hidden)


# Matching ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Node:
    literals: dict[Token, _Node] = field(default_factory=dict)
    globs: dict[Token, _Node] = field(default_factory=dict)
    ends: bool = False
    loop: str = ""
    """The part of the name of which this node, which ends in `**`, takes any number of tokens more."""


class Trie:
    """The patterns of one type, compiled."""

    def __init__(self, kind: NameType, patterns: Iterable[str]) -> None:
        """Compile patterns that have no error (`pattern_error`)."""
        self.patterns = list(patterns)
        self._spelled_out = {
            pattern for pattern in self.patterns if not PLACEHOLDER.search(pattern)
        }
        self._root = _Node()
        for pattern in self.patterns:
            self._insert(split(kind, _canonical(kind, pattern)))

    def spells_out(self, name: str) -> bool:
        """Return whether a pattern is this very name."""
        return name in self._spelled_out

    def matches(self, tokens: Iterable[Token], requester: Requester) -> bool:
        """Return whether the name that has these tokens, in canonical form, is allowed."""
        nodes = [self._root]
        for token in tokens:
            nodes = [after for node in nodes for after in _step(node, token, requester)]
            if not nodes:
                return False
            if len(nodes) > 1:
                nodes = list(dict.fromkeys(nodes))
        return any(node.ends for node in nodes)

    def _insert(self, tokens: Sequence[Token]) -> None:
        node = self._root
        for part, text in tokens:
            chosen = node.globs if "*" in text or PLACEHOLDER.search(text) else node.literals
            node = chosen.setdefault((part, text), _Node(loop=_group(part) if text == "**" else ""))
        node.ends = True


def _step(node: _Node, token: Token, requester: Requester) -> Iterator[_Node]:
    part, text = token
    if (after := node.literals.get(token)) is not None:
        yield after
    if node.loop and node.loop == _group(part) and _is_plain(part, text):
        yield node
    for (wanted, pattern), then in node.globs.items():
        if pattern == "**":
            if _group(wanted) == _group(part) and _is_plain(part, text):
                yield then
        elif wanted == part and _glob(part, text, pattern, requester):
            yield then


def _glob(part: str, text: str, pattern: str, requester: Requester) -> bool:
    """Return whether one token matches a pattern with stars (each of one character or more) or placeholders."""
    if _ACCOUNT in pattern:
        if requester.service_account is None:
            return False
        pattern = pattern.replace(_ACCOUNT, requester.service_account)
    pattern = pattern.replace(_NAMESPACE, requester.namespace)
    if "*" not in pattern:
        return text == pattern
    if not _is_plain(part, text) or (text == "*" and pattern != "*"):
        return False
    first, *middle, last = pattern.split("*")
    if (
        len(text) < len(first) + len(last) + 1
        or not text.startswith(first)
        or not text.endswith(last)
    ):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position + 1, end)
        if found < 0:
            return False
        position = found + len(piece)
    return position < end


def _is_plain(part: str, text: str) -> bool:
    """Return whether a star may match a token: every parser reads it alike."""
    if not text or part not in _AMBIGUOUS or (part in _GROUPS and text in {".", ".."}):
        return False
    return not any(character in text for character in _AMBIGUOUS[part])


def _group(part: str) -> str:
    return _GROUPS.get(part, part)


class Addresses:
    """Addresses and networks, compiled: a look-up costs the logarithm of their number."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile patterns that have no error (`pattern_error`)."""
        self.patterns = list(patterns)
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in map(ipaddress.ip_network, self.patterns):
            ranges[network.version].append(
                (int(network.network_address), int(network.broadcast_address))
            )
        self._ranges = {version: _merged(found) for version, found in ranges.items()}

    def matches(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Return whether an address is allowed. IPv6 forms of IPv4 addresses are IPv6."""
        ranges, number = self._ranges[address.version], int(address)
        index = bisect.bisect_right(ranges, (number, 1 << 128)) - 1
        return index >= 0 and number <= ranges[index][1]


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
