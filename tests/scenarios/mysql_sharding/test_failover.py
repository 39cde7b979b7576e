"""A shard of three real servers, whose primary dies, hangs, or is moved, while a client writes."""

from __future__ import annotations

from operatorkit.testing import eventually


async def test_a_shard_comes_up_and_replicates(shard, tmp_path):
    async with shard() as one:
        await one.create()
        status = await one.healthy()
        assert (status["primary"], status["epoch"]) == ("shop0-0", 1)
        roles = [(member["name"], member["role"]) for member in status["members"]]
        assert roles == [("shop0-0", "primary"), ("shop0-1", "replica"), ("shop0-2", "replica")]
        async with one.load(tmp_path) as writes:
            pass
        assert await one.lost(writes) == {"shop0-0": 0, "shop0-1": 0, "shop0-2": 0}
        assert "Bootstrapped" in dict(await one.events())


async def test_a_killed_primary_is_replaced_and_no_acknowledged_write_is_lost(shard, tmp_path):
    async with shard() as one:
        await one.create()
        old = (await one.healthy())["primary"]
        async with one.load(tmp_path) as writes:
            one.nodes.disrupt.kill(one.namespace, old)
            await writes.more()
        status = await one.healthy(not_primary=old)
        lost = await one.lost(writes)
        print(f"kill -9: {writes.count()} writes, pause {writes.longest_pause():.2f} s, lost {lost}")
        assert set(lost.values()) == {0}
        assert status["epoch"] == 2
        await eventually(lambda: has_event(one, "FailoverCompleted"))


async def has_event(one, reason):
    assert reason in dict(await one.events()), await one.events()
    return True
