"""The caches of an operator: what they share."""

from __future__ import annotations

from operatorkit import Operator
from operatorkit._runtime.caches import CacheReader, Caches


class WithAuthorities:
    """A client that says when other authorities are trusted."""

    def on_new_trust(self, listener):
        self.listener = listener


def test_new_authorities_are_a_reason_to_doubt_the_server(clock):
    api = WithAuthorities()
    caches = Caches(Operator("a"), api, clock=clock)
    api.listener("ca.crt was replaced")
    assert caches.history.epoch == 1


def test_each_engine_has_a_memory_of_its_own(clock):
    app = Operator("a")
    one, other = (CacheReader(app, Caches(app, WithAuthorities(), clock=clock)) for _ in range(2))
    one.memory(list).append("kept")
    assert one.memory(list) == ["kept"]
    assert one.memory(dict) == {}
    assert other.memory(list) == []
