"""What is rejected of a policy for backups. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from operatorkit import Cause
from operatorkit.webhooks import invalid
from operators.mysql_sharding.backup.schedule import ScheduleError, scheduled_name, times
from operators.mysql_sharding.backup.spec import BackupPolicy

__all__ = ["BACKUP_NAME_MAX_LENGTH", "check_policy"]

BACKUP_NAME_MAX_LENGTH: Final = 52
"""Of a MysqlBackup: the names of its pods, and a label, hold it."""
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


def check_policy(cluster: str, policy: BackupPolicy | None) -> Iterator[Cause]:
    """Return the problems of spec.backup of the cluster with that name."""
    if policy is None:
        return
    given = {"schedule": policy.schedule, "timeZone": policy.time_zone}
    try:
        found = next(times(policy.schedule or "@daily", policy.time_zone, _ANY_TIME), None)
    except ScheduleError as error:
        yield invalid(f"spec.backup.{error.field}", given[error.field], str(error))
        return
    if found is None:
        message = "has no time in the next years: choose another day"
        yield invalid("spec.backup.schedule", policy.schedule, message)
    suffix = len(scheduled_name("", _ANY_TIME))
    if policy.schedule and len(cluster) + suffix > BACKUP_NAME_MAX_LENGTH:
        most = BACKUP_NAME_MAX_LENGTH - suffix
        message = f"of a cluster with spec.backup.schedule may have {most} characters: shorten it"
        yield invalid("metadata.name", cluster, message)
