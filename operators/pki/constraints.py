"""Name constraints: which names a CA may sign.

What belongs here: the constraints of a policy, and the extension that a CA carries. What does not:
whether a policy allows CAs (`operators.pki.rules`). Pure.

Source: https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10
"""

from __future__ import annotations

import ipaddress

from cryptography import x509

from operators.pki.api import NameConstraints, NameConstraintSubtrees
from operators.pki.patterns import Requester, expand

__all__ = ["expanded", "extension_of", "is_bounded", "unbounded_types"]


def is_bounded(constraints: NameConstraints | None) -> bool:
    """Return whether constraints forbid anything at all."""
    return constraints is not None and any(
        _lists(constraints.permitted) + _lists(constraints.excluded)
    )


def unbounded_types(constraints: NameConstraints | None) -> list[str]:
    """Return the types of which a CA may sign any name: RFC 5280 permits those that are not mentioned."""
    names = ("dnsDomains", "ipRanges", "uriDomains", "emailAddresses")
    if constraints is None:
        return list(names)
    both = zip(names, _lists(constraints.permitted), _lists(constraints.excluded), strict=True)
    return [name for name, permitted, excluded in both if not permitted and not excluded]


def expanded(constraints: NameConstraints | None, requester: Requester) -> NameConstraints | None:
    """Return constraints for a request: with its namespace."""
    if constraints is None:
        return None
    return NameConstraints(
        permitted=_expanded(constraints.permitted, requester),
        excluded=_expanded(constraints.excluded, requester),
    )


def extension_of(constraints: NameConstraints) -> x509.NameConstraints:
    """Return the extension. Raises ValueError for a network or a domain that is none."""
    return x509.NameConstraints(
        _general_names(constraints.permitted), _general_names(constraints.excluded)
    )


def _lists(subtrees: NameConstraintSubtrees | None) -> list[list[str]]:
    found = subtrees or NameConstraintSubtrees()
    return [found.dns_domains, found.ip_ranges, found.uri_domains, found.email_addresses]


def _expanded(
    subtrees: NameConstraintSubtrees | None, requester: Requester
) -> NameConstraintSubtrees | None:
    if subtrees is None:
        return None
    dns, networks, uris, emails = (
        [expand(text, requester) for text in texts] for texts in _lists(subtrees)
    )
    return NameConstraintSubtrees(
        dns_domains=dns, ip_ranges=networks, uri_domains=uris, email_addresses=emails
    )


def _general_names(subtrees: NameConstraintSubtrees | None) -> list[x509.GeneralName] | None:
    """Return subtrees as names. A DNS domain bears no leading dot: it stands for itself and for all below it."""
    dns, networks, uris, emails = _lists(subtrees)
    names: list[x509.GeneralName] = [
        *(x509.DNSName(text.removeprefix(".")) for text in dns),
        *(x509.IPAddress(ipaddress.ip_network(text)) for text in networks),
        *(x509.UniformResourceIdentifier(text) for text in uris),
        *(x509.RFC822Name(text) for text in emails),
    ]
    return names or None
