"""The rules of leader election, as a table, and as histories of several replicas whose clocks differ."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit._runtime.election import Create, Lost, Observed, Record, Renew, Step, Take, Wait, decide, observe
from operatorkit.settings import LeaderElection

DEFAULTS = LeaderElection()
MINE, OTHERS, RELEASED = Record("me", "7"), Record("you", "7"), Record("", "7")


@pytest.mark.parametrize(
    ("observed", "now", "step"),
    [
        # standby
        (Observed(None, 0), 0, Create()),
        (Observed(OTHERS, 0), 0, Wait("you")),
        (Observed(OTHERS, 100), 114.9, Wait("you")),
        (Observed(OTHERS, 100), 115, Take()),
        (Observed(RELEASED, 100), 100, Take()),
        (Observed(MINE, 100), 100, Take()),  # an own write without a response, or an earlier life of this name
        # leader
        (Observed(MINE, 100, renewed=100), 102, Renew()),
        (Observed(MINE, 100, renewed=100), 109.9, Renew()),
        (Observed(MINE, 100, renewed=100), 110, Lost("renew deadline")),
        (Observed(RELEASED, 100, renewed=100), 102, Renew()),  # cleared by hand
        (Observed(None, 100, renewed=100), 102, Create()),  # deleted by hand
        (Observed(None, 100, renewed=100), 110, Lost("renew deadline")),
        (Observed(OTHERS, 100, renewed=100), 102, Lost("another holder", "you")),
        (Observed(OTHERS, 100, renewed=100), 120, Lost("another holder", "you")),
    ],
)
def test_the_next_step_follows_from_the_record_and_the_time(observed: Observed, now: float, step: Step) -> None:
    assert decide(observed, identity="me", now=now, settings=DEFAULTS) == step


@pytest.mark.parametrize(
    ("record", "since"),
    [
        (Record("you", "7"), 100),  # the same: its age grows
        (Record("you", "8"), 130),  # renewed
        (Record("she", "7"), 130),
        (None, 130),
    ],
)
def test_the_age_of_a_record_begins_when_it_was_first_seen(record: Record | None, since: float) -> None:
    assert observe(Observed(OTHERS, 100, 90), record, 130) == Observed(record, since, 90)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renew_deadline": timedelta(seconds=15)}, "each must be shorter than the one before"),
        ({"retry_period": timedelta(seconds=9)}, "each must be shorter than the one before"),
        ({"retry_period": timedelta(0)}, "each must be shorter than the one before"),
        ({"lease_duration": timedelta(seconds=15.5)}, "a Lease stores whole seconds"),
    ],
)
def test_times_that_could_elect_two_leaders_are_rejected(options: dict[str, timedelta], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeaderElection(**options)


class Server:
    """One Lease: a write succeeds only from the version that was read."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.version = 0

    def write(self, holder: str, known: Record | None) -> bool:
        if known != self.record:
            return False
        self.version += 1
        self.record = Record(holder, str(self.version))
        return True


class Replica:
    """One replica; its monotonic clock began at another time than those of the others."""

    def __init__(self, name: str, offset: float) -> None:
        self.name, self.offset = name, offset
        self.observed = Observed(None, offset)
        self.ended = False

    def leads(self, now: float) -> bool:
        renewed = self.observed.renewed
        deadline = DEFAULTS.renew_deadline.total_seconds()
        return not self.ended and renewed is not None and now + self.offset - renewed < deadline

    def attempt(self, server: Server, now: float, *, arrives: bool, responds: bool) -> None:
        """Read and write; requests may not arrive, and a write may be executed without a response."""
        here = now + self.offset
        if arrives:
            self.observed = observe(self.observed, server.record, here)
        match decide(self.observed, identity=self.name, now=here, settings=DEFAULTS):
            case Lost():
                self.ended = True
            case Create() | Take() | Renew():
                if arrives and server.write(self.name, self.observed.record) and responds:
                    self.observed = Observed(server.record, here, here)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 6), st.booleans(), st.booleans()), max_size=200))
def test_two_replicas_never_lead_at_the_same_time(steps: list[tuple[int, float, bool, bool]]) -> None:
    server, now = Server(), 0.0
    replicas = [Replica("a", 0), Replica("b", 1e6), Replica("c", -50)]
    for index, pause, arrives, responds in steps:
        now += pause
        if not replicas[index].ended:
            replicas[index].attempt(server, now, arrives=arrives, responds=responds)
        leaders = [replica.name for replica in replicas if replica.leads(now)]
        assert len(leaders) <= 1, f"{leaders} lead at {now}"


def test_a_standby_takes_over_from_a_leader_that_disappears() -> None:
    server, leader, standby = Server(), Replica("a", 0), Replica("b", 1000)
    leader.attempt(server, 0, arrives=True, responds=True)
    times = [second / 10 for second in range(400)]
    for now in times:
        standby.attempt(server, now, arrives=True, responds=True)
        if standby.leads(now):
            break
    assert now == 15
    assert not leader.leads(now)
