"""Bringing data to members: the pods of a shard's restores and copies, created and deleted.

What belongs here: reading these pods from the cache, and requests. What does not: what is next
(`seed_plan`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit.children import owner_reference
from operatorkit.errors import AlreadyExists, NotFound
from operatorkit.events import Reference
from operatorkit.kinds import PODS
from operatorkit.operator import Background
from operatorkit.resource import write
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.pods import (
    LABEL_SEED,
    Placed,
    donor_pod,
    donor_pod_name,
    message_of,
    seed_from_backup,
    seed_from_donor,
    seed_pod_name,
)
from operators.mysql_sharding.backup.seed_plan import (
    CreateDonor,
    CreateSeed,
    DeleteMember,
    End,
    SeedPod,
    Seeds,
    SeedStep,
    Source,
    plan_seeds,
)
from operators.mysql_sharding.members import ObservedShard

__all__ = ["Seeding"]

_INDEX: Final = "seed"
_RETRY: Final = timedelta(seconds=20)


def _seed_index(pod: V1Pod) -> Iterable[str]:
    metadata = pod.metadata
    name = ((metadata.labels if metadata is not None else None) or {}).get(LABEL_SEED)
    return [f"{metadata.namespace}/{name}"] if name and metadata is not None else []


app.index(V1Pod, _INDEX, _seed_index)


@dataclass(slots=True)
class Seeding:
    """Restores and copies of one shard."""

    world: Background
    _failed_at: dict[str, datetime] = field(default_factory=dict)

    async def sync(self, shard: MysqlDatabase, seen: ObservedShard) -> None:
        """Take the next steps. Raises ClusterError: calling again does no harm."""
        for step in plan_seeds(seen, self._seeds(shard, seen)):
            await self._execute(shard, step)

    # --------------------------------------------------------------------------------- observing

    def _seeds(self, shard: MysqlDatabase, seen: ObservedShard) -> Seeds:
        metadata = shard.metadata
        key = f"{metadata.namespace}/{metadata.name}"
        pods = self.world.reader.list(V1Pod, namespace=metadata.namespace, index=(_INDEX, key))
        found = {pod.metadata.name: pod for pod in pods if pod.metadata is not None}
        names = [member.name for member in seen.members]
        restores = shard.spec.restore_from is not None
        self._failed_at = {
            uid: at
            for uid, at in self._failed_at.items()
            if uid in {pod.metadata.uid for pod in found.values() if pod.metadata}
        }
        return Seeds(
            restores=restores,
            waiting=self._waiting(shard, seen) if restores else frozenset(),
            seeds={n: self._seen(found[p]) for n in names if (p := seed_pod_name(n)) in found},
            donors={n: self._seen(found[p]) for n in names if (p := donor_pod_name(n)) in found},
        )

    def _waiting(self, shard: MysqlDatabase, seen: ObservedShard) -> frozenset[str]:
        names = [
            member.name
            for member in seen.members
            if member.server is None and member.pod is not None and member.pod.phase == "Pending"
        ]
        return frozenset(name for name in names if _waits(self._pod(shard, name)))

    def _seen(self, pod: V1Pod) -> SeedPod:
        status, metadata = pod.status, pod.metadata
        assert metadata is not None
        phase = (status.phase if status is not None else None) or "Pending"
        now = self.world.clock.now()
        failed_at = (
            self._failed_at.setdefault(metadata.uid or "", now) if phase == "Failed" else now
        )
        return SeedPod(
            phase=phase,
            ip=(status.pod_ip if status is not None else None) or "",
            message=message_of(pod),
            retry=now - failed_at >= _RETRY,
        )

    def _pod(self, shard: MysqlDatabase, name: str) -> V1Pod | None:
        return self.world.reader.get(V1Pod, name, namespace=shard.metadata.namespace)

    # --------------------------------------------------------------------------------- executing

    async def _execute(self, shard: MysqlDatabase, step: SeedStep) -> None:
        match step:
            case CreateDonor():
                if (place := self._place(shard, step.donor)) is not None:
                    await self._create(shard, donor_pod(shard, step.member, place))
                    why = f"the data of {step.member} is copied from {step.donor}"
                    await self._normal(shard, reasons.COPY_STARTED, why)
            case CreateSeed():
                if (place := self._place(shard, step.member)) is not None:
                    await self._seed(shard, step, place)
            case DeleteMember():
                await self._delete(shard, step.member, uid=step.uid)
            case End():
                await self._end(shard, step)

    async def _seed(self, shard: MysqlDatabase, step: CreateSeed, place: Placed) -> None:
        origin = shard.spec.restore_from
        if step.source is Source.DONOR:
            await self._create(shard, seed_from_donor(shard, place, step.donor, step.donor_ip))
            return
        assert origin is not None
        await self._create(shard, seed_from_backup(shard, place, origin))
        text = f"{step.member} is restored from {origin.path} on the claim {origin.claim}"
        await self._normal(shard, reasons.RESTORE_STARTED, text)

    async def _end(self, shard: MysqlDatabase, step: End) -> None:
        copied = self._pod(shard, donor_pod_name(step.member)) is not None
        for name in (seed_pod_name(step.member), donor_pod_name(step.member)):
            await self._delete(shard, name)
        if step.failure:
            reason = reasons.COPY_FAILED if copied else reasons.RESTORE_FAILED
            text = f"{step.member}: {step.failure}"
            await self.world.events.warning(Reference.of(shard), reason, text)
        elif step.done and copied:
            await self._normal(shard, reasons.DATA_COPIED, f"{step.member} has the data")
        elif step.done:
            await self._normal(shard, reasons.DATA_RESTORED, f"{step.member} has the data")

    async def _normal(self, shard: MysqlDatabase, reason: str, message: str) -> None:
        await self.world.events.normal(Reference.of(shard), reason, message)

    def _place(self, shard: MysqlDatabase, member: str) -> Placed | None:
        pod = self._pod(shard, member)
        node = pod.spec.node_name if pod is not None and pod.spec is not None else None
        return Placed(member, node) if node else None

    async def _create(self, shard: MysqlDatabase, pod: V1Pod) -> None:
        body = write(pod)
        owner = owner_reference(MysqlDatabase.api_resource(), shard.write())
        body["metadata"]["ownerReferences"] = [owner]
        try:
            await self.world.api.create(PODS, body, namespace=shard.metadata.namespace)
        except AlreadyExists:
            return

    async def _delete(self, shard: MysqlDatabase, name: str, *, uid: str | None = None) -> None:
        namespace = shard.metadata.namespace
        try:
            await self.world.api.delete(PODS, name, namespace=namespace, uid=uid)
        except NotFound:
            return


def _waits(pod: V1Pod | None) -> bool:
    """Return whether the init container of a member runs: it waits for data."""
    if pod is None or pod.status is None or pod.metadata is None or pod.metadata.deletion_timestamp:
        return False
    return any(
        one.state is not None and one.state.running is not None
        for one in pod.status.init_container_statuses or []
    )
