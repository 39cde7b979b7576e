"""Handing over the fields that were set by `create`, `update` or client-side apply to the manager that applies now.

What belongs here: the entries of managedFields that are handed over, and the list as it is
afterwards; pure. What does not: when that is done (`operatorkit.children`).

A field that an older program set stays when the one that applies now no longer sends it: it has
another owner. So such entries (operation Update) become part of the applying manager's entry
(operation Apply) before its next apply, which then removes what it does not send. client-go does
the same for kubectl (`csaupgrade`).

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

__all__ = ["CLIENT_SIDE_APPLY", "handed_over", "is_handed_over"]

CLIENT_SIDE_APPLY = "kubectl-client-side-apply"
Entry = Mapping[str, Any]


def is_handed_over(entry: Entry, former: Collection[str]) -> bool:
    """Return whether an entry belongs to one of the managers `former`, and has fields to hand over.

    Those of a subresource are not, and finalizers never: a finalizer that no apply sends any more
    would be removed.
    """
    manager, *rest = _identity(entry)
    return manager in former and rest == ["Update", ""] and bool(_split(entry)[0])


def handed_over(
    entries: Iterable[Entry], *, manager: str, former: Collection[str], api_version: str
) -> list[dict[str, Any]] | None:
    """Return managedFields with the fields of `former` managers in the Apply entry of `manager`; None if it has them.

    Only entries of `api_version` are: the fields of another version may have other names.
    """
    # A program that used `update` owns its fields in an entry of operation Update. An apply of the
    # same manager makes a second entry, of operation Apply, and a field that it stops sending stays,
    # owned by the first. So both become one entry before the apply (ADR 0014). A server
    # ignores a list that it cannot decode, without an error, so the form must be right.
    given = [dict(entry) for entry in entries]
    moved = [e for e in given if is_handed_over(e, former) and e.get("apiVersion") == api_version]
    identity = (manager, "Apply", "")
    own = next((e for e in given if _identity(e) == identity), None)
    if not moved or (own is not None and own.get("apiVersion") != api_version):
        return None
    target = own or _new_entry(manager, api_version, moved)
    fields = copy.deepcopy(target.get("fieldsV1") or {})
    kept = []
    for entry in given:
        if entry in moved:
            handed, finalizers = _split(entry)
            _add(fields, handed)
            if finalizers:
                kept.append({**entry, "fieldsV1": finalizers})
        elif entry is not own:
            kept.append(entry)
    # The order of the list means nothing to servers; this entry goes to the end, where a server puts a new one.
    return [*kept, {**target, "fieldsV1": fields}]


def _new_entry(manager: str, api_version: str, moved: Iterable[Entry]) -> dict[str, Any]:
    """Return an empty Apply entry; its time is that of the last write that it takes over."""
    times = sorted(str(entry["time"]) for entry in moved if entry.get("time"))
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        **({"time": times[-1]} if times else {}),
    }


def _identity(entry: Entry) -> tuple[Any, Any, str]:
    return entry.get("manager"), entry.get("operation"), entry.get("subresource") or ""


def _split(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of an entry without its finalizers, and the finalizers alone."""
    # Finalizers stay with the manager that set them: once the apply entry owned them, an apply
    # without them would remove them, and deletion would not wait for that manager any more.
    fields: dict[str, Any] = copy.deepcopy(entry.get("fieldsV1") or {})
    finalizers = fields.get("f:metadata", {}).pop("f:finalizers", None)
    if "f:metadata" in fields and not fields["f:metadata"]:
        del fields["f:metadata"]
    return fields, {} if finalizers is None else {"f:metadata": {"f:finalizers": finalizers}}


def _add(fields: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Add the fields of one tree to another."""
    for name, inner in others.items():
        _add(fields.setdefault(name, {}), inner)
