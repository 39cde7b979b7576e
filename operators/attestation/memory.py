"""Facts that were verified a moment ago.

What belongs here: remembering what was found, for a second. What does not: looking up (`facts`), and decisions, which
are never remembered. Pure: the time is an argument.

A fact is kept under the whole authority, its keys included: a key that is revoked or removed is another question. An
occurrence that is deleted counts for at most SECONDS more. Only what was verified is kept, and the admission never
denies by it: before it denies, it looks again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from operators.attestation.policy import Authority, AuthorityKey, Evidence, Question

__all__ = ["SECONDS", "FactMemory"]

SECONDS: Final = 1.0
_LARGEST: Final = 10_000


class FactMemory:
    """Remembers evidence for `SECONDS`, of at most 10,000 questions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Question, Authority], tuple[float, Evidence]] = OrderedDict()

    def recall(
        self,
        questions: Iterable[Question],
        authorities: Mapping[AuthorityKey, Authority],
        at: float,
    ) -> dict[Question, Evidence]:
        """Return what is known at a moment of a monotonic clock."""
        found = {}
        for question in questions:
            until, evidence = self._known.get(
                (question, authorities[question.authority]), (at, Evidence())
            )
            if at < until:
                found[question] = evidence
        return found

    def remember(
        self,
        facts: Mapping[Question, Evidence],
        authorities: Mapping[AuthorityKey, Authority],
        at: float,
    ) -> None:
        """Keep what was verified; `at` is when it was asked for."""
        for question, evidence in facts.items():
            if evidence.verified and evidence.unavailable is None:
                key = (question, authorities[question.authority])
                self._known[key] = (at + SECONDS, evidence)
                self._known.move_to_end(key)
        while len(self._known) > _LARGEST:
            self._known.popitem(last=False)
