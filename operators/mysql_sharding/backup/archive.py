"""The archive of binary logs: what is copied next, and what can be restored from it.

What belongs here: decisions. What does not: statements and requests (`archiving`). Pure.

A segment holds the binary logs of one member between two positions, and each segment begins where
the one before it ended, whatever member it is read from: replicas log what they apply under the
same positions. A member's current log is closed first, so that only complete files are copied.

    <cluster>/_binlogs/<uid of the cluster>/<shard>/00000001/  binlog.000007, manifest.json, SHA256SUMS
                                                    00000002/  ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.backup.manifest import ManifestError
from operators.mysql_sharding.backup.schedule import completed_at
from operators.mysql_sharding.backup.spec import ShardArchive
from operators.mysql_sharding.gtid import GtidError, Position

__all__ = ["Log", "Segment", "files_after", "parse_segment", "reachable", "text_of_time"]


@dataclass(frozen=True, slots=True)
class Log:
    """A binary log of a member, and the position at its begin."""

    name: str
    begins: Position


def files_after(position: Position, logs: Sequence[Log]) -> list[str] | None:
    """Return the closed logs, in their order, that hold all transactions after a position.

    `logs` are all logs of a member, oldest first; the last one is still written. Returns None if a
    log that is needed does not exist any more.
    """
    closed = list(logs[:-1])
    for index in range(len(closed) - 1, -1, -1):
        if position.contains(closed[index].begins):
            return [one.name for one in closed[index:]]
    return None


class Segment(BaseModel):
    """What the manifest of a segment says. `through` is the moment up to which it is complete."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")

    format: Literal[1]
    shard: Annotated[str, Field(min_length=1)]
    member: str
    number: Annotated[int, Field(ge=1)]
    begins: str
    ends: str
    through: AwareDatetime
    bytes: Annotated[int, Field(ge=0)]

    @field_validator("begins", "ends")
    @classmethod
    def _is_position(cls, text: str) -> str:
        try:
            Position.parse(text)
        except GtidError as error:
            raise ValueError(str(error)) from error
        return text


def parse_segment(text: str) -> Segment:
    """Return the segment that a manifest describes. Raises ManifestError, which names each field."""
    try:
        return Segment.model_validate_json(text)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc'])) or 'the text'}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        message = f"not a manifest of archived binary logs: {'; '.join(problems)}"
        raise ManifestError(message) from error


def reachable(backup: MysqlBackup, archives: Sequence[ShardArchive]) -> tuple[datetime, datetime]:
    """Return the first and the last moment that a backup and the archived logs can be restored to.

    Both are the end of the backup if the archive of a shard does not begin before that, or was
    interrupted since.
    """
    first = completed_at(backup)
    assert first is not None, "the backup is complete"
    known = {one.shard: one for one in archives}
    ends = []
    for shard in backup.status.shards:
        archive = known.get(shard.shard)
        base = Position.parse(shard.cut or shard.gtid)
        if archive is None or not base.contains(Position.parse(archive.begins)):
            return first, first
        ends.append(max(first, archive.through))
    return first, min(ends, default=first)


def text_of_time(at: datetime) -> str:
    """Return a moment as manifests have it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
