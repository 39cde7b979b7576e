"""A file that remembers what was in memory.

What belongs here: writing every change to SQLite, and reading it back at the next start. What does not: history;
watches and pages of an earlier run get 410 Gone. Revisions continue from the stored one or from the clock, whichever is
larger: a file restored from a copy does not count again through the numbers that were used after the copy.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from operatorkit.controlplane.embedded.serializer.json import decode
from operatorkit.controlplane.embedded.storage.store import Change, Storage
from operatorkit.errors import InputError

__all__ = ["WriteAheadLog"]

_SCHEMA = """
create table if not exists objects (
    collection text not null, key text not null, revision integer not null, body blob not null,
    primary key (collection, key)
) without rowid;
create table if not exists counter (revision integer not null);
"""


class WriteAheadLog:
    """The file at `path`. Raises `InputError` when it cannot be opened, or is something else."""

    def __init__(self, path: Path) -> None:
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = off")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise InputError(
                f"{path} cannot hold the objects of a control plane: {error}; name another file"
            ) from error
        row = self._database.execute("select revision from counter").fetchone()
        if row is None:
            self._database.execute("insert into counter values (1)")

    def write(self, collection: str, change: Change) -> None:
        """Remember a change."""
        record = change.record
        self._database.execute("begin")
        if change.type == "DELETED":
            self._database.execute(
                "delete from objects where collection = ? and key = ?", (collection, record.key)
            )
        else:
            row = (collection, record.key, record.revision, record.body)
            self._database.execute("insert or replace into objects values (?, ?, ?, ?)", row)
        self._database.execute("update counter set revision = ?", (record.revision,))
        self._database.execute("commit")

    def load(self, storage: Storage) -> None:
        """Put everything that is remembered into `storage`."""
        rows = self._database.execute(
            "select collection, revision, body from objects order by revision"
        )
        for name, revision, body in rows:
            storage.load(storage.collection(name), decode(b"{" + body), revision)
        (revision,) = self._database.execute("select revision from counter").fetchone()
        storage.revision = max(storage.revision, revision)
        storage.forget()

    def close(self) -> None:
        """Close the file."""
        self._database.close()
