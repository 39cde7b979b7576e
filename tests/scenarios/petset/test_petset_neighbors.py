"""Sets whose names are as long as they can be, and sets beside others of the same labels or the same name."""

from __future__ import annotations

import pytest

from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
PETSETS = PetSet.api_resource()
LABELS = {"app": "web"}


async def create(stateful, name, **spec):
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}}
    template["spec"]["terminationGracePeriodSeconds"] = 0
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template, **spec}
    body = {"apiVersion": PetSet.api_version, "kind": "PetSet", "metadata": {"name": name}, "spec": spec}
    return await stateful.cluster.create(PETSETS, body, namespace=stateful.namespace)


async def available(stateful, name, count):
    async def is_so():
        status = (await stateful.get(PETSETS, name)).get("status") or {}
        assert (status.get("availableReplicas"), status.get("replicas")) == (count, count), status
        return status

    return await eventually(is_so)


async def test_a_set_of_the_longest_name_comes_up(sets):
    name = "w" * 52
    async with sets() as stateful:
        await create(stateful, name, ordinals={"start": 2_147_483_640})
        await available(stateful, name, 1)
        pod = await stateful.get(PODS, f"{name}-2147483640")
        assert len(pod["metadata"]["labels"]["controller-revision-hash"]) == 63
        assert len(pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]) == 63


@pytest.mark.parametrize("name", ["w" * 53, "web.db"])
async def test_a_name_that_members_cannot_have_is_reported(sets, name):
    async with sets() as stateful:
        await create(stateful, name)

        async def is_reported():
            found = (await stateful.get(PETSETS, name)).get("status") or {}
            conditions = {each["type"]: each for each in found.get("conditions", ())}
            progressing = conditions.get("Progressing", {})
            assert progressing.get("reason") == "InvalidSpec", conditions
            assert progressing["message"].startswith("metadata.name: "), progressing
            return True

        await eventually(is_reported)
        assert await stateful.pods() == {}


async def test_two_sets_of_one_selector_leave_each_others_members_alone(sets):
    async with sets() as stateful:
        await create(stateful, "web", replicas=2)
        await create(stateful, "web-0", replicas=2)
        await available(stateful, "web", 2)
        await available(stateful, "web-0", 2)
        before = await stateful.uids()
        assert set(before) == {"web-0", "web-1", "web-0-0", "web-0-1"}
        await stateful.change({"spec": {"replicas": 0}})
        await available(stateful, "web", 0)
        after = await stateful.uids()
        assert after == {name: before[name] for name in ("web-0-0", "web-0-1")}
