"""Objects of one kind in memory, kept as encoded bytes.

What belongs here: storing, finding and indexing objects, and which of two versions of one is the
newer. What does not: where objects come from (`operatorkit.cluster.informer`).

There are two views of an object, and they differ only between an own write and its event in the
watch:

    readers      see the newest version known, our own writes and deletions included (`put`, `hide`)
    subscribers  receive the watch's history, each event once, as if there were no `put` and no `hide`

Where the watch was down, a list shows what came of it. Subscribers receive that as `gap` changes,
and nothing that they may count on is left out: the state that an own write made, though no list
shows it, comes before what followed it; an object that was deleted and recreated is reported as
DELETED and ADDED.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from operatorkit.cluster import _json
from operatorkit.cluster.api import JSONObject
from operatorkit.cluster.versions import is_newer
from operatorkit.names import LABEL_OWNER_UID, ObjectKey

__all__ = ["Cache", "Change", "IndexFunction", "key_of"]

_log = logging.getLogger("operatorkit.cluster")

IndexFunction = Callable[[JSONObject], Iterable[str]]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

_OWNER: Final = " owner"  # no name that a caller would choose


def key_of(obj: Mapping[str, Any]) -> ObjectKey:
    """Return an object's key. Raises ValueError when it has no name."""
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise ValueError(f"an object without metadata.name: {str(obj)[:200]}")
    return ObjectKey(metadata.get("namespace") or "", name)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an object: `old` is None for ADDED, `new` is None for DELETED (then `old` is its last state).

    `version` is the resource version of `new`, "" for DELETED: asking for it decodes nothing. With
    `gap`, a list brought it: other states may have come between `old` and `new`, which no one saw.

    Each access to `old` and `new` decodes a fresh copy, which the caller may change; keep it rather
    than asking twice.
    """

    type: ChangeType
    key: ObjectKey
    old_data: bytes | None = None
    new_data: bytes | None = None
    version: str = ""
    gap: bool = False

    @classmethod
    def of(
        cls, type_: ChangeType, key: ObjectKey, old: JSONObject | None, new: JSONObject | None
    ) -> Change:
        """Make a change from objects."""
        return cls(
            type_,
            key,
            _json.dumps(old) if old is not None else None,
            _json.dumps(new) if new is not None else None,
            _version_of(new) if new is not None else "",
        )

    @property
    def old(self) -> JSONObject | None:
        """The object before."""
        return None if self.old_data is None else _decode(self.old_data)

    @property
    def new(self) -> JSONObject | None:
        """The object after."""
        return None if self.new_data is None else _decode(self.new_data)


@dataclass(slots=True)
class _Entry:
    data: bytes
    resource_version: str
    uid: str
    labels: Mapping[str, str]
    indexed: dict[str, tuple[str, ...]]


class Cache:
    """The objects of one kind, without what is never read.

    Guarantees: every object handed out is the caller's own copy; an older version never replaces a
    newer one. `transform` changes an object before it is stored, and must keep `metadata`; without
    one, managedFields are dropped. An object on which it raises is stored without managedFields,
    and that is logged.
    """

    def __init__(self, *, transform: Callable[[JSONObject], JSONObject] | None = None) -> None:
        self._transform = transform
        self._entries: dict[ObjectKey, _Entry] = {}
        self._namespaces: dict[str, set[ObjectKey]] = {}
        self._functions: dict[str, IndexFunction] = {_OWNER: _owners}
        self._indexes: dict[str, dict[str, set[ObjectKey]]] = {_OWNER: {}}
        # What subscribers saw last of the objects whose entry is ahead of the watch; None for "nothing".
        self._ahead: dict[ObjectKey, _Entry | None] = {}
        # By key, the uid of the objects that we have deleted, until the watch reports that.
        self._hidden: dict[ObjectKey, str] = {}
        self._seen_version = ""

    def __len__(self) -> int:
        return (
            sum(1 for key in self._entries if not self._is_hidden(key))
            if self._hidden
            else len(self._entries)
        )

    def __contains__(self, key: object) -> bool:
        return key in self._entries and not self._is_hidden(key)

    def get(self, key: ObjectKey) -> JSONObject | None:
        """Return a copy of an object, or None."""
        entry = self._entries.get(key) if not self._is_hidden(key) else None
        return None if entry is None else _decode(entry.data)

    def keys(
        self, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys in a namespace (None: in all) of the objects that carry all of `labels`, sorted."""
        keys: Iterable[ObjectKey] = (
            self._entries if namespace is None else self._namespaces.get(namespace, ())
        )
        if labels:
            wanted = labels.items()
            keys = [key for key in keys if self._entries[key].labels.items() >= wanted]
        return sorted(self._shown(keys), key=_sorting)

    def list(
        self, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> builtins.list[JSONObject]:
        """Return copies of the objects of `keys(namespace, labels)`, in that order."""
        return [_decode(self._entries[key].data) for key in self.keys(namespace, labels)]

    def resource_version(self, key: ObjectKey) -> str | None:
        """Return an object's resource version without decoding it, or None."""
        entry = self._entries.get(key) if not self._is_hidden(key) else None
        return None if entry is None else entry.resource_version

    def notified_version(self, key: ObjectKey) -> tuple[str, str] | None:
        """Return the resource version and uid in which a list or the watch brought an object last, or None."""
        entry = self._ahead[key] if key in self._ahead else self._entries.get(key)
        return None if entry is None else (entry.resource_version, entry.uid)

    def read_version(self, key: ObjectKey) -> str:
        """Return the resource version that readers see, hidden or not, or ""."""
        entry = self._entries.get(key)
        return "" if entry is None else entry.resource_version

    def newest(self) -> tuple[ObjectKey, str, str] | None:
        """Return key, resource version and uid of the object that a list or the watch brought with the latest version.

        None where there is none, or versions are no numbers.
        """
        known = (
            (key, known)
            for key in {*self._entries, *self._ahead}
            if (known := self.notified_version(key)) is not None
        )
        numbered = [
            (int(version), key, version, uid)
            for key, (version, uid) in known
            if version.isdecimal()
        ]
        if not numbered:
            return None
        _, key, version, uid = max(numbered, key=lambda each: each[0])
        return key, version, uid

    def answered_version(self) -> str:
        """Return the latest version that the server has answered to an own write and no watch has brought, or ""."""
        versions = [
            entry.resource_version
            for key in self._ahead
            if (entry := self._entries.get(key)) is not None
        ]
        return max((each for each in versions if each.isdecimal()), key=int, default="")

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index the objects, present and to come, by the values that `function` gives for each.

        A function that raises gives no values; that is logged. Raises ValueError when the name is
        taken.
        """
        if name in self._functions:
            raise ValueError(f"there is an index {name!r} already: choose another name")
        self._functions[name] = function
        self._indexes[name] = {}
        for key, entry in self._entries.items():
            values = self._values(name, _decode(entry.data), key)
            entry.indexed[name] = values
            self._index(name, values, key)

    def by_index(self, name: str, value: str) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that have `value` in the index, sorted. Raises KeyError for no such index."""
        if name not in self._indexes:
            known = ", ".join(sorted(self._functions.keys() - {_OWNER})) or "none"
            raise KeyError(f"there is no index {name!r}: add it with add_index (indexes: {known})")
        return sorted(self._shown(self._indexes[name].get(value, ())), key=_sorting)

    def by_owner(self, uid: str) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that name `uid` in an owner reference or in operatorkit's owner label."""
        return self.by_index(_OWNER, uid)

    def put(self, obj: JSONObject) -> bool:
        """Store the server's answer to an own write, ahead of the watch; return whether readers see it now.

        Not if the cache knows a newer version, or if the watch is past it and says that the object
        is gone. Subscribers are not notified: the watch will do that.
        """
        # The reconcile that wrote must read its own write, or it would write again: the watch may be
        # seconds behind. Subscribers still get the state from the watch, because what they do on it
        # (trigger a reconcile, or ignore an own write) must happen once for each state (ADR 0011).
        key = key_of(obj)
        version = _version_of(obj)
        current = self._entries.get(key)
        # Without an entry the version of the watch decides: an object that is missing at that
        # version was deleted after our write, and storing the response would bring back an object
        # that no event will ever remove.
        known = current.resource_version if current is not None else self._seen_version
        if known and not is_newer(version, known):
            return False
        self._ahead.setdefault(key, current)
        self._store(
            key, self._entry(key, {**obj, "metadata": {**obj["metadata"]}})
        )  # the caller keeps its object
        return True

    def hide(self, key: ObjectKey, uid: str) -> bool:
        """Let readers see at once that the object with this uid is deleted; say whether that is news to them.

        Subscribers are not notified: the watch will do that.
        """
        # By uid, not by name: the object may have been recreated while the request was under way, and
        # the new one must stay visible. The entry itself stays until the watch reports the deletion.
        current = self._entries.get(key)
        if current is None or current.uid != uid:
            return False
        self._hidden[key] = uid
        return True

    def update(
        self, obj: JSONObject, key: ObjectKey | None = None, *, listed: bool = False
    ) -> builtins.list[Change]:
        """Take in an object from a list or an ADDED or MODIFIED event; return the changes for subscribers, if any.

        `key` spares the work of finding it, where the caller has it. Call `note` when all before it
        is taken in too.
        """
        if key is None:
            key = key_of(obj)
        current = self._entries.get(key)
        if key in self._ahead:
            return self._catch_up(key, obj, current, listed=listed)
        if listed and current is not None and _is_state_of(current, obj):
            return []  # nothing new: most of a list that only makes sure
        entry = self._entry(key, obj)
        self._store(key, entry)
        return _changes(key, current, entry, gap=listed)

    def _catch_up(
        self, key: ObjectKey, obj: JSONObject, current: _Entry | None, *, listed: bool
    ) -> builtins.list[Change]:
        """Take in a state of an object whose entry is ahead of the watch, since `put` stored the answer to a write.

        Readers must never see an older state than that answer, and subscribers must see each state
        once, the own write among them. So there are three cases (ADR 0012, ADR 0011): the watch
        brings the own write itself, a state from before it, or one that followed it. In the last,
        the event of the own write was lost with a watch, and subscribers get it first.
        """
        known = self._ahead[key]
        if current is not None and _is_state_of(current, obj):
            del self._ahead[key]
            return _changes(key, known, current, gap=listed)  # `put` has encoded it already
        entry = self._entry(key, obj)
        if current is not None and is_newer(current.resource_version, entry.resource_version):
            self._ahead[key] = entry
            return _changes(key, known, entry, gap=listed)
        del self._ahead[key]
        lost = _changes(key, known, current, gap=listed)
        if current is None or current.resource_version != entry.resource_version:
            self._store(key, entry)
        return [*lost, *_changes(key, current, entry, gap=listed)]

    def remove(
        self,
        key: ObjectKey,
        last: JSONObject | None = None,
        *,
        version: str = "",
        listed: bool = False,
    ) -> builtins.list[Change]:
        """Store that an object is deleted as of `version`, with its last state if known; return the changes."""
        current = self._entries.get(key)
        was_ahead = key in self._ahead
        known = self._ahead[key] if was_ahead else current
        changes: builtins.list[Change] = []
        if (
            was_ahead
            and current is not None
            and version
            and is_newer(current.resource_version, version)
        ):
            # The deletion is of the object before: readers already see the one that we created
            # under its name, while subscribers have yet to see the old one go.
            self._ahead[key] = None  # deleted, and recreated by us since
        else:
            if was_ahead:
                changes = _changes(key, known, current, gap=listed)
                known = current
            self._ahead.pop(key, None)
            self._drop(key)
            self._hidden.pop(key, None)
        self.note(version)
        if known is None:
            return changes
        data = _json.dumps(self._trimmed(last)) if last is not None else known.data
        return [*changes, Change("DELETED", key, data, None, gap=listed)]

    def sweep(self, listed: set[ObjectKey], version: str) -> Iterable[Change]:
        """Remove what a complete list at `version` does not have: objects deleted while there was no watch."""
        gone = [key for key in {*self._entries, *self._ahead} if key not in listed]
        changes = [
            self.remove(key, version=version, listed=True) for key in sorted(gone, key=_sorting)
        ]
        self.note(version)
        return [change for each in changes for change in each]

    def note(self, version: str) -> None:
        """Take in that all changes up to `version` have been taken in."""
        if version and (not self._seen_version or is_newer(version, self._seen_version)):
            self._seen_version = version

    def forget_versions(self) -> builtins.list[Change]:
        """Believe the next list whatever its versions are: the server's history was reset (restored, or recreated).

        Return the changes before it: the states that own writes made in the history that has ended.
        """
        changes = []
        # Versions of the new history may be lower than those here, and "an older one never replaces a
        # newer one" would then reject everything the list holds.
        for key in sorted(self._ahead, key=_sorting):
            changes += _changes(key, self._ahead[key], self._entries.get(key), gap=True)
        self._ahead.clear()
        self._seen_version = ""
        self._hidden.clear()
        return changes

    def known(self) -> builtins.list[Change]:
        """Return the state that subscribers know, as ADDED changes, sorted by key."""
        changes = []
        for key in sorted({*self._entries, *self._ahead}, key=_sorting):
            entry = self._ahead[key] if key in self._ahead else self._entries[key]
            if entry is not None:
                changes.append(Change("ADDED", key, None, entry.data, entry.resource_version))
        return changes

    def _trimmed(self, obj: JSONObject) -> JSONObject:
        if self._transform is not None:
            try:
                return self._transform(obj)
            except Exception:  # noqa: BLE001 - user code must not stop the informer
                _log.exception(
                    "the transform failed for %s: the object is kept as it is", key_of(obj)
                )
        obj["metadata"].pop("managedFields", None)
        return obj

    def _entry(self, key: ObjectKey, obj: JSONObject) -> _Entry:
        metadata = obj["metadata"]
        labels, uid = metadata.get("labels"), metadata.get("uid") or ""
        version = _version_of(obj)
        obj = self._trimmed(obj)
        return _Entry(
            _json.dumps_to_keep(obj),
            version,
            uid,
            labels if isinstance(labels, dict) else {},
            {name: self._values(name, obj, key) for name in self._functions},
        )

    def _values(self, name: str, obj: JSONObject, key: ObjectKey) -> tuple[str, ...]:
        try:
            return tuple(self._functions[name](obj))
        except Exception:  # noqa: BLE001 - user code must not stop the informer
            _log.exception(
                "the index function %r failed for %s: the object is not in that index", name, key
            )
            return ()

    def _store(self, key: ObjectKey, entry: _Entry) -> None:
        self._drop(key)
        self._entries[key] = entry
        if self._hidden and self._hidden.get(key, entry.uid) != entry.uid:
            del self._hidden[key]  # recreated
        group = self._namespaces.get(key.namespace)
        if group is None:
            group = self._namespaces[key.namespace] = set()
        group.add(key)
        for name, values in entry.indexed.items():
            self._index(name, values, key)

    def _is_hidden(self, key: Any) -> bool:
        if not self._hidden or key not in self._hidden or key not in self._entries:
            return False
        return self._entries[key].uid == self._hidden[key]

    def _shown(self, keys: Iterable[ObjectKey]) -> Iterable[ObjectKey]:
        return [key for key in keys if not self._is_hidden(key)] if self._hidden else keys

    def _drop(self, key: ObjectKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        _discard(self._namespaces, key.namespace, key)
        for name, values in entry.indexed.items():
            for value in values:
                _discard(self._indexes[name], value, key)

    def _index(self, name: str, values: tuple[str, ...], key: ObjectKey) -> None:
        index = self._indexes[name]
        for value in values:
            index.setdefault(value, set()).add(key)


def _changes(
    key: ObjectKey, known: _Entry | None, entry: _Entry | None, *, gap: bool
) -> list[Change]:
    """Return how subscribers come from the state that they know to another."""
    if entry is None or (
        known is not None
        and (known.resource_version, known.uid) == (entry.resource_version, entry.uid)
    ):
        return []
    if known is None:
        return [Change("ADDED", key, None, entry.data, entry.resource_version, gap)]
    if known.uid != entry.uid:
        return [
            Change("DELETED", key, known.data, None, gap=gap),
            Change("ADDED", key, None, entry.data, entry.resource_version, gap),
        ]
    return [Change("MODIFIED", key, known.data, entry.data, entry.resource_version, gap)]


def _decode(data: bytes) -> JSONObject:
    obj: JSONObject = _json.loads(data)
    return obj


def _discard(groups: dict[str, set[ObjectKey]], value: str, key: ObjectKey) -> None:
    group = groups.get(value)
    if group is not None:
        group.discard(key)
        if not group:
            del groups[value]


def _sorting(key: ObjectKey) -> tuple[str, str]:
    return (key.namespace, key.name)


def _is_state_of(entry: _Entry, obj: JSONObject) -> bool:
    """Return whether an object is the very state that an entry holds."""
    return entry.resource_version == _version_of(obj) and entry.uid == (
        obj["metadata"].get("uid") or ""
    )


def _version_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")


def _owners(obj: JSONObject) -> Iterable[str]:
    metadata = obj["metadata"]
    found = {
        str(reference["uid"])
        for reference in metadata.get("ownerReferences") or ()
        if reference.get("uid")
    }
    label = (metadata.get("labels") or {}).get(LABEL_OWNER_UID)
    return found | {label} if label else found
