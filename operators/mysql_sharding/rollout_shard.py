"""Executing the rollout within a shard: observe, plan, persist, change, verify.

What belongs here: how each step of `rollout_plan` is done, and its Events. What does not: which is
next, and the order of the shards (`rollout_cluster`). It runs in the loop of the shard (`shards`),
only while nothing else is to be done. While the primary changes, only a member that does not run is
restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.events import Reference
from operatorkit.kinds import PODS
from operatorkit.operator import Background
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.copies import running_copy
from operators.mysql_sharding.execute import FIELD_MANAGER, Executor
from operators.mysql_sharding.members import ChangeKind, ObservedShard
from operators.mysql_sharding.objects import PetSet
from operators.mysql_sharding.observe import POD_INDEX, Observer
from operators.mysql_sharding.report import event_of
from operators.mysql_sharding.revision import (
    LABEL_REVISION,
    active_rollout,
    config_of,
    digest_of,
    starts_with,
)
from operators.mysql_sharding.rollout_observe import (
    DEFAULT,
    label_of,
    observe_rollout,
    reported,
    values_of,
)
from operators.mysql_sharding.rollout_plan import (
    Done,
    Failed,
    Hold,
    ProbeWrite,
    RestartMember,
    RolloutStep,
    SetGlobal,
    SwitchOver,
    next_steps,
)
from operators.mysql_sharding.rollout_state import (
    adopt,
    await_copy,
    begin,
    fail,
    finish,
    hold,
    is_overdue,
    may_start_with_former_file,
    move,
    turn,
)
from operators.mysql_sharding.sql import SqlError
from operators.mysql_sharding.status import apply_step
from operators.mysql_sharding.steps import WriteIntent
from operators.mysql_sharding.upkeep import why_no_switchover
from operators.mysql_sharding.variable_values import runs, statement_value

__all__ = ["Roller"]

_READ_BACK_TIMES: Final = 20
_READ_BACK_SECONDS: Final = 0.1
"""A size that is changed at run time takes effect after a moment."""


@dataclass(slots=True)
class Roller:
    """Rolls changes through the members of one shard."""

    world: Background
    observer: Observer
    executor: Executor
    _checked: dict[str, str] = field(default_factory=dict)
    """The process of each member whose variables were compared after a change in place."""

    async def sync(self, shard: MysqlDatabase, seen: ObservedShard) -> bool:
        """Do what is next, and return whether anything was. Raises SqlError, ClusterError, Conflict."""
        if shard.status.current is None or not seen.status.primary:
            return await self._write(shard, adopt)
        pods = self._pods(shard)
        labels = {label_of(pod) for pod in pods.values()}
        if await self._write(shard, lambda it: begin(it, labels, seen.now)):
            return await self._started(shard)
        rollout = active_rollout(shard)
        if rollout is None or rollout.step == "Failed":
            await self._set_again(shard, seen)
            return False
        if shard.spec.update_strategy.paused:
            return await self._write(shard, lambda it: hold(it, "the rollout is paused"))
        try:
            copying = running_copy(self.world.reader, shard)
            state = await observe_rollout(shard, seen, rollout, pods, self.observer, copying)
            steps = next_steps(state)
            if copying and isinstance(steps[0], Hold):
                reason = steps[0].reason
                return await self._write(shard, lambda it: await_copy(it, reason, seen.now))
            return await self._execute(shard, seen, steps, pods)
        except SqlError as error:
            return await self._wait(shard, seen, str(error))

    def _pods(self, shard: MysqlDatabase) -> dict[str, V1Pod]:
        key = f"{shard.metadata.namespace}/{shard.metadata.name}"
        found = self.world.reader.list(
            V1Pod, namespace=shard.metadata.namespace, index=(POD_INDEX, key)
        )
        return {pod.metadata.name: pod for pod in found if pod.metadata and pod.metadata.name}

    async def _execute(
        self,
        shard: MysqlDatabase,
        seen: ObservedShard,
        steps: Sequence[RolloutStep],
        pods: dict[str, V1Pod],
    ) -> bool:
        first = steps[0]
        match first:
            case SetGlobal():
                return await self._set_all(shard, seen, steps)
            case RestartMember():
                return await self._restart(shard, seen, first, pods)
            case SwitchOver():
                return await self._switch_over(shard, seen, first)
            case ProbeWrite() | Done():
                return await self._complete(shard, seen, pods)
            case Hold():
                return await self._wait(shard, seen, first.reason)
            case Failed():
                return await self._fail(shard, first.member, first.reason)

    async def _write(
        self, shard: MysqlDatabase, transition: Callable[[MysqlDatabase], object]
    ) -> bool:
        """Write a transition by resourceVersion, unless it changes nothing. Raises Conflict, ClusterError."""
        changed = shard.model_copy(deep=True)
        if not transition(changed):
            return False
        await self.executor.replace_status(changed)
        return True

    async def _started(self, shard: MysqlDatabase) -> bool:
        message = f"revision {digest_of(shard.spec)} is rolled through the members"
        await self.world.events.normal(Reference.of(shard), reasons.ROLLOUT_STARTED, message)
        return True

    async def _wait(self, shard: MysqlDatabase, seen: ObservedShard, reason: str) -> bool:
        if is_overdue(shard, seen.now):
            seconds = shard.spec.update_strategy.progress_deadline_seconds
            rollout = active_rollout(shard)
            pod = rollout.pod if rollout is not None else ""
            return await self._fail(shard, pod, f"no progress for {seconds} s: {reason}")
        return await self._write(shard, lambda it: hold(it, reason))

    async def _fail(self, shard: MysqlDatabase, pod: str, reason: str) -> bool:
        def failed(it: MysqlDatabase) -> bool:
            fail(it, pod, reason)
            return True

        await self._write(shard, failed)
        message = f"{pod or shard.metadata.name}: {reason}"
        await self.world.events.warning(Reference.of(shard), reasons.ROLLOUT_FAILED, message)
        return True

    # Variables --------------------------------------------------------------------------------------

    async def _set_all(
        self, shard: MysqlDatabase, seen: ObservedShard, steps: Sequence[RolloutStep]
    ) -> bool:
        """Set variables, replicas first, and read each back: one that is rejected ends the rollout."""
        if await self._write(shard, lambda it: move(it, "Setting", "", seen.now)):
            return True
        for step in steps:
            assert isinstance(step, SetGlobal)
            if problem := await self._set(seen, step):
                return await self._fail(shard, step.member, problem)
        return True

    async def _set(self, seen: ObservedShard, step: SetGlobal) -> str:
        """Set a variable; return why the server does not run it so, "" where it does. Raises SqlError."""
        value = None if step.value == DEFAULT else statement_value(step.variable, step.value)
        try:
            await self.executor.set_global(step.member, seen.status.epoch, step.variable, value)
        except SqlError as error:
            if error.uncertain or not error.code:
                raise
            return f"the server rejects {step.variable}={step.value}: {error}"
        session = self.observer.session(step.member)
        if session is None:
            raise SqlError(f"{step.member}: there is no connection to its server")
        for _ in range(_READ_BACK_TIMES):
            found = (await reported(session, [step.variable])).get(step.variable)
            wanted = None if step.value == DEFAULT else step.value
            if found is None or runs(step.variable, wanted, found):
                return ""
            await self.world.clock.sleep(_READ_BACK_SECONDS)
        return f"{step.variable} was set to {step.value}, and is {found.value if found else ''}"

    async def _set_again(self, shard: MysqlDatabase, seen: ObservedShard) -> None:
        """Repair servers that restarted with the former file after a change in place. Raises SqlError."""
        last = may_start_with_former_file(shard, seen.now)
        if last is None:
            self._checked.clear()
            return
        config = config_of(shard.spec)
        wanted = {name: config.get(name, DEFAULT) for name in last.names}
        for member in seen.members:
            process = member.server.incarnation.partition(".")[0] if member.server else ""
            session = self.observer.session(member.name)
            if not process or session is None or self._checked.get(member.name) == process:
                continue
            values = await values_of(session, wanted)
            stale = [name for name, value in wanted.items() if values[name] != value]
            for name in stale:
                if problem := await self._set(seen, SetGlobal(member.name, name, wanted[name])):
                    raise SqlError(f"{member.name}: {problem}")
            self._checked[member.name] = process
            if stale:
                message = (
                    f"{member.name} restarted with former values, set again: {', '.join(stale)}"
                )
                await self.world.events.normal(
                    Reference.of(shard), reasons.VARIABLES_SET_AGAIN, message
                )

    # Restarts ---------------------------------------------------------------------------------------

    async def _restart(
        self,
        shard: MysqlDatabase,
        seen: ObservedShard,
        step: RestartMember,
        pods: dict[str, V1Pod],
    ) -> bool:
        """Delete the pod of a member, once its PetSet would create it with the revision."""
        if await self._write(shard, lambda it: turn(it, step.member, seen.now)):
            return True
        pod = pods.get(step.member)
        if pod is None or pod.metadata is None or pod.metadata.deletion_timestamp is not None:
            return await self._wait(shard, seen, f"{step.member} is recreated")
        pets = self.world.reader.get(
            PetSet, shard.metadata.name, namespace=shard.metadata.namespace
        )
        ordinal = int(step.member.rpartition("-")[2])
        if (
            pets is None
            or pets.status.observed_generation != pets.metadata.generation
            or starts_with(pets, ordinal) != digest_of(shard.spec)
        ):
            return await self._wait(shard, seen, f"the PetSet of {step.member} is not up to date")
        try:
            await self.world.api.delete(
                PODS, step.member, namespace=shard.metadata.namespace, uid=pod.metadata.uid
            )
        except NotFound:
            return True
        message = f"restarting {step.member}: {step.why}"
        await self.world.events.normal(Reference.of(shard), reasons.MEMBER_RESTARTED, message)
        return True

    async def _switch_over(
        self, shard: MysqlDatabase, seen: ObservedShard, step: SwitchOver
    ) -> bool:
        """Begin a switchover: its intent is one write with the state of the rollout."""
        if problem := why_no_switchover(seen, step.target):
            return await self._wait(shard, seen, problem)
        reason = f"{seen.status.primary} is restarted for revision {digest_of(shard.spec)}"
        intent = WriteIntent(
            seen.status.epoch + 1,
            seen.status.primary,
            ChangeKind.SWITCHOVER,
            reason,
            target=step.target,
        )

        def moved(it: MysqlDatabase) -> bool:
            move(it, "SwitchingOver", step.target, seen.now)
            apply_step(it.status, intent, seen.now)
            return True

        await self._write(shard, moved)
        if (event := event_of(seen, intent)) is not None:
            await self.world.events.normal(Reference.of(shard), event.reason, event.message)
        return True

    # The end ----------------------------------------------------------------------------------------

    async def _complete(
        self, shard: MysqlDatabase, seen: ObservedShard, pods: dict[str, V1Pod]
    ) -> bool:
        """Verify by a write that is acknowledged as any other is, and end the rollout."""
        digest = digest_of(shard.spec)
        await self.executor.probe_write(seen.status.primary, seen.status.epoch, digest)
        for name, pod in pods.items():
            if label_of(pod) != digest and pod.metadata is not None:
                await self._label(shard, name, pod.metadata.uid or "", digest)

        def finished(it: MysqlDatabase) -> bool:
            finish(it, self.world.clock.now())
            return True

        await self._write(shard, finished)
        message = f"all members run revision {digest}, and {seen.status.primary} accepts writes"
        await self.world.events.normal(Reference.of(shard), reasons.ROLLOUT_COMPLETED, message)
        return True

    async def _label(self, shard: MysqlDatabase, name: str, uid: str, digest: str) -> None:
        """Label a pod whose server got the revision in place."""
        patch = {"metadata": {"uid": uid, "labels": {LABEL_REVISION: digest}}}
        await self.world.api.patch(
            PODS,
            name,
            patch,
            patch_type=PatchType.MERGE,
            namespace=shard.metadata.namespace,
            field_manager=FIELD_MANAGER,
        )
