"""Random histories of one bucket that moves: crashes between any two steps, failovers, nodes that cannot be reached.

The model has rows, logs and nodes instead of servers, and the decision of the operator. After each step, what
clients were acknowledged is compared with what the serving shard has.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from operators.mysql_sharding.reshard.plan import (
    ApplyChanges,
    CopyRows,
    DropSource,
    FenceSource,
    Finish,
    Hold,
    HoldTarget,
    MoveStep,
    MoveWord,
    OpenTarget,
    PointNodes,
    Prepare,
    Record,
    RecordMoved,
    SeenMove,
    next_step,
)

HISTORIES = 300
Decision = Callable[[SeenMove], MoveStep]


class Wrong(Exception):  # noqa: N818 - what a history shows
    """An acknowledged write is lost, or was made twice."""


@dataclass
class World:
    """Both shards, the nodes, what is persisted, and what the process of the operator remembers."""

    chance: random.Random
    acknowledged: dict[int, int] = field(default_factory=dict)
    source: dict[int, int] | None = field(default_factory=dict)
    fenced: bool = False
    log: list[int] | None = None
    staged: dict[int, int] | None = None
    target: dict[int, int] | None = None
    placeholder: bool = False
    nodes: list[str] = field(default_factory=lambda: ["source", "source", "source"])
    away: set[int] = field(default_factory=set)
    step: MoveWord = "Copying"
    moved: bool = False
    over: bool = False
    prepared: bool = False
    copied: bool = False
    held: bool = False
    pointed: bool = False
    clock: int = 0
    rests: int = 0

    def seen(self) -> SeenMove:
        wanted = "source" if self.step == "Copying" else "target"
        behind = [n for n, where in enumerate(self.nodes) if where != wanted or n in self.away]
        return SeenMove(
            step=self.step,
            prepared=self.prepared,
            copied=self.copied,
            backlog=len(self.log or ()),
            held=self.held,
            pointed=self.pointed,
            unfenced="a lock timed out" if self.rests else "",
            unverified=f"nodes {behind}" if behind else "",
            serves_source=self.source is not None and not self.fenced,
            serves_target=self.target is not None,
            left=self.source is not None or self.log is not None,
        )

    def write(self) -> None:
        """Let a client write through some node."""
        self.clock += 1
        key, delete = self.chance.randrange(40), self.chance.random() < 0.2
        if self.nodes[self.chance.randrange(3)] == "source":
            if self.source is None or self.fenced:
                return
            rows, log = self.source, self.log
        else:
            if self.target is None:
                return
            rows, log = self.target, None
        if log is not None:
            log.append(key)
        for each in (rows, self.acknowledged):
            if delete:
                each.pop(key, None)
            else:
                each[key] = self.clock

    def forget(self) -> None:
        """End the process of the operator, or its sessions: a failover of either shard does that, too."""
        self.prepared = self.copied = self.held = self.pointed = False
        if self.chance.random() < 0.5:
            self.nodes = [self._wanted() if n not in self.away else where for n, where in enumerate(self.nodes)]

    def _wanted(self) -> str:
        return "source" if self.step == "Copying" else "target"

    def execute(self, step: MoveStep) -> None:
        match step:
            case Prepare():
                if self.log is None:
                    self.staged = {}
                    self.log = []
                self.prepared, self.copied = True, False
            case CopyRows():
                assert self.source is not None
                assert self.staged is not None
                after = max(self.staged, default=-1)
                some = sorted(key for key in self.source if key > after)[: self.chance.randrange(1, 9)]
                self.staged |= {key: self.source[key] for key in some}
                self.copied = not any(key > max(self.staged, default=-1) for key in self.source)
            case ApplyChanges():
                assert self.source is not None
                assert self.staged is not None
                assert self.log is not None
                count = self.chance.randrange(1, 9)
                for key in self.log[:count]:
                    self.staged.pop(key, None)
                    if key in self.source:
                        self.staged[key] = self.source[key]
                if self.chance.random() < 0.1:
                    self.forget()  # before the log is shortened
                    return
                del self.log[:count]
            case HoldTarget():
                self.placeholder = self.held = True
            case PointNodes():
                self.nodes = ["target" if n not in self.away else where for n, where in enumerate(self.nodes)]
                self.pointed = True
            case FenceSource():
                if self.chance.random() < 0.3:
                    self.rests, self.pointed = 5, False
                else:
                    self.fenced = True
            case Record():
                self.step = step.step
                if step.step == "Copying":
                    self.nodes = ["source" if n not in self.away else where for n, where in enumerate(self.nodes)]
                    self.forget()
            case RecordMoved():
                self.step, self.moved = "Opening", True
            case OpenTarget():
                self.target, self.staged, self.placeholder, self.held = self.staged, None, False, False
            case DropSource():
                if "source" in self.nodes:
                    raise Wrong("the former copy is dropped while a node points there")
                self.source = self.log = None
            case Finish():
                self.over = True
            case Hold():
                pass

    def check(self) -> None:
        """Raise Wrong unless the shard that the map names has exactly what was acknowledged."""
        found = self.source if not self.moved else self.target if self.target is not None else self.staged
        if found != self.acknowledged:
            raise Wrong(f"{self.step}: the shard of the map has {found}, acknowledged is {self.acknowledged}")


def live(seed: int, decide: Decision = next_step) -> World:
    """Live through one history; return how it ended."""
    world = World(random.Random(seed))
    for _ in range(30):
        world.write()
    for _ in range(600):
        for _ in range(world.chance.randrange(3)):
            world.write()
        event = world.chance.random()
        if event < 0.06:
            world.forget()
        elif event < 0.10:
            world.away = {world.chance.randrange(3)}
        elif event < 0.16:
            world.away = set()
            world.nodes = [world._wanted()] * 3
        step = decide(world.seen())
        world.rests = max(0, world.rests - 1)
        if world.chance.random() < 0.05:
            world.forget()  # after the decision, before its step
            continue
        world.execute(step)
        world.check()
        if world.over:
            break
    return world


def test_no_acknowledged_write_is_lost_and_every_move_ends() -> None:
    for seed in range(HISTORIES):
        world = live(seed)
        assert world.over, (seed, world.seen())
        assert (world.source, world.log, world.target) == (None, None, world.acknowledged), seed


BUGS: dict[str, Callable[[SeenMove], SeenMove]] = {
    "the source is not fenced": lambda seen: replace(seen, serves_source=False),
    "the map changes before the log is empty": lambda seen: (
        replace(seen, backlog=0) if seen.step == "Switching" else seen
    ),
    "the copy is opened before all rows are read": lambda seen: replace(seen, copied=seen.prepared),
    "the former copy is dropped while a node points there": lambda seen: replace(seen, unverified=""),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    def wrong(seed: int) -> bool:
        try:
            live(seed, lambda seen: next_step(BUGS[name](seen)))
        except Wrong:
            return True
        return False

    assert any(wrong(seed) for seed in range(HISTORIES)), name
