"""The tables of the metadata server, as the code of today reads and writes them.

What belongs here: columns and indexes. What does not: how a database gets them (`migrations`; a test compares the two).
Needs the extra `attestation`.

Times are whole microseconds since 1970 in UTC: exact, and ordered alike in both databases. `body` is the object as v1
without what the server sets; `original` is the body as it was given to `original_version`, where v1 cannot say all.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = ["audit", "metadata", "notes", "occurrences", "projects", "settings"]

metadata = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up an INTEGER only
_JSON = JSON().with_variant(JSONB(), "postgresql")

projects = Table(
    "projects",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(300), nullable=False, unique=True),
    Column("create_time", BigInteger(), nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(600), nullable=False, unique=True),
    Column("parent", String(300), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("create_time", BigInteger(), nullable=False),
    Column("update_time", BigInteger(), nullable=False),
    Column("body", _JSON, nullable=False),
    Column("original_version", String(16)),
    Column("original", _JSON),
    Index("notes_parent", "parent", "id"),
    Index("notes_parent_kind", "parent", "kind", "id"),
)

occurrences = Table(
    "occurrences",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(600), nullable=False, unique=True),
    Column("parent", String(300), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("note", String(600), nullable=False),
    Column("resource", Text(), nullable=False),
    Column("digest", String(160)),
    Column("severity", String(32)),
    Column("fixable", Boolean()),
    Column("create_time", BigInteger(), nullable=False),
    Column("update_time", BigInteger(), nullable=False),
    Column("body", _JSON, nullable=False),
    Column("original_version", String(16)),
    Column("original", _JSON),
    Index(
        "occurrences_parent", "parent", "id"
    ),  # each list by one condition has an index in the order of its pages
    Index("occurrences_note", "note", "id"),
    Index("occurrences_note_resource", "note", "resource", "id"),
    Index("occurrences_digest_note", "digest", "note", "id"),
    Index("occurrences_parent_kind", "parent", "kind", "id"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _ID, primary_key=True),
    Column("time", BigInteger(), nullable=False),
    Column("caller", String(512), nullable=False),
    Column("action", String(32), nullable=False),
    Column("name", String(600), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("note", String(600)),
    Column("resource", Text()),
    Column("digest", String(160)),
    Column("body", _JSON),
    sqlite_autoincrement=True,
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text(), nullable=False),
)
