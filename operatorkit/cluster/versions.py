"""Comparing resource versions.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions (decimal numbers of any
length that can be ordered, since Kubernetes 1.35; every etcd-backed server did the same before).
"""

from __future__ import annotations

__all__ = ["is_newer", "went_back"]


def is_newer(version: str, than: str) -> bool:
    """Say whether `version` is later than `than`; a server with versions that are not numbers is always believed."""
    if not version.isdecimal() or not than.isdecimal():
        return version != than
    return int(version) > int(than)


def went_back(version: str, before: str) -> bool:
    """Say whether a server that was at `before` is now at an earlier `version`: its history was reset."""
    return version.isdecimal() and before.isdecimal() and int(version) < int(before)
