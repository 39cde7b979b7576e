from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.storage import store as module
from operatorkit.controlplane.embedded.storage.store import Change, Stale, Storage, first_revision


def _obj(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_every_write_of_any_collection_has_a_revision_of_its_own() -> None:
    storage = Storage()
    first = storage.put(storage.collection("a"), _obj("x"), None)
    second = storage.put(storage.collection("b"), _obj("x"), None)
    assert second.revision == first.revision + 1 == storage.revision
    assert second.decode()["metadata"]["resourceVersion"] == str(second.revision)


def test_the_bytes_that_stand_for_an_object_are_made_once_for_each_who_asks() -> None:
    storage = Storage()
    record = storage.put(storage.collection("a"), _obj("x"), None)
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"%d" % len(made))
        return made[-1]

    one, other = object(), object()
    assert [record.view(key, make) for key in (one, one, other)] == [b"0", b"0", b"1"]


def test_a_writer_that_read_something_older_is_notified() -> None:
    storage = Storage()
    collection = storage.collection("a")
    first = storage.put(collection, _obj("x"), None)
    storage.put(collection, _obj("x", k="2"), first)
    with pytest.raises(Stale):
        storage.put(collection, _obj("x", k="3"), first)
    with pytest.raises(Stale):
        storage.put(collection, _obj("x"), None)
    with pytest.raises(Stale):
        storage.remove(collection, first)


def test_a_namespace_is_selected_without_its_neighbours() -> None:
    storage = Storage()
    collection = storage.collection("a")
    for namespace in ("b", "ab", "a-b", "a"):
        storage.put(collection, _obj("x", namespace), None)
    assert [it.namespace for it in collection.select("a")] == ["a"]
    assert [it.key for it in collection.select(None)] == sorted(collection.records)


def test_subscribers_get_each_change_once_and_none_after_they_leave() -> None:
    storage = Storage()
    collection = storage.collection("a")
    seen: list[Change] = []
    leave = collection.subscribe(seen.append)
    record = storage.put(collection, _obj("x"), None)
    record = storage.put(collection, _obj("x", k="2"), record)
    storage.remove(collection, record)
    leave()
    storage.put(collection, _obj("y"), None)
    assert [(it.type, it.revision) for it in seen] == [("ADDED", 2), ("MODIFIED", 3), ("DELETED", 4)]
    assert seen[-1].record.decode()["metadata"]["resourceVersion"] == "4"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "remove"])), max_size=30))
def test_every_past_that_is_remembered_can_be_read_again(steps: list[tuple[str, str]]) -> None:
    storage = Storage()
    collection = storage.collection("a")
    pasts = {storage.revision: dict(collection.records)}
    for name, action in steps:
        record = collection.records.get(f"default/{name}")
        if action == "put":
            storage.put(collection, _obj(name), record)
        elif record is not None:
            storage.remove(collection, record)
        pasts[storage.revision] = copy.copy(collection.records)
    for revision, records in pasts.items():
        assert collection.at(revision) == records
    for revision in pasts:
        assert [it.revision for it in collection.since(revision)] == list(range(revision + 1, storage.revision + 1))


def test_what_is_forgotten_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_LENGTH", 2)
    storage = Storage()
    collection = storage.collection("a")
    for name in "abcd":
        storage.put(collection, _obj(name), None)
    assert [it.record.name for it in collection.since(3)] == ["c", "d"]
    for old in (1, 2):
        with pytest.raises(LookupError):
            collection.since(old)
        with pytest.raises(LookupError):
            collection.at(old)
    storage.forget()
    assert collection.since(5) == []
    assert storage.collection("new").forgotten == 5


def test_a_history_that_starts_later_starts_ahead_of_every_number_before_it() -> None:
    earlier = Storage(first_revision())
    for name in ("a", "b", "c"):
        earlier.put(earlier.collection("a"), _obj(name), None)
    assert earlier.revision < first_revision() < 2**53


def test_the_log_of_large_objects_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1_000)
    storage = Storage()
    collection = storage.collection("a")
    for name in "abcd":
        storage.put(collection, _obj(name, k="v" * 400), None)
    assert [it.record.name for it in collection.log] == ["c", "d"]
    storage.put(collection, _obj("e", k="v" * 5_000), None)
    assert [it.record.name for it in collection.log] == ["e"]
    assert collection.forgotten == storage.revision - 1
    storage.forget()
    for name in "fg":
        storage.put(collection, _obj(name), None)
    assert [it.record.name for it in collection.log] == ["f", "g"]
