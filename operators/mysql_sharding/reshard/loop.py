"""The loop of each cluster whose buckets move: gates, persisted steps, Events, the condition.

What belongs here: what is written to the status, and when. What does not: the next step (`plan`), and
SQL (`execute`). Copying takes long, and the nodes must not wait for it, so that this is a task beside
the one that keeps the nodes (`proxy.loop`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import replace
from typing import Final, get_args

from kubernetes.client.models import V1Secret

from operatorkit.conditions import get_condition, set_condition
from operatorkit.errors import ClusterError, Conflict, InputError
from operatorkit.events import Reference
from operatorkit.names import ObjectKey
from operatorkit.operator import Background
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.proxy.buckets import mapped, ranges_of
from operators.mysql_sharding.proxy.ddl import digest_of_tables
from operators.mysql_sharding.proxy.loop import FIELD_MANAGER, Proxies
from operators.mysql_sharding.proxy.objects import proxy_name
from operators.mysql_sharding.proxy.shards import Primary, SchemaBlocked, primaries
from operators.mysql_sharding.reshard.api import BucketMove, ReshardStatus
from operators.mysql_sharding.reshard.balance import Due, next_due, remaining
from operators.mysql_sharding.reshard.execute import Mover, SqlStep
from operators.mysql_sharding.reshard.plan import (
    FenceSource,
    Finish,
    Hold,
    OpenTarget,
    PointNodes,
    Prepare,
    Record,
    RecordMoved,
    SeenMove,
    next_step,
)
from operators.mysql_sharding.sql import Asyncmy, SqlError
from operators.mysql_sharding.tasks import run_for_each

__all__ = ["run_reshards"]

_log = logging.getLogger("operators.mysql_sharding.reshard")

_LOOK_SECONDS: Final = 0.5
_EVERY_SECONDS: Final = 0.5
_ERROR_SECONDS: Final = 0.5
_HOLD_SECONDS: Final = 0.2
_SWITCHING_SECONDS: Final = 0.02
"""While statements of a bucket wait."""
_FIRST_RETRY_SECONDS: Final = 5.0
_LAST_RETRY_SECONDS: Final = 60.0
"""When a switch that did not succeed is tried again: statements waited for a second in vain."""
_FAILED_SECONDS: Final = 10.0
"""How long a step fails before an Event says so: a failover takes less."""
_ALL: Final = ("every", "cluster")
_BACKUPS: Final = ("every", "backup")

app.index(MysqlBackup, _BACKUPS[0], lambda _: _BACKUPS[1:])


@app.background
async def run_reshards(world: Background) -> None:
    """Run a task for each cluster that there is."""
    await run_for_each(
        world,
        MysqlCluster,
        _ALL,
        lambda key: _Reshard(world, key).run(),
        "reshard of",
        seconds=_LOOK_SECONDS,
    )


class _Reshard:
    """The loop of one cluster, and what it remembers."""

    def __init__(self, world: Background, key: ObjectKey) -> None:
        self.world = world
        self.key = key
        self._mover = Mover(Asyncmy(), world.clock)
        self._pointed = 0
        """Number of the move whose nodes were pointed by this process."""
        self._waiting_since: float | None = None
        self._failing_since: float | None = None
        self._unfenced = ""
        self._retry_at = 0.0
        self._retry_after = _FIRST_RETRY_SECONDS

    async def run(self) -> None:
        """Sync until cancelled. An error is reported, and the next sync starts from what there is then."""
        try:
            while True:
                try:
                    pause = await self._sync()
                    self._failing_since = None
                except Conflict:
                    pause = _SWITCHING_SECONDS
                except (ClusterError, SqlError, InputError, SchemaBlocked) as error:
                    self._mover.close()
                    await self._failed(str(error))
                    pause = _ERROR_SECONDS
                except Exception as error:  # noqa: BLE001 - the outermost loop of a cluster: logged, and tried again
                    _log.exception("MysqlCluster %s: the sync failed", self.key)
                    self._mover.close()
                    await self._failed(f"{type(error).__name__}: {error}")
                    pause = _ERROR_SECONDS
                await self.world.clock.sleep(pause)
        finally:
            self._mover.close()

    @property
    def _proxies(self) -> Proxies:
        return self.world.reader.memory(Proxies)

    def _read(self) -> MysqlCluster | None:
        cluster = self.world.reader.get(MysqlCluster, self.key.name, namespace=self.key.namespace)
        if cluster is None or cluster.metadata.deletion_timestamp is not None:
            return None
        return cluster if cluster.spec.proxy is not None and cluster.status.bucket_map else None

    async def _sync(self) -> float:
        """Do what is next, and return after how many seconds to look again."""
        cluster = self._read()
        if cluster is None:
            return _EVERY_SECONDS
        reshard = cluster.status.reshard
        if reshard is not None and reshard.move is not None:
            return await self._advance(cluster, reshard.move)
        self._mover.close()
        shards = mapped(cluster.status.bucket_map, cluster.spec.buckets)
        due = next_due(shards, cluster.spec.shards)
        if due is not None:
            return await self._begin(cluster, shards, due)
        if reshard is not None and reshard.step != "Complete":
            await self._complete(cluster)
        return _EVERY_SECONDS

    # between two buckets ---------------------------------------------------------------------------

    async def _begin(self, cluster: MysqlCluster, shards: list[int], due: Due) -> float:
        """Write that the next bucket moves, if nothing else is under way."""
        now, spec = self.world.clock.now(), cluster.spec
        left, last = remaining(shards, spec.shards), cluster.status.reshard
        new = last is None or last.step == "Complete"
        moved = last.moved if last is not None and not new else 0
        reshard = ReshardStatus(
            step="Waiting",
            shards=spec.shards,
            moved=moved,
            total=moved + left,
            progress=f"{moved} of {moved + left}",
            numbers=last.numbers if last is not None else 0,
            started_at=last.started_at if last is not None and not new else now,
        )
        why = self._gate(cluster, due)
        if why:
            reshard.reason = why
        else:
            reshard.step = "Moving"
            reshard.numbers += 1
            reshard.move = BucketMove(
                number=reshard.numbers,
                bucket=due.bucket,
                source=due.source,
                target=due.target,
                tables=digest_of_tables(spec.tables),
                started_at=now,
            )
            reshard.reason = _text(cluster, reshard.move)
        if not await self._write(cluster, reshard):
            return _EVERY_SECONDS
        if new:
            message = f"{left} buckets are moved, so that {spec.shards} shards hold equally many"
            await self._event(cluster, reasons.RESHARD_STARTED, message)
        if reshard.move is not None:
            await self._event(cluster, reasons.BUCKET_MOVE_STARTED, reshard.reason)
        return 0.0 if reshard.move is not None else _EVERY_SECONDS

    def _gate(self, cluster: MysqlCluster, due: Due) -> str:
        """Return what the next bucket waits for, "" for nothing."""
        spec, rollout = cluster.spec, cluster.status.rollout
        if spec.update_strategy.paused:
            return "updateStrategy.paused holds it: set it to false to continue"
        if spec.durability.allow_async and spec.replicas_per_shard > 1:
            return "a failover may lose what was copied: set durability.allowAsync to false"
        if rollout is not None and rollout.step == "Rolling":
            return f"a change is rolled through the shards: {rollout.reason}"
        for backup in self._backups():
            if backup.spec.cluster == self.key.name:
                return f"the MysqlBackup {backup.metadata.name} is being taken"
        for number in (due.source, due.target):
            if why := self._unhealthy(f"{self.key.name}{number}"):
                return why
        unverified = self._proxies.unverified(self.key)
        if unverified:
            return f"a node is not configured: {unverified}"
        return self._proxies.lacking(cluster, (due.source, due.target))

    def _backups(self) -> list[MysqlBackup]:
        found = self.world.reader.list(
            MysqlBackup, namespace=self.key.namespace, index=(_BACKUPS[0], _BACKUPS[1])
        )
        return [one for one in found if one.status.phase not in {"Completed", "Failed"}]

    def _unhealthy(self, name: str) -> str:
        shard = self.world.reader.get(MysqlDatabase, name, namespace=self.key.namespace)
        if shard is None:
            return f"shard {name} does not exist yet"
        held = {
            kind: condition.status
            for kind in ("Available", "Degraded")
            if (condition := get_condition(shard.status.conditions, kind)) is not None
        }
        healthy = held == {"Available": "True", "Degraded": "False"}
        return "" if healthy and shard.status.failover is None else f"shard {name} is not healthy"

    async def _complete(self, cluster: MysqlCluster) -> None:
        assert cluster.status.reshard is not None
        reshard = cluster.status.reshard.model_copy(deep=True)
        reshard.step, reshard.finished_at = "Complete", self.world.clock.now()
        reshard.total = reshard.moved
        reshard.progress = f"{reshard.moved} of {reshard.moved}"
        seconds = (reshard.finished_at - reshard.started_at).total_seconds()
        reshard.reason = f"{reshard.moved} buckets were moved in {seconds:.0f} s"
        if await self._write(cluster, reshard):
            await self._event(cluster, reasons.RESHARD_COMPLETED, reshard.reason)

    # one bucket ------------------------------------------------------------------------------------

    async def _advance(self, cluster: MysqlCluster, move: BucketMove) -> float:
        """Observe a move, decide, and do one step."""
        if move.tables != digest_of_tables(cluster.spec.tables):
            message = f"spec.tables changed while bucket {move.bucket} moves: restore it meanwhile"
            raise InputError(message)
        found = primaries(self.world.reader, cluster)
        source, target = found[move.source], found[move.target]
        seen = await self._observe(cluster, move, source, target)
        step = next_step(seen)
        if not isinstance(step, Hold):
            _log.info("MysqlCluster %s: bucket %d: %s", self.key, move.bucket, step)
        match step:
            case Hold():
                if move.step in {"Copying", "Dropping"}:
                    await self._say(cluster, f"{_text(cluster, move)}; {step.reason}")
                    return _HOLD_SECONDS
                return _SWITCHING_SECONDS
            case PointNodes():
                self._waiting_since = self.world.clock.monotonic()
                await self._proxies.point(self.key, move.bucket, move.target)
                self._pointed = move.number
            case Record() | RecordMoved():
                await self._confirm(source, target)
                await self._record(cluster, move, step)
            case Finish():
                await self._finish(cluster, move)
            case _:
                assert isinstance(step, get_args(SqlStep))
                try:
                    await self._mover.execute(cluster, move, step)
                except SqlError as error:
                    if not isinstance(step, FenceSource):
                        raise
                    await self._could_not_fence(cluster, move, str(error))
                if isinstance(step, Prepare):
                    await self._confirm(source, target)
                if isinstance(step, OpenTarget):
                    await self._opened(cluster, move)
        return 0.0

    async def _observe(
        self, cluster: MysqlCluster, move: BucketMove, source: Primary, target: Primary
    ) -> SeenMove:
        for one in (source, target):
            if one.changing or not one.host or not one.password:
                self._mover.close()
                return SeenMove(step=move.step, blocked=f"shard {one.shard} has no primary now")
        self._mover.password = self._password(cluster)
        seen = await self._mover.observe(cluster, move, source, target)
        unverified = (
            await self._proxies.verify(self.key)
            if move.step == "Dropping"
            else self._proxies.unverified(self.key)
        )
        return replace(
            seen,
            pointed=self._pointed == move.number,
            unfenced=self._unfenced if self.world.clock.monotonic() < self._retry_at else "",
            unverified=unverified,
        )

    def _password(self, cluster: MysqlCluster) -> str:
        secret = self.world.reader.get(V1Secret, proxy_name(cluster), namespace=self.key.namespace)
        data = (secret.data if secret is not None else None) or {}
        return base64.b64decode(data.get("proxy", "")).decode()

    async def _confirm(self, *found: Primary) -> None:
        """Raise SqlError unless all are primaries still, by the API server and not by a cache.

        A failover writes its intent before it does anything. So what these servers acknowledged before
        this request is kept, whichever member is the primary later.
        """
        resource = MysqlDatabase.api_resource()
        bodies = await asyncio.gather(
            *(
                self.world.api.get(resource, one.shard, namespace=self.key.namespace)
                for one in found
            )
        )
        for one, body in zip(found, bodies, strict=True):
            status = MysqlDatabase.read(body).status
            if (status.primary, status.epoch) != (one.member, one.epoch) or status.failover:
                raise SqlError(f"the primary of {one.shard} changed meanwhile: read again")

    async def _record(
        self, cluster: MysqlCluster, move: BucketMove, step: Record | RecordMoved
    ) -> None:
        assert cluster.status.reshard is not None
        reshard = cluster.status.reshard.model_copy(deep=True)
        assert reshard.move is not None
        moved: list[int] | None = None
        if isinstance(step, RecordMoved):
            moved = mapped(cluster.status.bucket_map, cluster.spec.buckets)
            moved[move.bucket] = move.target
            reshard.move.step = "Opening"
        else:
            reshard.move.step = step.step
            if step.step == "Switching":
                reshard.move.switched_at = self.world.clock.now()
            elif step.step == "Copying":
                reshard.move.switched_at = None
        reshard.reason = _text(cluster, reshard.move)
        await self._write(cluster, reshard, moved)
        if isinstance(step, Record) and step.step == "Copying":
            await self._proxies.point(self.key, move.bucket, move.source)
            self._mover.close()

    async def _could_not_fence(self, cluster: MysqlCluster, move: BucketMove, message: str) -> None:
        self._unfenced = message
        self._retry_at = self.world.clock.monotonic() + self._retry_after
        self._retry_after = min(_LAST_RETRY_SECONDS, 2 * self._retry_after)
        self._pointed = 0
        where = f"{_shard(cluster, move.source)} serves it meanwhile"
        text = f"bucket {move.bucket} did not switch, and {where}: {message}"
        _log.warning("MysqlCluster %s: %s", self.key, text)
        await self.world.events.warning(Reference.of(cluster), reasons.BUCKET_MOVE_FAILED, text)

    async def _opened(self, cluster: MysqlCluster, move: BucketMove) -> None:
        since, self._waiting_since = self._waiting_since, None
        if since is None:
            waited = "its statements failed or waited while the operator restarted"
        else:
            milliseconds = (self.world.clock.monotonic() - since) * 1000
            waited = f"its statements waited for up to {milliseconds:.0f} ms"
        where = f"from {_shard(cluster, move.source)} to {_shard(cluster, move.target)}"
        message = f"bucket {move.bucket} moved {where}; {waited}"
        await self._event(cluster, reasons.BUCKET_MOVED, message)

    async def _finish(self, cluster: MysqlCluster, move: BucketMove) -> None:
        assert cluster.status.reshard is not None
        reshard = cluster.status.reshard.model_copy(deep=True)
        reshard.move = None
        self._retry_after = _FIRST_RETRY_SECONDS
        reshard.moved += 1
        reshard.total = max(reshard.total, reshard.moved)
        reshard.progress = f"{reshard.moved} of {reshard.total}"
        reshard.reason = f"bucket {move.bucket} is on {_shard(cluster, move.target)}"
        await self._write(cluster, reshard)

    # status ----------------------------------------------------------------------------------------

    async def _failed(self, message: str) -> None:
        """Report an error: in the status at once, as an Event where it lasts. Writing may fail, too."""
        _log.warning("MysqlCluster %s: %s", self.key, message)
        now = self.world.clock.monotonic()
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        cluster = self._read()
        reshard = cluster.status.reshard if cluster is not None else None
        if cluster is None or reshard is None or now - since < _FAILED_SECONDS:
            return
        try:
            subject = _text(cluster, reshard.move) if reshard.move is not None else "reshard"
            await self._say(cluster, f"{subject}; {message}")
            await self.world.events.warning(
                Reference.of(cluster), reasons.BUCKET_MOVE_FAILED, f"{subject}: {message}"
            )
        except ClusterError as error:
            _log.warning("MysqlCluster %s: the status was not written: %s", self.key, error)

    async def _say(self, cluster: MysqlCluster, reason: str) -> None:
        assert cluster.status.reshard is not None
        reshard = cluster.status.reshard.model_copy(deep=True)
        reshard.reason = reason
        await self._write(cluster, reshard)

    async def _write(
        self, cluster: MysqlCluster, reshard: ReshardStatus, moved: list[int] | None = None
    ) -> bool:
        """Write by resourceVersion; return whether anything changed. Raises Conflict, ClusterError."""
        changed = cluster.model_copy(deep=True)
        changed.status.reshard = reshard
        if moved is not None:
            changed.status.bucket_map = ranges_of(moved)
        status, reason = {
            "Waiting": (False, reasons.RESHARD_WAITING),
            "Moving": (False, reasons.BUCKETS_MOVING),
            "Complete": (True, reasons.BUCKETS_BALANCED),
        }[reshard.step]
        set_condition(
            changed.status.conditions,
            "BucketsBalanced",
            status,
            reason,
            f"{reshard.progress} buckets moved: {reshard.reason}",
            now=self.world.clock.now(),
            observed_generation=cluster.metadata.generation,
        )
        if changed.status == cluster.status:
            return False
        await self.world.api.replace(
            MysqlCluster.api_resource(),
            cluster.metadata.name,
            changed.write(),
            namespace=cluster.metadata.namespace,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )
        return True

    async def _event(self, cluster: MysqlCluster, reason: str, message: str) -> None:
        await self.world.events.normal(Reference.of(cluster), reason, message)


def _shard(cluster: MysqlCluster, number: int) -> str:
    return f"{cluster.metadata.name}{number}"


def _text(cluster: MysqlCluster, move: BucketMove) -> str:
    """Return what is moved, and how far that is."""
    where = f"from {_shard(cluster, move.source)} to {_shard(cluster, move.target)}"
    return f"bucket {move.bucket} moves {where}: {move.step}"
