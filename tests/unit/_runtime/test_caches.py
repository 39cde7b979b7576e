"""The caches of an operator: what they share."""

from __future__ import annotations

from operatorkit import Operator
from operatorkit._runtime.caches import Caches


class WithAuthorities:
    """A client that says when other authorities are trusted."""

    def on_new_trust(self, listener):
        self.listener = listener


def test_new_authorities_are_a_reason_to_doubt_the_server(clock):
    api = WithAuthorities()
    caches = Caches(Operator("a"), api, clock=clock)
    api.listener("ca.crt was replaced")
    assert caches.history.epoch == 1
