"""The database: its migrations make what the code reads, and bad ones are said in one line."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from operatorkit.errors import InputError
from operators.attestation.server.database import Database, database_url
from operators.attestation.server.tables import metadata


async def test_the_migrations_make_the_tables_of_the_code(tmp_path):
    database = await Database.open(database_url(f"sqlite:///{tmp_path}/a.db"))
    async with database.read() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    await database.close()
    assert [one for one in found if "alembic_version" not in str(one)] == []


async def test_a_database_is_migrated_once_and_keeps_its_key(tmp_path):
    url = database_url(f"sqlite:///{tmp_path}/a.db")
    first = await Database.open(url)
    await first.close()
    second = await Database.open(url)
    await second.close()
    assert first.page_key == second.page_key
    assert len(first.page_key) == 32


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", ""])
def test_a_url_that_is_not_served_is_an_error_with_examples(url):
    with pytest.raises(InputError, match=r"sqlite:///path/attest\.db"):
        database_url(url)


async def test_a_database_that_cannot_be_opened_is_an_error_without_its_password(tmp_path):
    with pytest.raises(InputError, match="cannot be used"):
        await Database.open(database_url(f"sqlite:///{tmp_path}/no/such/folder/a.db"))
    with pytest.raises(InputError) as error:
        await Database.open(database_url("postgresql://user:secret@127.0.0.1:9/db"))
    assert "secret" not in str(error.value)
