"""A shard of three real servers, whose primary dies, hangs, or is moved, while a client writes."""

from __future__ import annotations

import pytest

from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from operators.mysql_sharding.sql import SqlError

ACCOUNT_LOCKED = 4151
NOTHING_LOST = {"shop0-0": 0, "shop0-1": 0, "shop0-2": 0}


async def has_event(one, reason):
    found = await one.events()
    assert reason in dict(found), found
    return True


async def test_a_killed_primary_is_replaced_and_no_acknowledged_write_is_lost(shard, tmp_path):
    async with shard() as one:
        await one.create()
        status = await one.healthy()
        assert (status["primary"], status["epoch"]) == ("shop0-0", 1)
        roles = [(member["name"], member["role"]) for member in status["members"]]
        assert roles == [("shop0-0", "primary"), ("shop0-1", "replica"), ("shop0-2", "replica")]
        await eventually(lambda: has_event(one, "Bootstrapped"))
        async with one.load(tmp_path) as writes:
            one.nodes.disrupt.kill(one.namespace, "shop0-0")
            await writes.more()
        status = await one.healthy(after_epoch=1)
        lost = await one.lost(writes)
        one.show("kill -9", writes, lost)
        assert lost == NOTHING_LOST
        assert status["epoch"] >= 2
        await eventually(lambda: has_event(one, "FailoverCompleted"))
        await switched_over(one, tmp_path, "shop0-1" if status["primary"] == "shop0-0" else "shop0-0")


async def switched_over(one, tmp_path, target):
    """Move the primary of a healthy shard by request."""
    epoch = (await one.status())["epoch"]
    async with one.load(tmp_path) as writes:
        await one.change({"switchoverTo": target})
        await eventually(lambda: is_primary(one, target), timeout=120)
        await writes.more()
    status = await one.healthy()
    lost = await one.lost(writes)
    one.show("switchover", writes, lost)
    assert lost == NOTHING_LOST
    assert (status["primary"], status["epoch"]) == (target, epoch + 1)
    await eventually(lambda: has_event(one, "SwitchoverCompleted"))


async def is_primary(one, name):
    status = await one.status()
    assert status["primary"] == name, status
    return True


async def test_a_hung_primary_is_replaced_though_the_operator_restarts_meanwhile(shard, tmp_path):
    async with shard() as one:
        await one.create()
        status = await one.healthy()
        old, epoch = status["primary"], status["epoch"]
        async with one.load(tmp_path) as writes:
            one.nodes.disrupt.pause(one.namespace, old)
            await eventually(lambda: failover_begun(one), timeout=120)
            await one.restart_operator()
            await writes.more()
        one.resume(old)
        status = await one.healthy(after_epoch=epoch)
        lost = await one.lost(writes)
        one.show("SIGSTOP, operator restarted", writes, lost)
        assert lost == NOTHING_LOST


async def failover_begun(one):
    status = await one.status()
    assert status["epoch"] > 1, status
    return True


async def test_an_account_with_all_privileges_writes_to_the_primary_only(shard, tmp_path):
    async with shard() as one:
        await one.create(replicas=2)
        await one.healthy()
        await one.sql("shop0-0", "CREATE USER boss@'%' IDENTIFIED BY 'not-a-secret'")
        await one.sql("shop0-0", "GRANT ALL PRIVILEGES ON *.* TO boss@'%' WITH GRANT OPTION")

        async def locked_on_the_replica():
            with pytest.raises(SqlError) as caught:
                await one.sql("shop0-1", "SELECT 1", user="boss", password="not-a-secret")
            assert caught.value.code == ACCOUNT_LOCKED, caught.value
            return True

        await eventually(locked_on_the_replica, timeout=60)
        async with one.load(tmp_path, user="boss") as writes:
            one.nodes.disrupt.kill(one.namespace, "shop0-0")
            await writes.more()
        await one.healthy()
        lost = await one.lost(writes)
        one.show("kill -9, GRANT ALL", writes, lost)
        assert set(lost.values()) == {0}


async def test_a_former_primary_that_is_emptied_receives_again_what_it_wrote(shard, tmp_path):
    async with shard() as one:
        await one.create(replicas=2, durability={"allowAsync": True})  # as acknowledgers, servers accept their own id
        await one.healthy()
        async with one.load(tmp_path) as writes:
            pass
        await one.change({"switchoverTo": "shop0-1"})
        await eventually(lambda: is_primary(one, "shop0-1"), timeout=120)
        await one.healthy()
        await one.sql("shop0-0", "CREATE TABLE shop.errant (n INT PRIMARY KEY)")
        await eventually(lambda: has_event(one, "MemberRecloned"), timeout=60)
        assert await one.lost(writes) == {"shop0-0": 0, "shop0-1": 0}
        assert await one.sql("shop0-0", "SHOW TABLES FROM shop LIKE 'errant'") == []
