"""Random histories of a shard: a share of those of `make soak`, and whether they find bugs that were planted."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from soak import mysql_histories, mysql_world
from soak.mysql_histories import live

from operators.mysql_sharding import failover, fence, upkeep

SHARE = 100
"""How many histories, of about 200 plans each."""


def first_wrong(*, begin: int = 0) -> str:
    """Live through the share until a history ends wrong; return what was wrong, or ""."""
    for number in range(SHARE):
        verdict = live((begin + number) % SHARE)
        if verdict.wrong:
            return verdict.report()
    return ""


def test_no_acknowledged_write_is_lost_whatever_happens() -> None:
    wrong = first_wrong()
    assert not wrong, wrong


def test_asynchronous_replication_loses_writes_in_the_same_histories() -> None:
    lost = [live(seed, asynchronous=True).lost for seed in range(10)]
    assert sum(count > 0 for count in lost) >= 3, lost


def test_a_history_is_the_same_each_time() -> None:
    assert live(5).log == live(5).log


Bug = tuple[Any, str, str, str]
BUGS: dict[str, Bug] = {
    "the fence is one member too small": (
        fence,
        "fence",
        "count - seen.spec.acks + 1",
        "count - seen.spec.acks",
    ),
    "a member that lost its relay log counts for the fence": (
        fence,
        "_why_not",
        "if synced is None or synced.incarnation != server.incarnation:",
        "if synced is None:",
    ),
    "candidates are compared by what they have executed": (
        fence,
        "_received",
        "return member.server.received if",
        "return member.server.executed if",
    ),
    "an errant member is chosen": (fence, "choose", "if not _is_errant(seen, member)", ""),
    "a target is promoted before it has applied everything": (
        failover,
        "_has_all",
        "server.executed.contains(change.required)",
        "True",
    ),
    "a primary that has restarted is trusted": (
        upkeep,
        "lost_primary",
        "server.incarnation != status.incarnation",
        "False",
    ),
    "a primary truncates its tail when it restarts": (
        failover,
        "keeps_tail",
        'status.primary in {"", member}',
        "not status.primary",
    ),
    "a switchover does not wait for read_only and the end of sessions": (
        failover,
        "_drain",
        "if steps:\n",
        "if False:\n",
    ),
    "steps of an older epoch are accepted": (
        mysql_world.Database,
        "execute",
        "if step.epoch < self.epoch:",
        "if False:",
    ),
    "the status is written whatever its resourceVersion": (
        mysql_histories._World,
        "_send",
        "if version == self.version:",
        "if True:",
    ),
}


SEEN_AT = {
    "the fence is one member too small": 64,
    "a member that lost its relay log counts for the fence": 53,
    "candidates are compared by what they have executed": 49,
    "an errant member is chosen": 48,
}
"""Where in the share a bug was found: the search begins there, and goes round the whole share."""


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_within_the_share(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, right, wrong = BUGS[bug]
    plant(monkeypatch, owner, name, right, wrong)
    assert first_wrong(begin=SEEN_AT.get(bug, 0))


def plant(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, right: str, wrong: str) -> None:
    """Replace one line of a function, wherever its module and others use it."""
    function: Callable[..., Any] = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"the line has changed: {right}"
    module, made = inspect.getmodule(function), {}
    code = compile(source.replace(right, wrong), f"<{name}>", "exec", flags=annotations.compiler_flag)
    exec(code, vars(module), made)
    for place in (owner, failover, fence, upkeep):
        if getattr(place, name, None) is function:
            monkeypatch.setattr(place, name, made[name])
