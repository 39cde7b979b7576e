"""Rows: what is written to the database, and what is read from it.

What belongs here: the statements, and from rows to bodies of a version. What does not: permissions, and what a request
must be like (`service`). Needs the extra `attestation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from operators.attestation.images import ImageReferenceError, parse_resource_uri
from operators.attestation.server.database import Database
from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection
from operators.attestation.server.schema import OUTPUT_ONLY, checked
from operators.attestation.server.tables import audit, notes, occurrences, projects
from operators.attestation.server.versions import Version, from_v1, to_v1

__all__ = [
    "Draft",
    "add_audit",
    "create",
    "draft_of",
    "ensure_project",
    "find",
    "last_change",
    "page",
    "read_changes",
    "remove",
    "replace",
    "shown",
    "vulnerability_counts",
]

JSONObject = dict[str, Any]

_TABLES: dict[Collection, Table] = {"notes": notes, "occurrences": occurrences}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Draft:
    """A body that was checked: what is stored of it."""

    collection: Collection
    body: JSONObject
    original_version: Version | None = None
    original: JSONObject | None = None

    @property
    def kind(self) -> str:
        """The kind, in v1's words."""
        return str(self.body["kind"])

    @property
    def note(self) -> str:
        """The name of the note that an occurrence refers to."""
        return str(self.body.get("noteName", ""))

    @property
    def resource(self) -> str:
        """The resource that an occurrence is about."""
        return str(self.body.get("resourceUri", ""))

    @property
    def digest(self) -> str | None:
        """The digest in the resource, if it is an image."""
        try:
            return parse_resource_uri(self.resource).digest
        except ImageReferenceError:
            return None

    def columns(self) -> JSONObject:
        """Return the values of the columns that follow from the body."""
        values: JSONObject = {
            "kind": self.kind,
            "body": self.body,
            "original_version": self.original_version,
            "original": self.original,
        }
        if self.collection == "notes":
            return values
        vulnerability = self.body.get("vulnerability") or {}
        return values | {
            "note": self.note,
            "resource": self.resource,
            "digest": self.digest,
            "severity": vulnerability.get("effectiveSeverity") or vulnerability.get("severity"),
            "fixable": any(_has_fix(issue) for issue in vulnerability.get("packageIssue", ())),
        }


def draft_of(version: Version, collection: Collection, given: Mapping[str, Any]) -> Draft:
    """Check a body of `version`. Raises ApiError."""
    content = {key: value for key, value in given.items() if key not in OUTPUT_ONLY}
    body = checked(collection, to_v1(version, collection, content))
    said = {key: value for key, value in content.items() if key != "kind"}
    again = {
        key: value for key, value in from_v1(version, collection, body).items() if key != "kind"
    }
    if version == "v1" or said == again:
        return Draft(collection, body)
    return Draft(collection, body, version, content)


def shown(version: Version, collection: Collection, row: Row[Any]) -> JSONObject:
    """Return what a reader of `version` gets."""
    by_table = from_v1(version, collection, row.body)
    body = (
        {**row.original, "kind": by_table["kind"]} if row.original_version == version else by_table
    )
    return {
        "name": row.name,
        **body,
        "createTime": time_text(row.create_time),
        "updateTime": time_text(row.update_time),
    }


def time_text(micros: int) -> str:
    """Return microseconds since 1970 as RFC 3339, as protobuf's JSON has it."""
    moment = _EPOCH + timedelta(microseconds=micros)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if moment.microsecond else f"{text}Z"


def _has_fix(issue: Mapping[str, Any]) -> bool:
    fixed = issue.get("fixedVersion") or {}
    return bool(fixed) and fixed.get("kind") != "MAXIMUM"


async def create(
    connection: AsyncConnection, draft: Draft, *, name: str, parent: str, now: int
) -> Row[Any]:
    """Insert an object. Raises ApiError when there is one of that name."""
    table = _TABLES[draft.collection]
    values = {
        "name": name,
        "parent": parent,
        "create_time": now,
        "update_time": now,
        **draft.columns(),
    }
    try:
        row: Row[Any] = (
            await connection.execute(insert(table).values(values).returning(table))
        ).one()
    except IntegrityError as error:
        raise ApiError(
            "ALREADY_EXISTS", f"{name} exists already: update it, or choose another id"
        ) from error
    return row


async def find(
    connection: AsyncConnection, collection: Collection, name: str, *, lock: bool = False
) -> Row[Any]:
    """Return the row of a name; with `lock`, no other transaction changes it before this one ends. Raises ApiError."""
    table = _TABLES[collection]
    query = select(table).where(table.c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        raise ApiError("NOT_FOUND", f"{name} does not exist")
    return row


async def replace(
    connection: AsyncConnection, row: Row[Any], draft: Draft, *, now: int
) -> Row[Any]:
    """Replace the body of a row."""
    table = _TABLES[draft.collection]
    changed = (
        update(table)
        .where(table.c.id == row.id)
        .values(update_time=now, **draft.columns())
        .returning(table)
    )
    after: Row[Any] = (await connection.execute(changed)).one()
    return after


async def remove(connection: AsyncConnection, collection: Collection, name: str) -> Row[Any]:
    """Delete a row and return what it was. Raises ApiError."""
    table = _TABLES[collection]
    row = (
        await connection.execute(delete(table).where(table.c.name == name).returning(table))
    ).first()
    if row is None:
        raise ApiError("NOT_FOUND", f"{name} does not exist")
    return row


async def page(
    database: Database,
    table: Table,
    *conditions: ColumnElement[bool],
    after: int,
    size: int,
) -> tuple[list[Row[Any]], int | None]:
    """Return up to `size` rows after an id, in the order of creation, and the last id if there are more."""
    query = (
        select(table).where(table.c.id > after, *conditions).order_by(table.c.id).limit(size + 1)
    )
    rows = await database.fetch(query)
    return rows[:size], (rows[size - 1].id if len(rows) > size else None)


async def ensure_project(connection: AsyncConnection, project: str, *, now: int) -> bool:
    """Create a project unless it exists; True if it was created."""
    name = f"projects/{project}"
    if (
        await connection.execute(select(projects.c.id).where(projects.c.name == name))
    ).first() is not None:
        return False
    await connection.execute(insert(projects).values(name=name, create_time=now))
    return True


async def vulnerability_counts(
    connection: AsyncConnection, *conditions: ColumnElement[bool]
) -> list[JSONObject]:
    """Count vulnerabilities by resource and severity: all, and those with a fix."""
    columns = occurrences.c
    severity = func.coalesce(columns.severity, "SEVERITY_UNSPECIFIED")
    query = (
        select(
            columns.resource, severity, func.sum(case((columns.fixable, 1), else_=0)), func.count()
        )
        .where(columns.kind == "VULNERABILITY", *conditions)
        .group_by(columns.resource, severity)
        .order_by(columns.resource, severity)
    )
    rows = (await connection.execute(query)).all()
    # protobuf's JSON has 64-bit numbers as text
    return [
        {
            "resource": {"uri": uri},
            "severity": level,
            "fixableCount": str(fixable),
            "totalCount": str(total),
        }
        for uri, level, fixable, total in rows
    ]


async def add_audit(
    connection: AsyncConnection,
    *,
    caller: str,
    action: str,
    name: str,
    now: int,
    draft: Draft | None = None,
    **more: Any,
) -> None:
    """Append one row to the audit log, in the transaction of the change that it records."""
    values: JSONObject = {
        "time": now,
        "caller": caller,
        "action": action,
        "name": name,
        "kind": "",
        **more,
    }
    if draft is not None:
        values |= {"kind": draft.kind, "body": draft.body}
        if draft.collection == "occurrences":
            values |= {"note": draft.note, "resource": draft.resource, "digest": draft.digest}
    await connection.execute(insert(audit).values(values))


async def last_change(connection: AsyncConnection) -> int:
    """Return the number of the last change; 0 without any."""
    return (await connection.execute(select(func.max(audit.c.seq)))).scalar() or 0


async def read_changes(connection: AsyncConnection, *, after: int, limit: int) -> list[JSONObject]:
    """Return what changed after a sequence number, in order: what, never the body."""
    columns = audit.c
    query = (
        select(
            columns.seq,
            columns.time,
            columns.action,
            columns.name,
            columns.kind,
            columns.note,
            columns.resource,
            columns.digest,
        )
        .where(columns.seq > after)
        .order_by(columns.seq)
        .limit(limit)
    )
    return [
        {
            "sequence": row.seq,
            "time": time_text(row.time),
            "action": row.action,
            "name": row.name,
            "kind": row.kind,
            **{
                key: value
                for key, value in (
                    ("noteName", row.note),
                    ("resourceUri", row.resource),
                    ("digest", row.digest),
                )
                if value
            },
        }
        for row in (await connection.execute(query)).all()
    ]
