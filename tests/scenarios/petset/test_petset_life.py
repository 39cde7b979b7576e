"""A PetSet's life on a control plane with simulated nodes: creation, scaling, updates, deletion."""

from __future__ import annotations

import pytest
import yaml

from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet

PETSETS = PetSet.api_resource()
CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
REVISIONS = ApiResource("apps", "v1", "ControllerRevision", "controllerrevisions", namespaced=True)


async def test_three_members_come_up_in_order_with_stable_names(sets):
    async with sets() as stateful:
        await stateful.create(serviceName="web")
        await stateful.available(3)
        pods = await stateful.pods()
    assert list(pods) == ["web-0", "web-1", "web-2"]
    born = [pods[name]["metadata"]["creationTimestamp"] for name in pods]
    assert born == sorted(born)
    first = pods["web-0"]
    assert first["spec"]["hostname"] == "web-0"
    assert first["spec"]["subdomain"] == "web"
    assert first["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert first["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    service = await stateful.cluster.get(SERVICES, "web", namespace=stateful.namespace)
    assert service["spec"]["clusterIP"] == "None"


async def test_an_update_reaches_every_member_and_keeps_the_history(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        before = await stateful.pods()
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        after = await stateful.pods()
        revisions = (await stateful.cluster.list(REVISIONS, namespace=stateful.namespace)).items
    assert {pod["metadata"]["uid"] for pod in before.values()}.isdisjoint(
        pod["metadata"]["uid"] for pod in after.values()
    )
    assert sorted(revision["revision"] for revision in revisions) == [1, 2]


async def test_a_rollout_that_cannot_start_says_why_and_heals_when_it_is_corrected(sets):
    missing = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a"}}}]}
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.set_image("web:2", **missing)

        async def says_why():
            degraded = await stateful.condition("Degraded")
            assert degraded.get("status") == "True", degraded
            assert "web-2: container app: CreateContainerConfigError" in degraded["message"]
            return True

        await eventually(says_why)
        assert {name for name, image in (await stateful.images()).items() if image == "web:1"} == {"web-0", "web-1"}
        await stateful.set_image("web:3")
        await stateful.completed("web:3")
        assert (await stateful.condition("Degraded"))["status"] == "False"


async def test_scaling_removes_the_highest_and_keeps_the_claims(sets):
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    async with sets() as stateful:
        await stateful.create(volumeClaimTemplates=[claim], podManagementPolicy="Parallel")
        await eventually(lambda: _pods_are(stateful, ["web-0", "web-1", "web-2"]))
        await stateful.change({"spec": {"replicas": 1}})
        await eventually(lambda: _pods_are(stateful, ["web-0"]))
        claims = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
    assert [each["metadata"]["name"] for each in claims] == ["data-web-0", "data-web-1", "data-web-2"]


async def test_a_deleted_set_removes_its_members_and_goes(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.cluster.delete(PETSETS, "web", namespace=stateful.namespace)

        async def is_gone():
            with pytest.raises(NotFound):
                await stateful.cluster.get(PETSETS, "web", namespace=stateful.namespace)
            return True

        await eventually(is_gone)
        assert await stateful.pods() == {}


async def test_a_set_with_nothing_to_do_makes_no_request(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.engine.settled()
        before = stateful.engine.writes()
        await stateful.change({"metadata": {"labels": {"touched": "yes"}}})
        await stateful.engine.settled()
    assert stateful.engine.writes() == before


async def _pods_are(stateful, names):
    assert list(await stateful.pods()) == names
    return True


async def test_history_and_rollback_do_what_kubectl_rollout_does(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        history = await stateful.command("history", "web")
        assert [line.split()[2] for line in history.splitlines()[1:]] == ["web:1", "web:2"]
        assert "rolled back to web-" in await stateful.command("rollback", "web")
        await stateful.completed("web:1")
        history = await stateful.command("history", "web")
        assert [line.split()[2:] for line in history.splitlines()[1:]] == [["web:2"], ["web:1", "current", "update"]]


async def test_plan_shows_the_steps_of_a_change_and_makes_none(sets, tmp_path):
    async with sets() as stateful:
        manifest = await stateful.create(replicas=2)
        await stateful.available(2)
        assert await stateful.command("plan", "web") == "nothing would change\n"
        container = {"name": "app", "image": "web:2"}
        spec = {**manifest["spec"], "replicas": 3}
        spec["template"] = {**spec["template"], "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
        changed = {
            "apiVersion": manifest["apiVersion"],
            "kind": "PetSet",
            "metadata": {"name": "web", "namespace": stateful.namespace},
            "spec": spec,
        }
        (tmp_path / "web.yaml").write_text(yaml.safe_dump(changed))
        lines = (await stateful.command("plan", str(tmp_path / "web.yaml"))).splitlines()
        assert [line.split(maxsplit=1)[1] for line in lines] == [
            "create web-2",
            *("delete web-1", "deleted web-1", "create web-1"),
            *("delete web-0", "deleted web-0", "create web-0"),
        ]
        assert list(await stateful.images()) == ["web-0", "web-1"]


async def test_restart_recreates_every_member(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2)
        await stateful.available(2)
        before = {pod["metadata"]["uid"] for pod in (await stateful.pods()).values()}
        await stateful.command("restart", "web")
        await stateful.completed("web:1", 2)

        async def are_others():
            after = {pod["metadata"]["uid"] for pod in (await stateful.pods()).values()}
            return len(after) == 2 and not after & before

        await eventually(are_others)
