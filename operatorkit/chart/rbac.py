"""The rules of an operator's roles.

What belongs here: permissions, gathered into the fewest rules that people still can read. What does not: which
permissions there are (`operatorkit.permissions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operatorkit.permissions import Permission

__all__ = ["Rule", "rules"]

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done with one resource: the verbs in Kubernetes' usual order, and a line of reason for each group.

    `names` and `own` are those of the permissions.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespaced: bool
    names: tuple[str, ...]
    own: bool
    reasons: tuple[str, ...]


def rules(permissions: Iterable[Permission]) -> list[Rule]:
    """Gather permissions by resource and names, in the order of group and resource."""
    gathered: dict[tuple[str, str, bool, tuple[str, ...], bool], list[Permission]] = {}
    for one in sorted(permissions):
        gathered.setdefault(
            (one.group, one.resource, one.namespaced, one.names, one.own), []
        ).append(one)
    return [
        Rule(
            group,
            resource,
            _ordered(one.verb for one in found),
            namespaced,
            names,
            own,
            _reasons(found),
        )
        for (group, resource, namespaced, names, own), found in gathered.items()
    ]


def _reasons(permissions: Iterable[Permission]) -> tuple[str, ...]:
    """Return lines such as `list, watch: it is reconciled; its changes trigger Pki`."""
    by_verb = {one.verb: "; ".join(one.reasons) for one in permissions}
    by_reason: dict[str, list[str]] = {}
    for verb in _ordered(by_verb):
        by_reason.setdefault(by_verb[verb], []).append(verb)
    return tuple(f"{', '.join(verbs)}: {reason}" for reason, verbs in by_reason.items())


def _ordered(verbs: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        sorted(
            set(verbs),
            key=lambda verb: (_VERBS.index(verb) if verb in _VERBS else len(_VERBS), verb),
        )
    )
