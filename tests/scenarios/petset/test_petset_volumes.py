"""Storage that grows: a larger request in a claim template reaches the claims of all members."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scenarios.petset.pairs import CLAIMS
from scenarios.petset.storage import Driver

from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock, eventually

EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)


async def sizes(stateful):
    """Return what each claim requests and has."""
    found = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
    return {
        it["metadata"]["name"]: (
            it["spec"]["resources"]["requests"]["storage"],
            (it.get("status", {}).get("capacity") or {}).get("storage"),
        )
        for it in found
    }


async def all_have(stateful, size, names=("data-web-0", "data-web-1", "data-web-2")):
    async def have():
        assert await sizes(stateful) == dict.fromkeys(names, (size, size))
        return True

    await eventually(have, timeout=60)


async def test_claims_grow_one_after_the_other_while_their_pods_run(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(3)
        await all_have(stateful, "1Gi")
        before = await stateful.uids()
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await all_have(stateful, "2Gi")
        await stateful.says("Progressing", "Complete")
        assert await stateful.uids() == before
        status = await stateful.status()
        first = status["volumes"][0]
        assert (first["claim"], first["size"], first["requested"]) == ("data-web-0", "2Gi", "2Gi")
        events = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
        grown = [it["message"] for it in events if it["reason"] == "SuccessfulExpand"]
        assert any("Requested 2Gi for claim data-web-0, which has 1Gi" in it for it in grown)


async def test_a_member_whose_file_system_grows_only_when_it_is_restarted_is_restarted(sets):
    later = FakeClock(start=datetime.now(UTC) + timedelta(minutes=1))  # kubelets have half a minute to grow it online
    async with sets(later) as stateful, Driver(stateful.cluster, online=False) as driver:
        await stateful.create(replicas=2, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(2)
        await all_have(stateful, "1Gi", ("data-web-0", "data-web-1"))
        before = await stateful.uids()
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await all_have(stateful, "2Gi", ("data-web-0", "data-web-1"))
        await stateful.available(2)
        after = await stateful.uids()
        assert all(after[name] != before[name] for name in before)


async def test_a_class_that_allows_no_expansion_is_named_and_holds_no_update(sets):
    async with sets() as stateful, Driver(stateful.cluster, expands=False) as driver:
        await stateful.create(replicas=1, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(1)
        await all_have(stateful, "1Gi", ("data-web-0",))
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await stateful.says(
            "Progressing", "ExpansionBlocked", "claim data-web-0", driver.storage_class, "allowVolumeExpansion"
        )
        await stateful.set_image("web:2")
        await stateful.become({"web-0": "web:2"})
        await all_have(stateful, "1Gi", ("data-web-0",))


async def test_a_new_claim_template_reaches_members_as_they_are_recreated(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(replicas=2, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(2)
        before = await stateful.uids()
        both = [driver.template("1Gi"), driver.template("1Gi", "logs")]
        await stateful.change({"spec": {"volumeClaimTemplates": both}})
        await stateful.engine.settled()
        assert await stateful.uids() == before
        await stateful.set_image("web:2")
        await stateful.completed("web:2", 2)
        assert sorted(await sizes(stateful)) == ["data-web-0", "data-web-1", "logs-web-0", "logs-web-1"]
