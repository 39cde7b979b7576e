"""Where objects live: encoded once, numbered by one counter, with a log of what happened.

What belongs here: records, collections of them, the revision counter, the log from which watches resume and old
snapshots are rebuilt, and fan-out to subscribers. What does not: anything that knows what is inside an object, beyond
its metadata. Nothing here waits: a commit and its fan-out are one step of the event loop.

                 commit(new, expected)
    Storage ──────────────────────────► Collection.records   key -> Record (bytes, revision, labels, uid)
       │ revision += 1                  Collection.log       the last Changes, oldest first
       └─────────────────────────────►  subscribers          each gets the same Change
                                        write_ahead          the same Change, where there is one
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.controlplane.embedded.serializer.json import decode, split_envelope

__all__ = ["Change", "Collection", "Record", "Stale", "Storage", "first_revision", "key_of"]

LOG_LENGTH = 4096
"""How many changes of a collection are kept for watches to resume from."""
LOG_BYTES = 64 * 1024 * 1024
"""How much the objects of those changes may hold together: the log of large objects is shorter."""


def first_revision() -> int:
    """Return the revision at which a new history starts: the microseconds since 1970.

    A server that starts without data must not count again through the numbers of the one before it: a client that
    resumes from one of those would miss the objects between, and keep the deleted ones, for ever. No server makes a
    million changes in a second, so whatever starts later starts ahead, and every older number gets 410 Gone.

    This is the machine's time whatever clock a test has: two servers whose FakeClock shows the same moment are still
    two histories. Microseconds are exact in JavaScript, too: they stay below 2^53 until the year 2255.
    """
    return int(SYSTEM_CLOCK.now().timestamp() * 1_000_000)


class Stale(Exception):  # noqa: N818 - no failure: the caller reads again
    """The record is no longer the one that the writer read."""


def key_of(namespace: str, name: str) -> str:
    """Return the key of an object in its collection; keys sort as kube-apiserver lists objects."""
    return f"{namespace}/{name}" if namespace else name


class Record:
    """One object at one revision: the bytes, and what is needed to find it without decoding them."""

    __slots__ = (
        "_fields",
        "_left",
        "_view",
        "body",
        "key",
        "labels",
        "name",
        "namespace",
        "revision",
        "uid",
    )

    def __init__(self, obj: Mapping[str, Any], revision: int) -> None:
        metadata = obj["metadata"]
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.key: str = key_of(self.namespace, self.name)
        self.uid: str = metadata.get("uid", "")
        self.labels: Mapping[str, str] = metadata.get("labels") or {}
        self.revision: int = revision
        self.body: bytes = split_envelope(obj)
        self._left: Record | None = None
        self._view: tuple[object, bytes] | None = None
        self._fields: tuple[object, Mapping[str, str]] | None = None

    @property
    def going(self) -> bool:
        """Whether the object is being deleted."""
        return (
            b'"deletionTimestamp"' in self.body and "deletionTimestamp" in self.decode()["metadata"]
        )

    def decode(self) -> dict[str, Any]:
        """Return a fresh copy of the object, without `kind` and `apiVersion`."""
        obj: dict[str, Any] = decode(b"{" + self.body)
        return obj

    def left_at(self, revision: int) -> Record:
        """Return the object at the revision of the change that ended it: how watchers see it leave their selection.

        All watchers share one copy: a record is followed by one change only.
        """
        if self._left is None:
            obj = self.decode()
            obj["metadata"]["resourceVersion"] = str(revision)
            self._left = Record(obj, revision)
        return self._left

    def view(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return other bytes that stand for the object, made once for the same `key`."""
        if self._view is None or self._view[0] is not key:
            self._view = key, make()
        return self._view[1]

    def fields(
        self, key: object, select: Callable[[dict[str, Any]], Mapping[str, str]]
    ) -> Mapping[str, str]:
        """Return the fields by which the object can be selected, found once for the same `key`."""
        if self._fields is None or self._fields[0] is not key:
            self._fields = key, select(self.decode())
        return self._fields[1]


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit did. `record` of a deletion is the last state, at the revision of the deletion."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    record: Record
    old: Record | None

    @property
    def revision(self) -> int:
        """The revision that this change made."""
        return self.record.revision


Subscriber = Callable[[Change], None]


class Collection:
    """All objects of one resource, whatever version they are served in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: dict[str, Record] = {}
        self.log: deque[Change] = deque()
        self._log_bytes = 0
        self.forgotten: int = 0  # changes at or before this revision are not in the log any more
        self._sorted: list[str] | None = None
        self._subscribers: dict[int, Subscriber] = {}
        self._endings: dict[int, Callable[[], None]] = {}
        self._next_subscriber = 0

    def keys(self) -> list[str]:
        """Return all keys in order. The list is shared: do not change it."""
        if self._sorted is None:
            self._sorted = sorted(self.records)
        return self._sorted

    def select(self, namespace: str | None) -> Iterator[Record]:
        """Yield the records of one namespace, or all, in the order of their keys."""
        keys = self.keys()
        if namespace:
            keys = keys[
                bisect_left(keys, f"{namespace}/") : bisect_right(keys, f"{namespace}/\U0010ffff")
            ]
        records = self.records
        for key in keys:
            yield records[key]

    def at(self, revision: int) -> dict[str, Record]:
        """Return the records as they were at `revision`. Raises LookupError when that is forgotten."""
        if revision < self.forgotten:
            raise LookupError(revision)
        records = dict(self.records)
        for change in reversed(self.log):
            if change.revision <= revision:
                break
            if change.old is None:
                records.pop(change.record.key, None)
            else:
                records[change.record.key] = change.old
        return records

    def since(self, revision: int) -> list[Change]:
        """Return the changes after `revision`, oldest first. Raises LookupError when some are forgotten."""
        if revision < self.forgotten:
            raise LookupError(revision)
        changes = []
        for change in reversed(self.log):
            if change.revision <= revision:
                break
            changes.append(change)
        changes.reverse()
        return changes

    def subscribe(
        self, subscriber: Subscriber, *, on_end: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Call `subscriber` with every change from now on; the function returned ends that.

        `on_end` is called when the resource is not served any more, or not as it was (`end`).
        """
        number = self._next_subscriber
        self._next_subscriber += 1
        self._subscribers[number] = subscriber
        if on_end is not None:
            self._endings[number] = on_end

        def unsubscribe() -> None:
            self._subscribers.pop(number, None)
            self._endings.pop(number, None)

        return unsubscribe

    def end(self) -> None:
        """Notify the subscribers that what they follow is not served any more, or not as it was."""
        for on_end in list(self._endings.values()):
            on_end()

    def forget(self, revision: int) -> None:
        """Drop the log up to `revision`: watches and pages from before it get 410 Gone."""
        while self.log and self.log[0].revision <= revision:
            self._drop_oldest()
        self.forgotten = max(self.forgotten, revision)

    def _drop_oldest(self) -> None:
        change = self.log.popleft()
        self._log_bytes -= len(change.record.body)
        self.forgotten = change.revision

    def record(self, change: Change) -> None:
        """Enter a change and notify the subscribers. For `Storage` only."""
        key = change.record.key
        if change.type == "DELETED":
            del self.records[key]
        else:
            self.records[key] = change.record
        if change.type != "MODIFIED":
            self._sorted = None
        self.log.append(change)
        self._log_bytes += len(change.record.body)
        # One change always stays, however large: a watcher that has read everything else would
        # otherwise learn that its position is too old as soon as such an object is written.
        while len(self.log) > LOG_LENGTH or (self._log_bytes > LOG_BYTES and len(self.log) > 1):
            self._drop_oldest()
        # Without an await between the record and the last subscriber: a watch that starts in
        # between would see the object in its initial list and get the event as well, or get
        # neither. A subscriber may unsubscribe here, so this iterates a copy.
        for subscriber in list(self._subscribers.values()):
            subscriber(change)


class Storage:
    """All collections, and the one counter that numbers every change of any of them.

    `revision` is where the counter starts: `first_revision()` on a server, a small number where a test compares.

    Guarantees: revisions grow by one with each change, and stay below 2^63.
    """

    def __init__(self, revision: int = 1) -> None:
        self.revision: int = revision
        self.write_ahead: Callable[[str, Change], None] | None = None
        self._collections: dict[str, Collection] = {}
        self._forgotten = 0

    def collection(self, name: str) -> Collection:
        """Return the collection of that name; it begins empty."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = Collection(name)
            # A collection that is used for the first time after a compaction has no log from before
            # it either: without this line, a watch from an old revision would succeed, and show
            # nothing.
            found.forgotten = self._forgotten
        return found

    def put(self, collection: Collection, obj: dict[str, Any], expected: Record | None) -> Record:
        """Write an object, in place of `expected` (None: there must be none), and return its record.

        Sets `metadata.resourceVersion` in `obj`. Raises Stale when `expected` is not what is there.
        """
        metadata = obj["metadata"]
        key = key_of(metadata.get("namespace", ""), metadata["name"])
        if collection.records.get(key) is not expected:
            raise Stale
        revision = self.revision + 1
        metadata["resourceVersion"] = str(revision)
        record = Record(obj, revision)
        self._commit(collection, Change("MODIFIED" if expected else "ADDED", record, expected))
        return record

    def remove(self, collection: Collection, expected: Record) -> Record:
        """Delete an object and return its last state, numbered by the deletion. Raises Stale."""
        if collection.records.get(expected.key) is not expected:
            raise Stale
        obj = expected.decode()
        revision = self.revision + 1
        obj["metadata"]["resourceVersion"] = str(revision)
        # A deletion has a revision of its own, as in etcd. With the revision of the last write, a
        # watch that resumes from there would never receive the DELETED event.
        last = Record(obj, revision)
        self._commit(collection, Change("DELETED", last, expected))
        return last

    def _commit(self, collection: Collection, change: Change) -> None:
        # The log on disk comes first: where it raises, the disk being full for example, nothing has
        # changed in memory, no watcher has seen a state that a restart would lose, and the client
        # gets the error.
        if self.write_ahead is not None:
            self.write_ahead(collection.name, change)
        self.revision = change.revision
        collection.record(change)

    def load(self, collection: Collection, obj: dict[str, Any], revision: int) -> None:
        """Enter an object of an earlier run, without notifying subscribers."""
        record = Record(obj, revision)
        collection.records[record.key] = record
        collection._sorted = None  # noqa: SLF001 - the two classes are one mechanism
        self.revision = max(self.revision, revision)

    def forget(self, revision: int | None = None) -> None:
        """Compact: drop the logs up to `revision` (now, when None)."""
        self._forgotten = self.revision if revision is None else revision
        for collection in self._collections.values():
            collection.forget(self._forgotten)
