"""The order of the steps of a move."""

from __future__ import annotations

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
    OpenTarget,
    PointNodes,
    Prepare,
    Record,
    RecordMoved,
    SeenMove,
    next_step,
)

TABLE: dict[str, tuple[SeenMove, MoveStep]] = {
    "the log is there before a row is copied": (SeenMove(step="Copying"), Prepare()),
    "rows are copied": (SeenMove(step="Copying", prepared=True, backlog=9999), CopyRows()),
    "changes follow until few are left": (
        SeenMove(step="Copying", prepared=True, copied=True, backlog=101),
        ApplyChanges(),
    ),
    "statements do not wait while a node cannot be pointed": (
        SeenMove(step="Copying", prepared=True, copied=True, unverified="127.0.0.9: no answer"),
        Hold("a node is not configured: 127.0.0.9: no answer"),
    ),
    "statements do not wait for a transaction that does not end": (
        SeenMove(step="Copying", prepared=True, copied=True, in_doubt="X'01',X'',1"),
        Hold("a transaction is prepared and not ended on the source: X'01',X'',1"),
    ),
    "the switch is written first": (
        SeenMove(step="Copying", prepared=True, copied=True, backlog=100, held=True),
        Record("Switching"),
    ),
    "statements wait at the target before the status lets a node point there": (
        SeenMove(step="Copying", prepared=True, copied=True, backlog=100),
        HoldTarget(),
    ),
    "statements wait at the target again after a restart": (
        SeenMove(step="Switching", serves_source=True),
        HoldTarget(),
    ),
    "nodes are pointed before the source is fenced": (
        SeenMove(step="Switching", held=True, serves_source=True),
        PointNodes(),
    ),
    "the source is fenced": (
        SeenMove(step="Switching", held=True, pointed=True, serves_source=True, backlog=3),
        FenceSource(),
    ),
    "nodes return to a source that cannot be fenced": (
        SeenMove(step="Switching", held=True, serves_source=True, unfenced="a lock timed out"),
        Record("Copying"),
    ),
    "a switch is not tried again at once": (
        SeenMove(step="Copying", prepared=True, copied=True, unfenced="a lock timed out"),
        Hold("the switch is tried again later: a lock timed out"),
    ),
    "what was written before the fence is copied": (
        SeenMove(step="Switching", held=True, pointed=True, backlog=3),
        ApplyChanges(),
    ),
    "the map changes when nothing is left": (
        SeenMove(step="Switching", held=True, pointed=True),
        RecordMoved(),
    ),
    "a node that cannot be reached delays nothing then": (
        SeenMove(step="Switching", held=True, pointed=True, unverified="127.0.0.9"),
        RecordMoved(),
    ),
    "the copy is opened": (SeenMove(step="Opening", left=True), OpenTarget()),
    "an opened copy is not opened again": (
        SeenMove(step="Opening", serves_target=True),
        Record("Dropping"),
    ),
    "the former copy is kept while a node is not verified": (
        SeenMove(step="Dropping", unverified="127.0.0.9", left=True),
        Hold("the former copy is kept until every node is pointed: 127.0.0.9"),
    ),
    "the former copy is dropped": (SeenMove(step="Dropping", left=True), DropSource()),
    "the move is over": (SeenMove(step="Dropping"), Finish()),
    "nothing is sent to a shard without a primary": (
        SeenMove(step="Switching", blocked="shard shop0 has no primary now"),
        Hold("shard shop0 has no primary now"),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_next_step(name: str) -> None:
    seen, step = TABLE[name]
    assert next_step(seen) == step
