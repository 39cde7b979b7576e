"""How often a key may repair the same thing: repairs of a conflict with another program are slowed.

What belongs here: counting the runs of a key that write, and the delay that follows from it. What does not: the order
of keys (`queue`), back-off after failures (`queue.retry`), and who the other program is (`conflicts`).

A run that writes what the same key wrote last for the same object repairs it: another program undid it in between. A
run that writes something new costs a tenth of that, so that a parent may follow many children closely.

    bucket of 10 repairs, filled by one a second ──> empty ──> wait 1 s ── repaired again ──> 2 s, 4 s, ... 5 min
              ^                                       │ ▲            │ wrote something new: 1 s
              │                                       │ └────────────┘
              └───────── wrote nothing, or something else is requested (generation, reconcile-at, another uid)

When a wait is over the key runs once more, whether or not anything changed, and so finds out that it is calm again.

Docs: docs/adr/0013-a-budget-of-repairs.md.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operatorkit.clock import Clock
from operatorkit.cluster import JSONObject
from operatorkit.names import ANNOTATION_RECONCILE_AT, ApiResource, ObjectKey

__all__ = ["Budget", "Written"]

COST_OF_REPAIR: Final = 10
COST_OF_NEWS: Final = 1
BURST: Final = 10 * COST_OF_REPAIR
REFILL_PER_SECOND: Final = COST_OF_REPAIR
FIRST_WAIT_SECONDS: Final = 1.0
WAIT_LIMIT_SECONDS: Final = 300.0
_REMEMBERED_SECONDS: Final = 60.0  # longer than a bucket needs to fill
_RESOLUTION_SECONDS: Final = 1e-6  # of a timedelta, by which queues delay keys
_TIMES = frozenset({"lastTransitionTime", "lastUpdateTime", "lastHeartbeatTime", "lastProbeTime"})


@dataclass(frozen=True, slots=True)
class Written:
    """One write that changed an object: what was sent, what the object was then, and whether that created it."""

    resource: ApiResource
    key: ObjectKey
    body: JSONObject
    answer: JSONObject
    created: bool = False
    subresource: str = ""


@dataclass(slots=True)
class _Account:
    """What one key has spent, and what it wrote last for each object."""

    tokens: float
    at: float
    generation: Any = None
    strikes: int = 0
    until: float = 0.0
    asked: str = ""
    last: dict[tuple[ApiResource, ObjectKey, str], bytes] = field(default_factory=dict)
    repaired: Written | None = None  # in this run, or in the last one that repaired anything
    in_run: int = 0  # what this run costs
    explained: bool = False


class Budget:
    """The accounts of the keys of one kind; `clock` is the operator's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: OrderedDict[ObjectKey, _Account] = OrderedDict()

    def wait(self, key: ObjectKey, raw: JSONObject) -> float:
        """Return the seconds that a key has to wait before it may run; 0 for nearly every key.

        Less than a microsecond is none: rounded to a timedelta it would be no delay, and the key would be enqueued
        and sent back until the clock moves on.
        """
        account = self._accounts.get(key)
        if account is None:
            return 0.0
        if account.generation != raw["metadata"].get("generation") or (
            account.strikes and account.asked != _asked(raw)
        ):
            del self._accounts[key]
            return 0.0
        left = account.until - self._clock.monotonic() if account.strikes else 0.0
        return left if left >= _RESOLUTION_SECONDS else 0.0

    def wrote(self, key: ObjectKey, raw: JSONObject, written: Written) -> None:
        """Note a write of the run of `key` that goes on, which changed an object."""
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(
                BURST, self._clock.monotonic(), raw["metadata"].get("generation")
            )
        target, digest = (written.resource, written.key, written.subresource), _digest(written.body)
        # The same body again, though the last one was applied: someone undid it. A different body
        # is news, even for the same object, and costs a tenth: an operator that follows a changing
        # spec must not be taken for one in a conflict.
        if account.last.get(target) == digest:
            account.repaired = written
            account.in_run = COST_OF_REPAIR
        else:
            account.in_run = max(account.in_run, COST_OF_NEWS)
        account.last[target] = digest

    def end(self, key: ObjectKey, raw: JSONObject) -> float:
        """Note the end of a run; return the seconds after which the key has to run again, or 0."""
        account = self._accounts.get(key)
        if account is None:
            return 0.0
        now, cost, account.in_run = self._clock.monotonic(), account.in_run, 0
        if not cost:
            if account.strikes:
                # A run that writes nothing proves that the other program has stopped, or does not
                # insist: the next conflict starts with quick repairs again.
                del self._accounts[key]  # nothing was undone while it waited
            return 0.0
        self._accounts.move_to_end(key)
        self._forget_idle(now)
        account.tokens = min(BURST, account.tokens + (now - account.at) * REFILL_PER_SECOND) - cost
        account.at = now
        if not account.strikes and account.tokens >= 0:
            return 0.0
        account.strikes = account.strikes + 1 if cost == COST_OF_REPAIR else 1
        account.asked = _asked(raw)
        wait = min(WAIT_LIMIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(account.strikes - 1, 20))
        account.until = now + wait
        return wait

    def contested(self, key: ObjectKey) -> Written | None:
        """Return what a key repairs again and again, if it has to wait for that and the cause is not reported yet."""
        account = self._accounts.get(key)
        return (
            None
            if account is None or not account.strikes or account.explained
            else account.repaired
        )

    def explained(self, key: ObjectKey) -> None:
        """Note that the cause of a key's wait is reported."""
        if key in self._accounts:
            self._accounts[key].explained = True

    def is_calm(self, key: ObjectKey) -> bool:
        """Return whether no conflict of a key is going on."""
        account = self._accounts.get(key)
        return account is None or not account.strikes

    def forget(self, key: ObjectKey) -> None:
        """Forget a key that is gone."""
        self._accounts.pop(key, None)

    def _forget_idle(self, now: float) -> None:
        """Drop accounts that have not been used for so long that they are as good as new."""
        while self._accounts:
            key, account = next(iter(self._accounts.items()))
            # Keys in a conflict stay, however old: forgetting them would give the conflict a full
            # budget again. They go with their object (`forget`).
            if account.strikes or now - account.at < _REMEMBERED_SECONDS:
                return
            del self._accounts[key]


def _asked(raw: Mapping[str, Any]) -> str:
    """Return a digest of what an object requests: another one is a new task, which does not wait."""
    meta = raw["metadata"]
    asked = [
        meta.get("uid"),
        meta.get("generation"),
        (meta.get("annotations") or {}).get(ANNOTATION_RECONCILE_AT),
    ]
    if meta.get("generation") is None:  # a Secret, a ConfigMap: all of it is what is asked
        asked.append(
            {name: value for name, value in raw.items() if name not in {"metadata", "status"}}
        )
    asked.append(meta.get("deletionTimestamp"))
    return json.dumps(asked, sort_keys=True)


def _digest(body: JSONObject) -> bytes:
    """Return a digest of what was sent; the times of conditions aside, which differ in each repair of one."""
    return hashlib.blake2b(
        json.dumps(_without_times(body), sort_keys=True).encode(), digest_size=16
    ).digest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(inner) for name, inner in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    return value
