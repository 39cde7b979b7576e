"""What is offered instead of a name that is not allowed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.pki.patterns import Requester, Trie, pattern_error, split
from operators.pki.suggest import Budget, distance, nearest

REQUESTER = Requester("team-a")


def offered(name, patterns, kind="dnsNames", budget=None):
    good = [pattern for pattern in patterns if pattern_error(kind, pattern) is None]
    trie = Trie(kind, good)

    def allowed(candidate):
        return trie.matches(split(kind, candidate), REQUESTER)

    return nearest(kind, name, good, REQUESTER, allowed=allowed, budget=budget or Budget()), allowed


@pytest.mark.parametrize(
    ("kind", "name", "pattern", "near"),
    [
        ("dnsNames", "web.team-b.svc", "*.{{namespace}}.svc", "web.team-a.svc"),
        ("dnsNames", "a.b.example.con", "**.example.com", "a.b.example.com"),
        ("dnsNames", "ap-7.example.com", "api-*.example.com", "api-7.example.com"),
        ("uris", "spiffe://e.org/ns/team-b/web", "spiffe://e.org/ns/{{namespace}}/*", "spiffe://e.org/ns/team-a/web"),
        ("emailAddresses", "me@team-b.e.org", "*@{{namespace}}.e.org", "me@team-a.e.org"),
        ("uris", "spiffe://e.org/x", "spiffe://e.org/{{serviceAccount}}", None),
    ],
)
def test_stars_take_what_the_name_has_in_their_place(kind, name, pattern, near):
    assert offered(name, [pattern], kind)[0] in {near, near and near.replace("api-7", "api-ap-7")}


@given(st.text("ab.-*", min_size=1, max_size=12), st.lists(st.text("ab.-*{}", min_size=1, max_size=12), max_size=4))
@example("a", ["{{}}"])
def test_what_is_offered_is_allowed(name, patterns):
    near, allowed = offered(name, patterns)
    assert near is None or allowed(near)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_distance_of_names_is_a_metric(a, b, c):
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@pytest.mark.parametrize(
    ("one", "other", "far"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2)]
)
def test_the_distance_counts_letters(one, other, far):
    assert distance(one, other) == far


def test_a_budget_that_is_spent_offers_nothing():
    assert offered("app2", ["app1"])[0] == "app1"
    assert offered("app2", ["app1"], budget=Budget(candidates=0))[0] is None
    assert offered("app2", ["app1"], budget=Budget(steps=0))[0] is None
    budget = Budget()
    offered("x" * 60, [f"{'y' * 60}{index}" for index in range(200)], budget=budget)
    assert budget.candidates == 0
    assert budget.steps >= 0
