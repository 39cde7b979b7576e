"""The cluster domain: what the full names of Services end in.

What belongs here: finding it where the kubelet writes it. What does not: using it.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["cluster_domain_in", "find_cluster_domain"]

RESOLV_CONF = Path("/etc/resolv.conf")


def find_cluster_domain(path: Path = RESOLV_CONF) -> str | None:
    """Return the domain by the resolver's configuration of this Pod, or None where it is not that of a Pod."""
    try:
        return cluster_domain_in(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def cluster_domain_in(text: str) -> str | None:
    """Return the domain by a resolv.conf: a Pod's searches NAMESPACE.svc.DOMAIN, then svc.DOMAIN, then DOMAIN.

    In a namespace that is called svc the first of these has the form of the second: the shortest
    counts.
    """
    found = []
    for line in text.splitlines():
        keyword, *searched = line.split()[:64] or [""]
        domains = [each.rstrip(".").lower() for each in searched]
        rests = [domain.removeprefix("svc.") for domain in domains if domain.startswith("svc.")]
        if keyword == "search":
            found += [rest for rest in rests if rest in domains]
    return min(found, key=len, default=None)
