"""The loop of each shard: observe, plan, persist, execute, again and again.

What belongs here: when a shard is looked at, and by which task. What does not: what is done (`failover`), and how
(`observe`, `execute`). A failover must not wait in a work queue, so that each shard has a task of its own while this
replica leads.

    pods, servers ──> Observer ──> plan ──┬─ status step: written by resourceVersion, then planned again
                                          ├─ server and pod steps: executed side by side, then observed again
                                          └─ nothing, or WaitFor: reported, and observed again after a pause
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.errors import ClusterError, Conflict, InputError
from operatorkit.events import Reference
from operatorkit.names import ObjectKey
from operatorkit.operator import Background
from operators.mysql_sharding import reasons
from operators.mysql_sharding.accounts import Accounts
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.seeding import Seeding
from operators.mysql_sharding.detection import Policy, failure
from operators.mysql_sharding.execute import Executor
from operators.mysql_sharding.failover import plan
from operators.mysql_sharding.members import ObservedShard
from operators.mysql_sharding.objects import accounts_secret_name, member_names
from operators.mysql_sharding.observe import POD_INDEX, Observer, pod_index
from operators.mysql_sharding.proxy.loop import Proxies
from operators.mysql_sharding.report import Report, event_of, report
from operators.mysql_sharding.revision import active_rollout
from operators.mysql_sharding.rollout_shard import Roller
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError
from operators.mysql_sharding.status import spec_of, status_of
from operators.mysql_sharding.steps import (
    PodStep,
    PointReplica,
    Reclone,
    RepointProxies,
    ServerStep,
    StartApplier,
    StatusStep,
    Step,
    WaitFor,
)
from operators.mysql_sharding.tasks import run_for_each

__all__ = ["run_shards"]

_log = logging.getLogger("operators.mysql_sharding")

POLICY: Final = Policy(failures=3, hang_failures=8)
_EVERY_SECONDS: Final = 0.5
_DOUBT_SECONDS: Final = 0.1
"""While a member does not answer, or a step has been done: what follows is not to wait."""
_LOOK_SECONDS: Final = 0.25
"""How often it is looked whether there are new shards."""
_ERROR_SECONDS: Final = 1.0
_SLOW: Final = (PointReplica, StartApplier, Reclone)
"""Steps that take effect only after a while: a replica connects, and agrees on acknowledgements."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_LOCK_EVERY: Final = timedelta(seconds=5)

_EVERY: Final = ("every", "shard")
"""The index that finds all shards: their keys are looked at often, and decode none."""

app.index(V1Pod, POD_INDEX, pod_index)
app.index(MysqlDatabase, _EVERY[0], lambda _: _EVERY[1:])


@app.background
async def run_shards(world: Background) -> None:
    """Run a task for each shard that there is."""
    await run_for_each(
        world,
        MysqlDatabase,
        _EVERY,
        lambda key: _Shard.of(world, key).run(),
        "shard",
        seconds=_LOOK_SECONDS,
    )


@dataclass(slots=True)
class _Passwords:
    operator: str
    replication: str


@dataclass(slots=True)
class _Shard:
    """The loop of one shard, and what it remembers."""

    world: Background
    key: ObjectKey
    observer: Observer
    executor: Executor
    accounts: Accounts
    seeding: Seeding
    roller: Roller
    lock_at: datetime = _LONG_AGO

    @classmethod
    def of(cls, world: Background, key: ObjectKey) -> _Shard:
        connector = Asyncmy()
        observer = Observer(world.reader, connector, world.clock)
        executor = Executor(world.api, observer, world.clock)
        return cls(
            world=world,
            key=key,
            observer=observer,
            executor=executor,
            accounts=Accounts(world.api, world.reader, connector),
            seeding=Seeding(world),
            roller=Roller(world, observer, executor),
        )

    async def run(self) -> None:
        """Sync until cancelled. An error is logged, and the next sync starts from what is observed then."""
        try:
            while True:
                try:
                    pause = await self._sync()
                except Conflict:
                    pause = _DOUBT_SECONDS
                except (ClusterError, SqlError) as error:
                    _log.warning("MysqlDatabase %s: %s", self.key, error)
                    pause = _DOUBT_SECONDS if isinstance(error, SqlError) else _ERROR_SECONDS
                except Exception:  # noqa: BLE001 - the outermost loop of a shard: logged, and tried again
                    _log.exception("MysqlDatabase %s: the sync failed", self.key)
                    pause = _ERROR_SECONDS
                await self.world.clock.sleep(pause)
        finally:
            self.observer.close()

    async def _sync(self) -> float:
        """Do what is next, and return after how many seconds to look again."""
        shard = self.world.reader.get(MysqlDatabase, self.key.name, namespace=self.key.namespace)
        if shard is None or shard.metadata.deletion_timestamp is not None:
            return _EVERY_SECONDS
        passwords = self._passwords(shard)
        if passwords is None:
            return _EVERY_SECONDS
        seen = await self._observe(shard, passwords)
        steps = plan(seen)
        todo = [step for step in steps if not isinstance(step, WaitFor)]
        for step in todo:
            _log.info("MysqlDatabase %s: %s", self.key, step)
        if todo:
            await self._execute(shard, seen, todo, passwords)
            return _DOUBT_SECONDS if any(isinstance(each, _SLOW) for each in todo) else 0.0
        if await self.roller.sync(shard, seen):
            return 0.0
        await self._report(shard, seen, steps)
        await self._lock_privileged(seen)
        await self._keep_accounts(shard, seen, passwords)
        await self.seeding.sync(shard, seen)  # last: its requests must not delay a failover
        if active_rollout(shard) is not None:
            return _DOUBT_SECONDS
        return _EVERY_SECONDS if all(each.server for each in seen.members) else _DOUBT_SECONDS

    @property
    def _proxies(self) -> Proxies:
        return self.world.reader.memory(Proxies)

    def _passwords(self, shard: MysqlDatabase) -> _Passwords | None:
        secret = self.world.reader.get(
            V1Secret, accounts_secret_name(shard), namespace=self.key.namespace
        )
        data = (secret.data if secret is not None else None) or {}
        if not {"operator", "replication"} <= data.keys():
            return None
        return _Passwords(
            operator=base64.b64decode(data["operator"]).decode(),
            replication=base64.b64decode(data["replication"]).decode(),
        )

    async def _observe(self, shard: MysqlDatabase, passwords: _Passwords) -> ObservedShard:
        members = await self.observer.members(shard, passwords.operator)
        status = status_of(shard.status)
        others = [name for name in member_names(shard) if name != status.primary]
        failed = (
            failure(self.observer.history, primary=status.primary, replicas=others, policy=POLICY)
            if status.primary
            else ""
        )
        return ObservedShard(
            name=shard.metadata.name,
            spec=spec_of(shard),
            status=status,
            members=members,
            now=self.world.clock.now(),
            failure=failed,
            proxied=self._proxies.pointed(shard),
        )

    async def _execute(
        self,
        shard: MysqlDatabase,
        seen: ObservedShard,
        steps: Sequence[Step],
        passwords: _Passwords,
    ) -> None:
        """Execute the steps of a plan: those of one member in their order, members side by side."""
        first = steps[0]
        if isinstance(first, get_args(StatusStep)):
            await self.executor.write(shard, first)
            await self._record(shard, seen, first)
            return
        chains: dict[str, list[ServerStep]] = defaultdict(list)
        work = []
        for step in steps:
            if isinstance(step, get_args(ServerStep)):
                chains[step.member].append(step)
            elif isinstance(step, get_args(PodStep)):
                work.append(self.executor.change_pod(shard, step))
            else:
                assert isinstance(step, RepointProxies), step
                work.append(self._proxies.repoint(shard, step.primary))
        work += [self._chain(shard, chain, passwords) for chain in chains.values()]
        results = await asyncio.gather(*work, return_exceptions=True)
        errors = [each for each in results if isinstance(each, BaseException)]
        for step in steps:
            await self._record(shard, seen, step)
        if errors:
            for error in errors[1:]:
                _log.warning("MysqlDatabase %s: also: %s", self.key, error)
            raise errors[0]

    async def _chain(
        self, shard: MysqlDatabase, steps: Sequence[ServerStep], passwords: _Passwords
    ) -> None:
        for step in steps:
            await self.executor.change_server(shard, step, passwords.replication)

    async def _record(self, shard: MysqlDatabase, seen: ObservedShard, step: Step) -> None:
        event = event_of(seen, step)
        if event is None:
            return
        record = self.world.events.warning if event.type == "Warning" else self.world.events.normal
        await record(Reference.of(shard), event.reason, event.message)

    async def _report(
        self, shard: MysqlDatabase, seen: ObservedShard, steps: Sequence[Step]
    ) -> None:
        """Write what is reported of the members, if it has changed."""
        made: Report = report(shard, seen, steps)
        if made.changed:
            await self.executor.replace_status(made.shard)

    async def _lock_privileged(self, seen: ObservedShard) -> None:
        """Lock, on the replicas, accounts that could write there."""
        if seen.now < self.lock_at:
            return
        self.lock_at = seen.now + _LOCK_EVERY
        for member in seen.members:
            if member.server is not None and member.name != seen.status.primary:
                await self.executor.lock_privileged(member.name)

    async def _keep_accounts(
        self, shard: MysqlDatabase, seen: ObservedShard, passwords: _Passwords
    ) -> None:
        """Keep databases and users, while writes are accepted and acknowledged."""
        primary = seen.member(seen.status.primary)
        server = primary.server if primary is not None else None
        if primary is None or server is None or server.read_only or seen.status.failover:
            return
        if server.semi_sync.primary and not server.semi_sync.acknowledgers:
            return
        login = self.observer.login(primary.name)
        if login is None:
            return
        try:
            await self.accounts.keep(
                shard, Login(login.host, login.port, login.user, passwords.operator)
            )
        except (InputError, SqlError) as error:
            await self.world.events.warning(
                Reference.of(shard), reasons.INVALID_ACCOUNT, str(error)
            )
