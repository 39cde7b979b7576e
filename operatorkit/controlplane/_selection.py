"""Which controllers run: the list of kube-controller-manager's `--controllers`, understood the same way everywhere."""

from __future__ import annotations

__all__ = ["enabled"]


def enabled(controller: str, selection: str) -> bool:
    """Return whether `selection` turns `controller` on.

    `*` is all of them, `name` is one, `-name` is all but one; an entry by name beats `*`.
    """
    entries = [entry.strip() for entry in selection.split(",")]
    return f"-{controller}" not in entries and (controller in entries or "*" in entries)
