import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.cluster import Cache, Change, _json, key_of
from operatorkit.names import LABEL_OWNER_UID, ObjectKey


def pod(name, version, *, namespace="ns", labels=None, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "resourceVersion": str(version),
            "labels": labels or {},
            "managedFields": [{"manager": "m"}],
            **metadata,
        },
        "spec": {"nodeName": f"node-{version}"},
    }


A, B = ObjectKey("ns", "a"), ObjectKey("ns", "b")


def names(keys):
    return [key.name for key in keys]


def brief(changes):
    def version(obj):
        return None if obj is None else obj["metadata"]["resourceVersion"]

    return [(change.type, change.key.name, version(change.old), version(change.new)) for change in changes]


def test_each_reader_has_a_copy_without_managed_fields():
    cache = Cache()
    cache.update(pod("a", 1))
    first = cache.get(A)
    assert "managedFields" not in first["metadata"]
    first["spec"]["nodeName"] = "changed by a reader"
    assert cache.get(A)["spec"]["nodeName"] == "node-1"
    assert cache.get(B) is None


def test_objects_are_found_by_namespace_labels_and_in_order():
    cache = Cache()
    for name, namespace, labels in [
        ("b", "one", {"x": "1"}),
        ("a", "one", {"x": "1", "y": "2"}),
        ("c", "two", {"x": "2"}),
    ]:
        cache.update(pod(name, 1, namespace=namespace, labels=labels))
    assert names(cache.keys()) == ["a", "b", "c"]
    assert names(cache.keys("one")) == ["a", "b"]
    assert names(cache.keys(labels={"x": "1", "y": "2"})) == ["a"]
    assert [obj["metadata"]["name"] for obj in cache.list("two", {"x": "2"})] == ["c"]
    assert cache.keys("three") == []
    assert len(cache) == 3
    assert ObjectKey("two", "c") in cache


def test_an_index_follows_objects_as_they_come_change_and_go():
    cache = Cache()
    cache.update(pod("a", 1))
    cache.add_index("node", lambda obj: [obj["spec"]["nodeName"]])
    assert cache.by_index("node", "node-1") == [A]
    cache.update(pod("a", 2))
    cache.update(pod("b", 2))
    assert cache.by_index("node", "node-1") == []
    assert cache.by_index("node", "node-2") == [A, B]
    cache.remove(A, version="3")
    assert cache.by_index("node", "node-2") == [B]


def test_an_index_name_is_taken_once_and_asked_for_by_its_name():
    cache = Cache()
    cache.add_index("node", lambda obj: [])
    with pytest.raises(ValueError, match="'node' already"):
        cache.add_index("node", lambda obj: [])
    with pytest.raises(KeyError, match="indexes: node"):
        cache.by_index("nod", "x")


def test_an_index_function_that_raises_leaves_the_object_readable(caplog):
    cache = Cache()
    cache.add_index("broken", lambda obj: [obj["nope"]])
    cache.update(pod("a", 1))
    assert cache.get(A) is not None
    assert "index function 'broken' failed for ns/a" in caplog.text


def test_children_are_found_by_owner_reference_and_by_label():
    cache = Cache()
    cache.update(pod("a", 1, ownerReferences=[{"uid": "u1"}]))
    cache.update(pod("b", 1, labels={LABEL_OWNER_UID: "u1"}))
    assert cache.by_owner("u1") == [A, B]
    assert cache.by_owner("u2") == []


def test_what_was_transformed_away_is_not_kept():
    cache = Cache(transform=lambda obj: {key: value for key, value in obj.items() if key != "spec"})
    cache.update(pod("a", 1))
    assert "spec" not in cache.get(A)


def test_a_transform_that_raises_neither_loses_nor_stops_anything(caplog):
    def transform(obj):
        raise KeyError("status")

    cache = Cache(transform=transform)
    assert brief(cache.update(pod("a", 1))) == [("ADDED", "a", None, "1")]
    assert "managedFields" not in cache.get(A)["metadata"]
    assert brief(cache.remove(A, pod("a", 2), version="2")) == [("DELETED", "a", "2", None)]
    assert "the transform failed for ns/a" in caplog.text


def test_an_object_that_is_put_stays_the_callers():
    cache, mine = Cache(), pod("a", 1)
    cache.put(mine)
    assert mine == pod("a", 1)


def test_the_same_version_is_reported_once():
    cache = Cache()
    assert brief(cache.update(pod("a", 1))) == [("ADDED", "a", None, "1")]
    assert cache.update(pod("a", 1)) == []
    assert brief(cache.update(pod("a", 2))) == [("MODIFIED", "a", "1", "2")]
    assert brief(cache.remove(A, pod("a", 3), version="3")) == [("DELETED", "a", "3", None)]
    assert cache.remove(A, version="3") == []


def test_a_write_is_read_at_once_and_reported_when_the_watch_comes_to_it():
    cache = Cache()
    cache.update(pod("a", 1))
    assert cache.put(pod("a", 5))
    assert cache.resource_version(A) == "5"
    assert brief(cache.update(pod("a", 3))) == [("MODIFIED", "a", "1", "3")]
    assert cache.resource_version(A) == "5", "an older event must not take back what we wrote"
    assert brief(cache.update(pod("a", 5))) == [("MODIFIED", "a", "3", "5")]
    assert brief(cache.update(pod("a", 6))) == [("MODIFIED", "a", "5", "6")]
    assert not cache.put(pod("a", 5)), "an answer that came late must not take back what the watch said"
    assert cache.resource_version(A) == "6"


def test_several_writes_before_their_events_are_reported_from_the_state_before_them():
    cache = Cache()
    for version in (5, 6, 7):
        assert cache.put(pod("a", version))
    assert brief(cache.update(pod("a", 5))) == [("ADDED", "a", None, "5")]
    assert brief(cache.update(pod("a", 7))) == [("MODIFIED", "a", "5", "7")]


def test_an_answer_that_comes_after_the_deletion_makes_no_ghost():
    cache = Cache()
    cache.update(pod("a", 4))
    cache.remove(A, pod("a", 6), version="6")
    assert not cache.put(pod("a", 5))
    assert A not in cache


def test_an_answer_that_comes_after_a_list_without_the_object_makes_no_ghost():
    cache = Cache()
    cache.update(pod("a", 9), listed=True)
    cache.update(pod("b", 3), listed=True)
    assert cache.put(pod("c", 5)), "the list is not complete: c may be among what is still to come"
    cache.update(pod("c", 5), listed=True)
    assert list(cache.sweep({A, B, ObjectKey("ns", "c")}, "9")) == []
    assert not cache.put(pod("d", 7)), "the list was at 9, and d is not there: it was deleted since"


def test_a_list_that_passes_over_an_own_write_reports_it_first():
    cache = Cache()
    cache.update(pod("a", 1))
    cache.note("1")
    cache.put(pod("a", 3))
    changes = cache.update(pod("a", 5), listed=True)
    assert brief(changes) == [("MODIFIED", "a", "1", "3"), ("MODIFIED", "a", "3", "5")]
    cache.put(pod("b", 7))
    changes += cache.update(pod("b", 9), listed=True)
    assert brief(changes[2:]) == [("ADDED", "b", None, "7"), ("MODIFIED", "b", "7", "9")]
    assert [change.gap for change in changes] == [True] * 4


def test_what_a_list_shows_to_be_recreated_is_reported_as_deleted_and_added():
    cache = Cache()
    cache.update(pod("a", 1, uid="first"))
    assert [change.gap for change in cache.update(pod("b", 2))] == [False]
    changes = cache.update(pod("a", 5, uid="second"), listed=True)
    assert brief(changes) == [("DELETED", "a", "1", None), ("ADDED", "a", None, "5")]
    cache.put(pod("a", 7, uid="second"))
    changes = cache.update(pod("a", 9, uid="third"), listed=True)
    assert brief(changes) == [
        ("MODIFIED", "a", "5", "7"),
        ("DELETED", "a", "7", None),
        ("ADDED", "a", None, "9"),
    ]


def test_another_object_of_the_same_name_and_version_is_reported():
    cache = Cache()
    cache.update(pod("a", 5, uid="before the server was restored"))
    assert brief(cache.update(pod("a", 5, uid="after"))) == [("DELETED", "a", "5", None), ("ADDED", "a", None, "5")]
    assert cache.update(pod("a", 5, uid="after")) == []


def test_an_object_recreated_survives_the_deletion_of_its_predecessor():
    cache = Cache()
    cache.update(pod("a", 4))
    assert cache.put(pod("a", 8))
    assert brief(cache.remove(A, pod("a", 6), version="6")) == [("DELETED", "a", "6", None)]
    assert cache.resource_version(A) == "8"
    assert brief(cache.update(pod("a", 8))) == [("ADDED", "a", None, "8")]


def test_a_sweep_removes_ghosts_but_not_what_was_written_after_the_list():
    cache = Cache()
    cache.update(pod("a", 1))
    cache.update(pod("b", 2))
    cache.put(pod("c", 9))
    assert brief(cache.sweep({B}, "5")) == [("DELETED", "a", "1", None)]
    assert names(cache.keys()) == ["b", "c"]
    assert brief(cache.update(pod("c", 9))) == [("ADDED", "c", None, "9")]


def test_what_came_by_a_write_and_went_unseen_is_reported_as_deleted():
    cache = Cache()
    cache.put(pod("a", 3))
    assert brief(cache.sweep(set(), "5")) == [("ADDED", "a", None, "3"), ("DELETED", "a", "3", None)]
    assert (list(cache.keys()), list(cache.known()), cache._ahead) == ([], [], {})
    assert list(cache.sweep(set(), "6")) == []


def test_after_a_reset_of_history_lower_versions_count():
    cache = Cache()
    cache.update(pod("a", 100))
    cache.put(pod("a", 120))
    assert brief(cache.forget_versions()) == [("MODIFIED", "a", "100", "120")], "the last that is told of that history"
    assert brief(cache.update(pod("a", 3))) == [("MODIFIED", "a", "120", "3")]
    assert cache.resource_version(A) == "3"
    assert cache.put(pod("b", 4))


def test_those_who_come_late_are_notified_of_what_the_others_know():
    cache = Cache()
    cache.update(pod("b", 2))
    cache.put(pod("b", 7))
    cache.put(pod("c", 8))
    cache.update(pod("a", 3))
    assert brief(cache.known()) == [("ADDED", "a", None, "3"), ("ADDED", "b", None, "2")]


def test_an_object_without_a_name_is_rejected():
    with pytest.raises(ValueError, match=r"without metadata\.name"):
        key_of({"kind": "Pod", "metadata": {}})
    with pytest.raises(ValueError, match=r"without metadata\.name"):
        key_of({"kind": "Pod"})


def test_a_change_gives_a_fresh_copy_each_time():
    change = Change.of("MODIFIED", A, pod("a", 1), pod("a", 2))
    change.new["spec"] = "gone"
    assert change.new["spec"] == {"nodeName": "node-2"}
    assert change.old["metadata"]["resourceVersion"] == "1"


@st.composite
def histories(draw):
    """A server's history of three names, the moments when our own writes are answered, and of relists."""
    steps, alive = [], {}
    for version in range(1, draw(st.integers(2, 26))):
        name = draw(st.sampled_from("abc"))
        if name in alive and draw(st.booleans()):
            del alive[name]
            steps.append(("DELETED", name, version))
        else:
            alive[name] = version
            steps.append(("SET", name, version))
    return steps, alive, draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=10))


@given(histories())
def test_whatever_the_interleaving_the_cache_ends_at_the_servers_state_and_so_do_subscribers(drawn):
    steps, alive, puts = drawn
    cache, seen = Cache(), {}

    def report(changes):
        for change in changes:
            assert (change.type == "ADDED") == (change.key.name not in seen)
            if change.type == "DELETED":
                del seen[change.key.name]
            else:
                seen[change.key.name] = change.new["metadata"]["resourceVersion"]

    for at, (kind, name, version) in enumerate(steps):
        for when, which in puts:  # an answer arrives before or after its echo, but never before it was written
            if when == at and which < len(steps) and steps[which][0] == "SET":
                cache.put(pod(steps[which][1], steps[which][2]))
        if kind == "SET":
            report(cache.update(pod(name, version)))
        else:
            report(cache.remove(ObjectKey("ns", name), pod(name, version), version=str(version)))
    expected = {name: str(version) for name, version in alive.items()}
    assert seen == expected
    assert {name: cache.resource_version(ObjectKey("ns", name)) for name in names(cache.keys())} == expected
    assert not cache._ahead


def test_an_object_is_kept_in_little_more_memory_than_its_text_takes():
    cache, number = Cache(), 500
    size = len(_json.dumps(pod("pod-0", 1, annotations={"text": "x" * 600})))
    tracemalloc.start()
    try:
        for each in range(number):
            cache.update(pod(f"pod-{each}", each + 1, annotations={"text": "x" * 600}))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / number < 3 * size


def test_an_own_deletion_is_seen_by_readers_and_reported_to_subscribers_when_the_watch_brings_it():
    cache = Cache()
    cache.update(pod("a", 1, uid="u", labels={"x": "y", LABEL_OWNER_UID: "o"}))
    cache.update(pod("b", 2, uid="v"))
    assert cache.hide(A, "u")
    assert not cache.hide(B, "another")
    assert cache.get(A) is None
    assert A not in cache
    assert len(cache) == 1
    assert cache.keys() == cache.keys("ns") == [B]
    assert cache.keys(labels={"x": "y"}) == cache.by_owner("o") == []
    assert cache.resource_version(A) is None
    assert brief(cache.known()) == [("ADDED", "a", None, "1"), ("ADDED", "b", None, "2")]
    assert brief(cache.update(pod("a", 3, uid="u"))) == [("MODIFIED", "a", "1", "3")], "what came before the deletion"
    assert A not in cache
    assert brief(cache.remove(A, version="4")) == [("DELETED", "a", "3", None)]
    assert cache._hidden == {}


def test_an_object_that_is_recreated_after_our_deletion_is_read():
    cache = Cache()
    cache.update(pod("a", 1, uid="u"))
    cache.hide(A, "u")
    assert cache.put(pod("a", 5, uid="w"))
    assert cache.resource_version(A) == "5"
    assert brief(cache.remove(A, version="4")) == [("DELETED", "a", "1", None)]
    assert brief(cache.update(pod("a", 5, uid="w"))) == [("ADDED", "a", None, "5")]


def test_the_newest_object_is_the_one_that_a_watch_or_list_brought_last():
    cache = Cache()
    assert cache.newest() is None
    cache.update(pod("a", 9, uid="u"))
    cache.update(pod("b", 10, uid="v"))
    cache.put(pod("a", 11, uid="u"))
    assert cache.newest() == (B, "10", "v")
    assert cache.notified_version(A) == ("9", "u")
    assert cache.answered_version() == "11"
    assert cache.read_version(A) == "11"
