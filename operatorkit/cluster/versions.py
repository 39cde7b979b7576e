"""Comparing resource versions.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions (decimal numbers of any
length that can be ordered, since Kubernetes 1.35; every etcd-backed server did the same before).
"""

from __future__ import annotations

__all__ = ["is_newer"]


def is_newer(version: str, than: str) -> bool:
    """Say whether `version` is later than `than`; a server with versions that are not numbers is always believed."""
    if not version.isdecimal() or not than.isdecimal():
        return version != than
    return int(version) > int(than)
