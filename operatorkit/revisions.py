"""The history of a template: which revision a template is, and which old ones may go.

What belongs here: names, numbers and equality of revisions, rollback by number, collisions of
names, truncation. What does not: reading and writing ControllerRevision objects (an operator), what
of an object makes up its template and when two templates mean the same (`equal`, given by the
operator), and the order in which members get a new revision (`operatorkit.rollout`). Pure.

    template ── equal to the newest ────────► reuse it
             ── equal to an older one ──────► raise that one's number: a rollback
             ── new ──► name is free ───────► create it, number = highest + 1
                    └─► name is taken ──────► raise the collision count, derive another name

Source: https://kubernetes.io/docs/tasks/manage-daemon/rollback-daemon-set/#understanding-daemonset-revisions
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operatorkit.names import DNS_SUBDOMAIN_MAX_LENGTH

__all__ = ["Resolution", "Revision", "hash_of", "name_of", "record", "truncated"]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no hash spells a word
_HASH_LENGTH = 10
_MOST_COLLISIONS = 100

Data = Mapping[str, Any]
Equal = Callable[[Data, Data], bool]


@dataclass(frozen=True, slots=True)
class Revision:
    """One recorded template: the name of its ControllerRevision, its number, and its data."""

    name: str
    number: int
    data: Data


@dataclass(frozen=True, slots=True)
class Resolution:
    """What to record for a template.

    `update` is the revision of the template; `create` says that it is new, `renumber` that it
    exists with a lower number and gets `update.number`. `collision_count` goes into the status of
    the owner.
    """

    update: Revision
    create: bool
    renumber: bool
    collision_count: int


def hash_of(data: Data, collision_count: int = 0) -> str:
    """Return ten letters and digits for `data` and a collision count; equal JSON gives equal hashes."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(f"{collision_count}:{text}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = []
    for _ in range(_HASH_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def name_of(owner: str, hash_: str) -> str:
    """Return the name of a revision of `owner`, shortened where both do not fit into a DNS subdomain."""
    return f"{owner[: DNS_SUBDOMAIN_MAX_LENGTH - len(hash_) - 1]}-{hash_}"


def record(
    owner: str,
    data: Data,
    revisions: Iterable[Revision],
    *,
    taken: Collection[str] = (),
    collision_count: int = 0,
    equal: Equal | None = None,
) -> Resolution:
    """Return the revision of a template, and what has to be written for it.

    `revisions` are those of `owner`; `taken` are names of ControllerRevisions that are not, and
    cannot be used. Guarantees: a template that equals the newest revision writes nothing; numbers
    only grow; with the same arguments the answer is the same, so a run that died between two writes
    goes on where it was.
    """
    same = equal or _identical
    known = sorted(revisions, key=_age)
    highest = known[-1].number if known else 0
    # the newest of the equal ones counts: older duplicates come from adopted histories
    match = next((old for old in reversed(known) if same(old.data, data)), None)
    if match is not None:
        if match.number == highest:
            return Resolution(match, create=False, renumber=False, collision_count=collision_count)
        raised = Revision(match.name, highest + 1, match.data)
        return Resolution(raised, create=False, renumber=True, collision_count=collision_count)
    names = {*taken, *(old.name for old in known)}
    for count in range(collision_count, collision_count + _MOST_COLLISIONS):
        name = name_of(owner, hash_of(data, count))
        if name not in names:
            new = Revision(name, highest + 1, data)
            return Resolution(new, create=True, renumber=False, collision_count=count)
    raise ValueError(
        f"{owner}: {_MOST_COLLISIONS} names for one revision are taken: delete old ControllerRevisions"
    )


def truncated(
    revisions: Sequence[Revision], *, used: Collection[str], limit: int
) -> list[Revision]:
    """Return the revisions to delete so that at most `limit` unused ones remain, oldest first.

    `used` are the names that must stay whatever their age: those that are current, to come, or
    carried by a member.
    """
    unused = sorted((old for old in revisions if old.name not in used), key=_age)
    return unused[: max(0, len(unused) - max(0, limit))]


def _age(revision: Revision) -> tuple[int, str]:
    return revision.number, revision.name


def _identical(one: Data, other: Data) -> bool:
    return one == other
