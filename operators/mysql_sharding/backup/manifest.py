"""What a backup of a shard says of itself: the manifest beside its data.

What belongs here: reading a manifest. What does not: writing it, and comparing checksums, which the
pods do (`scripts`). Pure.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from operators.mysql_sharding.gtid import GtidError, Position

__all__ = ["BackupFile", "Manifest", "ManifestError", "parse_manifest"]


class ManifestError(ValueError):
    """A text is no manifest; the message names the field, what it holds, and what it must hold."""


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class BackupFile(_Part):
    """A file of a backup: size in bytes, and SHA-256 in hexadecimal digits."""

    name: Annotated[str, Field(min_length=1)]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(_Part):
    """The backup of one shard, taken from `member`, which had executed everything up to `gtid`.

    `binlog_state` is gtid_binlog_state of the server before the backup began: it knows every server
    of a domain.
    """

    format: Literal[1]
    backup: str
    uid: str
    cluster: str
    shard: str
    member: str
    started_at: AwareDatetime
    completed_at: AwareDatetime
    gtid: str
    binlog_state: str
    server_version: str
    files: Annotated[tuple[BackupFile, ...], Field(min_length=1)]
    cut: str = ""
    """Position that the last file, the transactions since `gtid`, leads to; empty without it."""

    @field_validator("gtid", "binlog_state", "cut")
    @classmethod
    def _is_position(cls, text: str) -> str:
        try:
            Position.parse(text)
        except GtidError as error:
            raise ValueError(str(error)) from error
        return text

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        return sum(one.bytes for one in self.files)

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return _seconds(self.started_at, self.completed_at)


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()


def parse_manifest(text: str) -> Manifest:
    """Return the manifest that a JSON text holds. Raises ManifestError, which names each field."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc'])) or 'the text'}: {one['msg']}, found {one['input']!r:.80}"
            for one in error.errors(include_url=False)
        ]
        raise ManifestError(f"not a manifest of a backup: {'; '.join(problems)}") from error
