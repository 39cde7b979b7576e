"""When a backup is due, which finished ones are deleted, and whether the last one is recent enough.

What belongs here: decisions. What does not: requests (`keep`). Pure.

The rules are those of a CronJob with concurrencyPolicy Forbid: a time that was missed is caught up
on, the last one only, unless startingDeadlineSeconds have passed; while a backup of the cluster
runs, none is started.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from operators.mysql_sharding import reasons
from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.backup.spec import BackupPolicy, BackupRetention, ShardArchive

__all__ = [
    "FINISHED",
    "Due",
    "Missed",
    "Readiness",
    "ScheduleError",
    "completed_at",
    "expired",
    "plan_schedule",
    "readiness",
    "scheduled_name",
    "times",
]

FINISHED: Final = frozenset({"Completed", "Failed"})
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = 5
_BEHIND: Final = timedelta(minutes=10)
_INTERVALS: Final = 10
_EXAMPLE: Final = 'use five fields (minute, hour, day, month, weekday) such as "0 3 * * *"'


class ScheduleError(ValueError):
    """A text is no cron expression, or a name no time zone; `field` is that of the policy."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def times(
    schedule: str, zone: str, around: datetime, *, reverse: bool = False
) -> Iterator[datetime]:
    """Yield the times of a schedule after `around` or, with `reverse`, before it, in UTC.

    A time that daylight saving time skips is served right after the gap, as Debian's cron does.
    Raises ScheduleError.
    """
    from cronsim import CronSim, CronSimError

    try:
        local = around.astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    except (KeyError, ValueError, OSError) as error:
        message = 'is no time zone: use a name such as "Europe/Paris"'
        raise ScheduleError("timeZone", message) from error
    expression = _MACROS.get(schedule, schedule)
    if len(expression.split()) != _FIELDS:
        raise ScheduleError("schedule", f"is no cron expression: {_EXAMPLE}")
    try:
        found = CronSim(expression, local, reverse=reverse)
    except CronSimError as error:
        message = f"is no cron expression ({error}): {_EXAMPLE}"
        raise ScheduleError("schedule", message) from error
    return (each.astimezone(UTC) for each in found)


@dataclass(frozen=True, slots=True)
class Due:
    """A backup for this time is to be started now."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Missed:
    """This time has passed, and startingDeadlineSeconds with it."""

    at: datetime


def plan_schedule(
    policy: BackupPolicy, last: datetime, now: datetime, *, running: bool
) -> Due | Missed | None:
    """Return what to do; None for nothing. `last` is the last time that was served or missed.

    Raises ScheduleError.
    """
    if not policy.schedule or policy.suspend:
        return None
    until = now.replace(microsecond=0) + timedelta(seconds=1)
    latest = next(times(policy.schedule, policy.time_zone, until, reverse=True), None)
    if latest is None or latest <= last:
        return None
    deadline = policy.starting_deadline_seconds
    if deadline is not None and now > latest + timedelta(seconds=deadline):
        return Missed(latest)
    return None if running else Due(latest)


def scheduled_name(cluster: str, at: datetime) -> str:
    """Return the name of the backup for a time: the same one for the same time."""
    return f"{cluster}-{at.astimezone(UTC):%Y%m%d%H%M}"


def completed_at(backup: MysqlBackup) -> datetime | None:
    """Return when a backup was complete, None for one that is not."""
    if backup.status.phase != "Completed":
        return None
    times_ = [one.completed_at for one in backup.status.shards if one.completed_at is not None]
    times_ += [backup.status.cut_at] if backup.status.cut_at is not None else []
    return max(times_, default=backup.metadata.creation_timestamp)


def expired(backups: Sequence[MysqlBackup], retention: BackupRetention | None) -> list[MysqlBackup]:
    """Return the finished backups beyond those that are kept, the oldest first."""
    if retention is None:
        return []
    ordered = sorted(backups, key=_age, reverse=True)
    completed = [one for one in ordered if one.status.phase == "Completed"]
    failed = [one for one in ordered if one.status.phase == "Failed"]
    beyond = [*completed[retention.completed :], *failed[retention.failed :]]
    return sorted(beyond, key=_age)


def _age(backup: MysqlBackup) -> tuple[datetime, str]:
    created = backup.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)
    return created, backup.metadata.name


@dataclass(frozen=True, slots=True)
class Readiness:
    """The condition BackupReady."""

    status: bool | None
    reason: str
    message: str


def readiness(
    policy: BackupPolicy,
    backups: Sequence[MysqlBackup],
    archives: Sequence[ShardArchive],
    since: datetime,
    now: datetime,
) -> Readiness:
    """Return whether a recent moment can be restored. `backups` are those of the cluster.

    A backup is recent while no two times of the schedule have passed without one, and none that
    came later has failed. An archive is, while it is less than ten intervals behind, or ten
    minutes. Raises ScheduleError.
    """
    done = [at for one in backups if (at := completed_at(one)) is not None]
    succeeded = max(done, default=None)
    ended = sorted((one for one in backups if one.status.phase in FINISHED), key=_age)
    known = f"the last completed one is of {_text(succeeded)}" if succeeded else "there is no other"
    if ended and ended[-1].status.phase == "Failed":
        why = next((c.message for c in ended[-1].status.conditions if c.type == "Complete"), "")
        message = f"MysqlBackup {ended[-1].metadata.name} failed: {why}; {known}"
        return Readiness(False, reasons.BACKUP_FAILED, message)
    if succeeded is None:
        if policy.schedule and _passed(policy, since, now) < 1:
            return Readiness(None, reasons.NO_BACKUP, "no backup was due yet")
        return Readiness(False, reasons.NO_BACKUP, "no backup of the cluster is complete")
    if policy.schedule and not policy.suspend and _passed(policy, succeeded, now) > 1:
        message = f"{known}: more than one time of the schedule has passed since"
        return Readiness(False, reasons.BACKUP_OVERDUE, message)
    if policy.archive is not None and archives:
        last = min(archives, key=lambda one: one.through)
        allowed = max(_BEHIND, _INTERVALS * timedelta(seconds=policy.archive.every_seconds))
        if now - last.through > allowed:
            message = (
                f"the binary logs of {last.shard} are archived up to {_text(last.through)} only"
            )
            return Readiness(False, reasons.ARCHIVE_BEHIND, message)
    return Readiness(True, reasons.BACKUP_COMPLETED, known)


def _passed(policy: BackupPolicy, since: datetime, now: datetime) -> int:
    """Return how many times of the schedule have passed since then, 2 for more than that."""
    found = times(policy.schedule, policy.time_zone, since)
    count = 0
    while count < 2 and (at := next(found, None)) is not None and at <= now:
        count += 1
    return count


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
