"""Rows of every type arrive on another shard as they were; on one real server, with a table beside the other."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from operatorkit.clock import SystemClock
from operatorkit.kinds import SECRETS
from operators.mysql_sharding.api import Column, MysqlTable
from operators.mysql_sharding.proxy.ddl import create_bucket_table
from operators.mysql_sharding.reshard.copy import SESSION, Copier
from operators.mysql_sharding.reshard.statements import TableMove
from operators.mysql_sharding.sql import Asyncmy, Login

COLUMNS = {
    "id": "BIGINT UNSIGNED NOT NULL",
    "name": "VARCHAR(20) NOT NULL",
    "kind": "ENUM('z', 'a', 'm') NOT NULL",
    "tiny": "TINYINT",
    "amount": "DECIMAL(30,10)",
    "narrow": "FLOAT",
    "wide": "DOUBLE",
    "bits": "BIT(64)",
    "day": "DATE",
    "span": "TIME(6)",
    "moment": "DATETIME(6)",
    "stamp": "TIMESTAMP(6) NULL DEFAULT NULL",
    "born": "YEAR",
    "old": "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci",
    "fixed": "BINARY(8)",
    "bytes": "LONGBLOB",
    "body": "JSON",
    "choice": "SET('x', 'y', 'w')",
    "uid": "UUID",
    "net": "INET6",
}
TABLE = MysqlTable(
    name="things",
    database="shop",
    shard_key="id",
    columns=[Column(name=name, type=text) for name, text in COLUMNS.items()],
    primary_key=["id", "name", "kind"],
)
ALL_BYTES = bytes(range(256)).hex()
ROWS = [
    (
        "18446744073709551615, 'é\\'\\\\%s\\0 x', 'm', -128, -12345678901234567890.0123456789, 0.1, 5e-324,"
        " b'1111111111111111111111111111111111111111111111111111111111111111', '0000-00-00', '-838:59:58.999999',"
        f" '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 2155, 'ÿé', X'00', X'{ALL_BYTES}',"
        " '{\"a\": \"\\\\u00e9\"}', 'x,w', '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff'"
    ),
    f"0, '', 'z'{', NULL' * 17}",
    (
        "9007199254740993, 'a', 'a', 1, 0, 16777217, 0.1, b'0', '2024-02-29', '00:00:00', '1000-01-01', NULL, 1901, '',"
        " '', '', '[]', '', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::'"
    ),
]


async def test_rows_of_every_type_are_copied_and_changes_follow(shard):
    async with shard() as one:
        await one.create(replicas=1)
        await one.healthy()
        secret = await one.cluster.get(SECRETS, "shop0-accounts", namespace=one.namespace)
        password = base64.b64decode(secret["data"]["operator"]).decode()
        login = Login(await one.address("shop0-0"), 3307, "operatorkit", password)
        session = await Asyncmy().connect(login, seconds=5)
        move = TableMove(TABLE, 7, 1)

        async def sql(statement):
            return await session.rows(statement, seconds=20)

        async def equal():
            names = f"{move.named('things')}, {move.named(move.staged)}"
            here, there = [row["Checksum"] for row in await sql(f"CHECKSUM TABLE {names} EXTENDED")]
            return here == there and here

        try:
            await sql("SET SESSION sql_mode = ''")
            await sql("CREATE DATABASE shop_b07")
            for statement in (
                create_bucket_table(TABLE, 7),
                create_bucket_table(TABLE, 7, move.staged),
                move.create_log(),
            ):
                await sql(statement)
            for statement in move.triggers.values():
                await sql(statement)
            values = ", ".join(f"({row})" for row in ROWS)
            await sql(f"INSERT INTO {move.named('things')} VALUES {values}")
            many = f"SELECT seq + 5, CONCAT('n', seq), 1 + seq % 3{', NULL' * 17} FROM shop_b07.seq_1_to_1200"
            await sql(f"INSERT INTO {move.named('things')} {many}")
            await sql(SESSION)
            copier = Copier(move, session, session, SystemClock())
            assert await copier.copy()
            assert await equal()
            await sql(f"UPDATE {move.named('things')} SET name = 'A', wide = 1.5 WHERE id = 9007199254740993")
            await sql(f"UPDATE {move.named('things')} SET id = id + 1000000, born = 2000 WHERE id BETWEEN 100 AND 900")
            await sql(f"DELETE FROM {move.named('things')} WHERE id = 18446744073709551615 OR id BETWEEN 20 AND 30")
            assert not await equal()
            while (await sql(move.count_log(1)))[0]["n"]:
                await copier.apply("things")
            assert await equal()
        finally:
            session.close()
