"""The first schema: projects, notes, occurrences, the audit log and settings.

The audit log is append-only: the database itself rejects changes and deletions of its rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
)
_POSTGRESQL = (
    """CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$""",
    """CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()""",
)


def upgrade() -> None:
    """Create the tables."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "projects",
        sa.Column("id", number, primary_key=True),
        sa.Column("name", sa.String(300), nullable=False, unique=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "notes",
        sa.Column("id", number, primary_key=True),
        sa.Column("name", sa.String(600), nullable=False, unique=True),
        sa.Column("parent", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("body", json, nullable=False),
        sa.Column("original_version", sa.String(16)),
        sa.Column("original", json),
    )
    op.create_index("notes_parent", "notes", ["parent", "id"])
    op.create_index("notes_parent_kind", "notes", ["parent", "kind", "id"])
    op.create_table(
        "occurrences",
        sa.Column("id", number, primary_key=True),
        sa.Column("name", sa.String(600), nullable=False, unique=True),
        sa.Column("parent", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("note", sa.String(600), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(160)),
        sa.Column("severity", sa.String(32)),
        sa.Column("fixable", sa.Boolean()),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("body", json, nullable=False),
        sa.Column("original_version", sa.String(16)),
        sa.Column("original", json),
    )
    op.create_index("occurrences_parent", "occurrences", ["parent", "id"])
    op.create_index("occurrences_note", "occurrences", ["note", "id"])
    op.create_index("occurrences_note_resource", "occurrences", ["note", "resource", "id"])
    op.create_index("occurrences_digest_note", "occurrences", ["digest", "note", "id"])
    op.create_index("occurrences_parent_kind", "occurrences", ["parent", "kind", "id"])
    op.create_table(
        "audit",
        sa.Column("seq", number, primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.String(512), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("name", sa.String(600), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("note", sa.String(600)),
        sa.Column("resource", sa.Text()),
        sa.Column("digest", sa.String(160)),
        sa.Column("body", json),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    triggers = _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE
    for statement in triggers:
        op.execute(statement)


def downgrade() -> None:
    """Reject: an audit log is not thrown away by a downgrade."""
    raise RuntimeError("the first schema cannot be undone: to remove it, drop the database")
