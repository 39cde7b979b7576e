"""The history of a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.revisions import Revision, hash_of, name_of, record, truncated

ONE, TWO, THREE = {"image": "1"}, {"image": "2"}, {"image": "3"}


def history(*data):
    """Return the revisions that recording each in turn leaves."""
    known: dict[str, Revision] = {}
    for each in data:
        update = record("web", each, known.values()).update
        known[update.name] = update
    return list(known.values())


def test_the_first_template_is_created_with_number_one():
    found = record("web", ONE, [])
    assert (found.create, found.renumber, found.update.number) == (True, False, 1)
    assert found.update.name == f"web-{hash_of(ONE)}"


def test_the_newest_template_writes_nothing():
    found = record("web", TWO, history(ONE, TWO))
    assert (found.create, found.renumber, found.update.number) == (False, False, 2)


def test_an_older_template_gets_the_highest_number():
    found = record("web", ONE, history(ONE, TWO))
    assert (found.create, found.renumber, found.update.number) == (False, True, 3)


def test_equality_is_that_of_the_caller():
    found = record("web", {"image": "1", "pull": "Always"}, history(ONE), equal=lambda a, b: a["image"] == b["image"])
    assert not found.create


@pytest.mark.parametrize("others", [1, 3])
def test_a_name_that_is_taken_raises_the_collision_count(others):
    taken = {f"web-{hash_of(ONE, count)}" for count in range(others)}
    found = record("web", ONE, [], taken=taken)
    assert found.collision_count == others
    assert found.update.name not in taken


def test_a_revision_of_other_data_under_our_own_name_is_a_collision_too():
    found = record("web", ONE, [Revision(f"web-{hash_of(ONE)}", 1, TWO)])
    assert (found.collision_count, found.update.number) == (1, 2)


def test_long_names_are_cut_so_that_the_hash_fits():
    name = name_of("w" * 253, hash_of(ONE))
    assert len(name) == 253
    assert name.endswith(hash_of(ONE))


def test_the_oldest_unused_go_first():
    known = history(ONE, TWO, THREE)
    by_number = {revision.number: revision.name for revision in known}
    assert [old.name for old in truncated(known, used={by_number[3]}, limit=1)] == [by_number[1]]
    assert truncated(known, used={by_number[3], by_number[1]}, limit=1) == []
    assert [old.number for old in truncated(known, used=set(), limit=0)] == [1, 2, 3]


templates = st.lists(st.sampled_from([ONE, TWO, THREE, {"image": "4"}]), min_size=1, max_size=12)


@given(templates)
def test_numbers_only_grow_and_the_last_template_is_the_newest(sequence):
    known: dict[str, Revision] = {}
    highest = 0
    for data in sequence:
        found = record("web", data, known.values())
        assert found.update.number >= highest
        highest = found.update.number
        known[found.update.name] = found.update
        assert max(known.values(), key=lambda each: each.number).data == data
    assert len({each.number for each in known.values()}) == len(known)


@given(templates, st.integers(0, 5))
def test_truncation_keeps_what_is_used_and_as_many_as_asked_for(sequence, limit):
    known = history(*sequence)
    used = {known[0].name}
    gone = {old.name for old in truncated(known, used=used, limit=limit)}
    assert not gone & used
    assert len(known) - len(gone) == min(len(known), limit + 1)
