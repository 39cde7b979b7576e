"""Filters: what they mean, that their text and their tree agree, and where a bad one is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.attestation.server.filters import (
    MAX_DEPTH,
    MAX_LENGTH,
    And,
    Compare,
    FilterError,
    HasPrefix,
    Not,
    Or,
    parse,
)


def c(field, value, operator="="):
    return Compare(tuple(field.split(".")), operator, value)


TREES = [
    ("", None),
    ("  ", None),
    ('kind="BUILD"', c("kind", "BUILD")),
    ("kind = BUILD", c("kind", "BUILD")),
    ("kind == 'BUILD'", c("kind", "BUILD")),
    ('a="x" AND b="y"', And((c("a", "x"), c("b", "y")))),
    ('a="x" b="y"', And((c("a", "x"), c("b", "y")))),
    ('a="x" && b="y"', And((c("a", "x"), c("b", "y")))),
    ('a="x" OR b="y"', Or((c("a", "x"), c("b", "y")))),
    ('a="x" AND b="y" OR c="z"', And((c("a", "x"), Or((c("b", "y"), c("c", "z")))))),
    ('(a="x" AND b="y") OR c="z"', Or((And((c("a", "x"), c("b", "y"))), c("c", "z")))),
    ('NOT a="x"', Not(c("a", "x"))),
    ('-a="x"', Not(c("a", "x"))),
    ('!(a="x" || b="y")', Not(Or((c("a", "x"), c("b", "y"))))),
    ("createTime >= 2026-01-02T03:04:05Z", c("createTime", "2026-01-02T03:04:05Z", ">=")),
    ("a.b.c:x", c("a.b.c", "x", ":")),
    ('a:"x y"', c("a", "x y", ":")),
    ("n>-5", c("n", "-5", ">")),
    ("digest=sha256:abc", c("digest", "sha256:abc")),
    (r'a="say \"x\" \\ y"', c("a", r'say "x" \ y')),
    ('has_prefix(resource_url, "https://gcr.io/p")', HasPrefix(("resource_url",), "https://gcr.io/p")),
    ("has_prefix=x", c("has_prefix", "x")),
    ('a="AND"', c("a", "AND")),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_a_filter_has_this_tree(text, tree):
    assert parse(text) == tree


WRONG = [
    ("kind", 5, "a comparison"),
    ("kind=", 6, "a value"),
    ('="x"', 1, "expected a field"),
    ('kind="x', 6, "not closed"),
    ('kind="x" AND', 13, "it ends where a field"),
    ('kind="x" OR OR a="y"', 13, "expected a field"),
    ('(kind="x"', 10, "')'"),
    ('kind="x")', 9, "')' is not expected"),
    ('a="x" % b="y"', 7, "'%' is not expected"),
    ("a.=x", 1, "expected a field"),
    ("1a=x", 1, "expected a field"),
    ('kind="x";drop table', 9, "';' is not expected"),
    ("has_prefix(a)", 13, "expected ','"),
    ('has_prefix("a", "b")', 12, "expected a field"),
    ('"free text"', 1, "expected a field"),
]


@pytest.mark.parametrize(("text", "position", "message"), WRONG)
def test_what_cannot_be_read_is_an_error_with_the_position(text, position, message):
    with pytest.raises(FilterError) as error:
        parse(text)
    assert (error.value.position, error.value.http_code) == (position, 400)
    assert message in error.value.message
    assert f"at character {position}" in error.value.message


def test_length_and_depth_are_bounded():
    with pytest.raises(FilterError, match="characters"):
        parse("a=x " * MAX_LENGTH)
    with pytest.raises(FilterError, match="levels deep"):
        parse("(" * (MAX_DEPTH + 2) + "a=x" + ")" * (MAX_DEPTH + 2))
    with pytest.raises(FilterError, match="levels deep"):
        parse("NOT " * (MAX_DEPTH + 2) + "a=x")
    assert parse("(" * MAX_DEPTH + "a=x" + ")" * MAX_DEPTH) == c("a", "x")


words = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
fields = st.lists(words, min_size=1, max_size=3).map(tuple)
values = st.text(max_size=12)
leaves = st.builds(Compare, fields, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), values) | st.builds(
    HasPrefix, fields, values
)


def _joined(kind):
    return lambda inner: st.lists(inner, min_size=2, max_size=3).map(lambda terms: kind(tuple(terms)))


trees = st.recursive(
    leaves, lambda inner: st.builds(Not, inner) | _joined(And)(inner) | _joined(Or)(inner), max_leaves=8
)


@given(trees)
def test_the_text_of_a_tree_is_read_as_that_tree(tree):
    assert parse(str(tree)) == tree


@given(st.text(max_size=60) | st.text("ab=\"'()ANDOR .:<>!-&|,", max_size=60))
def test_any_text_is_a_tree_whose_text_is_stable_or_a_positioned_error(text):
    try:
        tree = parse(text)
    except FilterError as wrong:
        error = wrong
    else:
        assert tree is None or parse(str(tree)) == tree
        return
    assert 1 <= error.position <= len(text) + 1
