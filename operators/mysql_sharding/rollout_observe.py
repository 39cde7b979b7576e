"""What the rollout of a shard sees: its members, their pods, and the variables that they run.

What belongs here: facts for `rollout_plan`, from a reading of the shard, its pods and its servers.
What does not: what follows from them, and changes (`rollout_shard`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from kubernetes.client.models import V1Pod

from operators.mysql_sharding.api import MysqlDatabase, ShardRollout
from operators.mysql_sharding.members import IoThread, Member, ObservedShard
from operators.mysql_sharding.observe import Observer
from operators.mysql_sharding.revision import LABEL_REVISION, config_of, data_of
from operators.mysql_sharding.rollout_plan import MemberState, ShardState
from operators.mysql_sharding.rollout_state import changed_names
from operators.mysql_sharding.sql import Session, text_of
from operators.mysql_sharding.variable_values import Reported, runs

__all__ = ["DEFAULT", "label_of", "observe_rollout", "reported", "start_failure", "values_of"]

DEFAULT: Final = "DEFAULT"
"""Stands for the value of a variable that is not, or no longer, configured."""

_SECONDS: Final = 2.0
_MAX_LAG: Final = timedelta(seconds=1)
_HELD: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
_LONGEST: Final = 300
_CHUNK: Final = "innodb_buffer_pool_chunk_size"


def label_of(pod: V1Pod | None) -> str:
    """Return the digest of the revision that a pod carries, "" for none."""
    metadata = pod.metadata if pod is not None else None
    return ((metadata.labels if metadata is not None else None) or {}).get(LABEL_REVISION, "")


def start_failure(pod: V1Pod | None) -> str:
    """Return why the containers of a pod do not start, as the kubelet reports it; "" if they do."""
    status = pod.status if pod is not None else None
    if status is None:
        return ""
    for one in [*(status.init_container_statuses or ()), *(status.container_statuses or ())]:
        waiting = one.state.waiting if one.state is not None else None
        if waiting is None or waiting.reason not in _HELD:
            continue
        ended = one.last_state.terminated if one.last_state is not None else None
        code = f", exit code {ended.exit_code}" if ended is not None else ""
        errors = _errors((ended.message if ended is not None else None) or "")
        detail = errors or ("" if ended is not None else waiting.message or "")
        text = f"container {one.name} does not start ({waiting.reason}{code})"
        return f"{text}: {detail[:_LONGEST]}" if detail else text
    return ""


def _errors(log: str) -> str:
    """Return the errors among the last lines of a server's log."""
    lines = [line.partition("[ERROR]")[2].strip() for line in log.splitlines() if "[ERROR]" in line]
    return "; ".join(line for line in lines if line)


async def reported(session: Session, names: Iterable[str]) -> dict[str, Reported]:
    """Return what a server reports of variables; those that it has not are left out. Raises SqlError."""
    wanted = sorted({*names, _CHUNK})
    marks = ", ".join(["%s"] * len(wanted))
    rows = await session.rows(
        "SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE AS value, DEFAULT_VALUE AS preset,"  # noqa: S608
        " GLOBAL_VALUE_ORIGIN AS origin, NUMERIC_BLOCK_SIZE AS block"
        f" FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME IN ({marks})",
        *wanted,
        seconds=_SECONDS,
    )
    found = {
        text_of(row["name"]): Reported(
            value=text_of(row["value"]),
            default=text_of(row["preset"]),
            origin=text_of(row["origin"]),
            block=int(text_of(row["block"]) or 0) or 1,
        )
        for row in rows
    }
    pool, chunk = found.get("innodb_buffer_pool_size"), found.get(_CHUNK)
    if pool is not None and chunk is not None and chunk.value.isdecimal():
        found["innodb_buffer_pool_size"] = Reported(
            value=pool.value,
            default=pool.default,
            origin=pool.origin,
            block=max(1, int(chunk.value)),
        )
    return found


async def observe_rollout(
    shard: MysqlDatabase,
    seen: ObservedShard,
    rollout: ShardRollout,
    pods: Mapping[str, V1Pod],
    observer: Observer,
    copying: str = "",
) -> ShardState:
    """Return the state of a rollout. Raises SqlError where a reachable server does not answer.

    `copying` names a backup or a restore that is under way.
    """
    config = config_of(shard.spec)
    wanted = {name: config.get(name, DEFAULT) for name in rollout.names}
    waits = seen.spec.members > 1 and seen.spec.acks > 0
    members = []
    for ordinal, member in enumerate(seen.members):
        pod = pods.get(member.name)
        session = observer.session(member.name) if _is_up(member) else None
        members.append(
            MemberState(
                name=member.name,
                ordinal=ordinal,
                template_current=_template_current(shard, rollout, label_of(pod)),
                reachable=session is not None,
                caught_up=_caught_up(seen, member, waits=waits),
                values=await values_of(session, wanted) if session is not None else {},
                failure=_failure(shard, pod),
                restarted=label_of(pod) == rollout.revision,
            )
        )
    return ShardState(
        name=shard.metadata.name,
        index=0,
        primary=seen.status.primary,
        acks=1 if waits else 0,
        members=tuple(members),
        wanted=wanted,
        busy=_busy(seen) or copying,
        prefer_in_place=rollout.in_place,
    )


def _is_up(member: Member) -> bool:
    pod = member.pod
    return member.server is not None and pod is not None and pod.ready and not pod.terminating


def _template_current(shard: MysqlDatabase, rollout: ShardRollout, label: str) -> bool:
    """Return whether a pod needs no restart: it has the revision, or can get it by SET GLOBAL."""
    current = shard.status.current
    same = {"", current.digest} if rollout.in_place and current is not None else set()
    return label == rollout.revision or label in same


def _caught_up(seen: ObservedShard, member: Member, *, waits: bool) -> bool:
    """Return whether a member serves writes, or could take over now without the loss of one."""
    server = member.server
    if server is None:
        return False
    if member.name == seen.status.primary:
        enough = not waits or server.semi_sync.acknowledgers > 0
        return not server.read_only and enough
    replication = server.replication
    if replication is None or member.delayed:
        return False
    synced = any(
        (each.member, each.incarnation) == (member.name, server.incarnation)
        for each in seen.status.synced
    )
    current = replication.applied_all or (
        replication.lag is not None and replication.lag <= _MAX_LAG
    )
    return (
        replication.source == seen.status.primary
        and replication.io_thread is IoThread.RUNNING
        and replication.sql_running
        and current
        and (not waits or (server.semi_sync.acknowledging and synced))
    )


async def values_of(session: Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each variable: as it is wanted where the server runs it so. Raises SqlError."""
    found = await reported(session, wanted) if wanted else {}
    values = {}
    for name, value in wanted.items():
        known = found.get(name)
        same = known is None or runs(name, None if value == DEFAULT else value, known)
        values[name] = value if same or known is None else known.value
    return values


def _failure(shard: MysqlDatabase, pod: V1Pod | None) -> str:
    """Return why a pod does not run, with the variables that the rollout changes."""
    failure = start_failure(pod)
    current = shard.status.current
    if not failure or current is None:
        return failure
    names = changed_names(config_of(current), config_of(shard.spec))
    changed = [f"{name}={config_of(shard.spec).get(name, DEFAULT)}" for name in names]
    old, new = data_of(current), data_of(shard.spec)
    parts = ("image", "resources")
    changed += [f"{part}={new.get(part)}" for part in parts if old.get(part) != new.get(part)]
    return f"{failure}, with changed {', '.join(changed[:5])}" if changed else failure


def _busy(seen: ObservedShard) -> str:
    if seen.status.failover is not None:
        return "a failover or switchover is under way"
    wish = seen.spec.switchover
    if wish and wish not in {seen.status.primary, seen.status.switchover}:
        return f"a switchover to {wish} is requested"
    return ""
