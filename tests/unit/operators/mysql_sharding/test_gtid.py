"""GTIDs of MariaDB: text, order and errant transactions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.mysql_sharding.gtid import EMPTY, Gtid, GtidError, Position, merged, most_advanced

GTIDS = st.builds(
    Gtid,
    domain=st.integers(0, 2),
    server=st.integers(1, 3),
    sequence=st.integers(1, 20),
)
POSITIONS = st.lists(GTIDS, max_size=6).map(Position.of)
LARGE = st.builds(
    Gtid,
    domain=st.integers(0, 2**32 - 1),
    server=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
)


@given(st.lists(LARGE, max_size=4).map(Position.of))
def test_a_position_is_printed_as_it_is_parsed(position: Position) -> None:
    assert Position.parse(str(position)) == position


def test_a_list_may_have_blanks_and_any_order() -> None:
    assert str(Position.parse(" 1-2-7, 0-1-100 ")) == "0-1-100,1-2-7"
    assert Position.parse("  ") == EMPTY
    assert not EMPTY


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0-1", "'0-1' is not a GTID: expected domain-server-sequence"),
        ("0-1-x", "'0-1-x' is not a GTID"),
        ("0-1--3", "is not a GTID"),
        ("0-1-٣", "is not a GTID"),
        ("4294967296-1-1", "the domain 4294967296 is above 4294967295"),
        ("0-4294967296-1", "the server 4294967296 is above 4294967295"),
        ("0-1-18446744073709551616", "the sequence 18446744073709551616 is above"),
        ("0-1-5,", "'' is not a GTID"),
        ("0-1-5,0-1-7", "0-1-5 and 0-1-7 are of one server in one domain"),
        ("0-1-5,0-1-5", "0-1-5 and 0-1-5 are of one server in one domain"),
    ],
)
def test_another_text_is_an_error_that_holds_it(text: str, says: str) -> None:
    with pytest.raises(GtidError) as error:
        Position.parse(text)
    assert says in str(error.value)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_containing_is_an_order(one: Position, two: Position, three: Position) -> None:
    assert one.contains(one)
    assert one.contains(EMPTY)
    if one.contains(two) and two.contains(three):
        assert one.contains(three)
    assert one.contains(two) == (not one.missing(two))


@given(POSITIONS, POSITIONS)
def test_merged_is_the_smallest_that_contains_both(one: Position, two: Position) -> None:
    both = merged([one, two])
    assert both.contains(one)
    assert both.contains(two)
    assert both == merged([two, one]) == merged([both, one])
    for domain in both.domains():
        assert both.last(domain).sequence in {
            each.last(domain).sequence for each in (one, two) if each.last(domain) is not None
        }


@given(st.lists(POSITIONS, max_size=4))
def test_the_most_advanced_contains_every_other(positions: list[Position]) -> None:
    best = most_advanced(positions)
    if best is not None:
        assert all(best.contains(each) for each in positions)
    else:
        assert not positions or all(any(not each.contains(other) for other in positions) for each in positions)


def test_histories_that_have_diverged_have_no_most_advanced() -> None:
    one, two = Position.parse("0-1-10,1-1-5"), Position.parse("0-1-9,1-1-6")
    assert most_advanced([one, two]) is None
    assert one.missing(two) == Position.parse("1-1-6")


def test_a_short_position_compares_with_a_full_state() -> None:
    state, position = Position.parse("0-1-90,0-2-100"), Position.parse("0-2-100")
    assert state.contains(position)
    assert position.contains(state)


@given(POSITIONS, st.integers(1, 3), st.integers(1, 5))
def test_what_only_the_primary_wrote_is_never_errant(base: Position, primary: int, more: int) -> None:
    last = base.last(0)
    first = Gtid(0, primary, (last.sequence if last else 0) + 5)
    written = Gtid(0, primary, first.sequence + more)
    assert Position.of([*base, written]).errant(base, first) == EMPTY


@given(POSITIONS, st.integers(1, 3), st.integers(1, 3))
def test_what_another_server_wrote_is_errant(base: Position, primary: int, other: int) -> None:
    written = Gtid(0, other, 31)
    expected = EMPTY if other == primary else Position((written,))
    member = Position.of([*base, written])
    assert member.errant(base, Gtid(0, primary, 31)) == expected
    assert written not in member.without(Position((written,))).gtids


def test_the_tail_of_an_old_primary_is_errant_though_its_number_was_overtaken() -> None:
    base, first = Position.parse("0-1-99"), Gtid(0, 2, 1_000_099)
    assert str(Position.parse("0-1-100").errant(base, first)) == "0-1-100"
    assert Position.parse("0-1-99,0-2-1000120").errant(base, first) == EMPTY


def test_an_old_tail_of_the_primary_itself_is_errant() -> None:
    base, first = Position.parse("0-1-99"), Gtid(0, 1, 1_000_099)
    assert str(Position.parse("0-1-100").errant(base, first)) == "0-1-100"
    assert Position.parse("0-1-1000120,1-1-5").errant(base, first) == EMPTY
