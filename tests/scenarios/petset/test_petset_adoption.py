"""A running StatefulSet becomes a PetSet, and a PetSet a StatefulSet: no pod is restarted and no claim is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from scenarios.petset.pairs import CLAIMS, PODS, STATEFUL_SETS, claim_template

from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet

PETSETS = PetSet.api_resource()
REVISIONS = ApiResource("apps", "v1", "ControllerRevision", "controllerrevisions", namespaced=True)
LABELS = {"app": "web"}
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "from-statefulset.md"


def shown(command):
    """Return the lines that the guide shows below a command."""
    found = re.search(rf"^\$ operatorkit petset {command}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return found[1].splitlines()


def template(image="web:1"):
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": image}]}}


class StatefulSets:
    """StatefulSets of a namespace; where no controller runs for them, what it would have made of them."""

    def __init__(self, stateful, is_real):
        self._stateful = stateful
        self._has_controller = is_real

    async def create(self, replicas=5, **spec):
        whole = {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": LABELS},
            "template": template(),
        }
        whole |= {"volumeClaimTemplates": [claim_template("data")], "podManagementPolicy": "Parallel", **spec}
        body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": whole}
        made = await self._stateful.cluster.create(STATEFUL_SETS, body, namespace=self._stateful.namespace)
        if not self._has_controller:
            await self._make_members(made, replicas)

        async def is_ready():
            pods = await self._stateful.pods()
            assert len(pods) == replicas
            assert all(_is_ready(pod) for pod in pods.values())
            return True

        await eventually(is_ready, timeout=90)

    async def _make_members(self, made, replicas):
        """Create what the StatefulSet controller creates, with the data of a revision as it encodes them."""
        create, where = self._stateful.cluster.create, {"namespace": self._stateful.namespace}
        metadata = made["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"]}
        owner |= {"controller": True, "blockOwnerDeletion": True}
        data = {"spec": {"template": {**made["spec"]["template"], "$patch": "replace"}}}
        names = {"name": "web-5f7b8c9d6", "labels": {**LABELS, "controller.kubernetes.io/hash": "5f7b8c9d6"}}
        revision = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": data, "revision": 1}
        await create(REVISIONS, {**revision, "metadata": {**names, "ownerReferences": [owner]}}, **where)
        for ordinal in range(replicas):
            name = f"web-{ordinal}"
            claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim_template("data")}
            await create(CLAIMS, {**claim, "metadata": {"name": f"data-{name}", "labels": LABELS}}, **where)
            labels = {
                **LABELS,
                "controller-revision-hash": "web-5f7b8c9d6",
                "apps.kubernetes.io/pod-index": str(ordinal),
            }
            labels["statefulset.kubernetes.io/pod-name"] = name
            volume = {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}
            spec = {**made["spec"]["template"]["spec"], "hostname": name, "subdomain": "web", "volumes": [volume]}
            pod = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
            await create(
                PODS, {**pod, "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}}, **where
            )
        status = {"observedGeneration": 1, "replicas": replicas, "currentRevision": "web-5f7b8c9d6"}
        status["updateRevision"] = "web-5f7b8c9d6"
        await self._stateful.patch(STATEFUL_SETS, "web", {"status": status}, subresource="status")


def _is_ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@pytest.fixture
def stateful_sets(is_real):
    return lambda stateful: StatefulSets(stateful, is_real)


async def things(stateful):
    """Return what must stay: pods by uid and restarts, claims by resource version, revisions by uid and number."""
    namespace = stateful.namespace
    pods = {
        name: (pod["metadata"]["uid"], [one["restartCount"] for one in pod["status"]["containerStatuses"]])
        for name, pod in (await stateful.pods()).items()
    }
    claims = (await stateful.cluster.list(CLAIMS, namespace=namespace)).items
    revisions = (await stateful.cluster.list(REVISIONS, namespace=namespace)).items
    return (
        pods,
        {claim["metadata"]["name"]: (claim["metadata"]["uid"], claim["spec"]) for claim in claims},
        {one["metadata"]["name"]: (one["metadata"]["uid"], one["revision"]) for one in revisions},
    )


async def owners(stateful):
    """Return the kinds that own pods and revisions."""
    pods = (await stateful.pods()).values()
    revisions = (await stateful.cluster.list(REVISIONS, namespace=stateful.namespace)).items
    found = [one["metadata"].get("ownerReferences") or [] for one in (*pods, *revisions)]
    return {owner["kind"] for references in found for owner in references} | ({""} if not all(found) else set())


async def is_missing(stateful, resource, name="web"):
    with pytest.raises(NotFound):
        await stateful.get(resource, name)
    return True


async def test_a_running_stateful_set_is_adopted_and_given_back(sets, stateful_sets, is_real):
    async with sets() as stateful:
        await stateful_sets(stateful).create()
        before = await things(stateful)
        said = await stateful.command("adopt", "web")
        assert said.splitlines() == shown("adopt web")
        await stateful.available(5)
        await stateful.says("Progressing", "Complete")
        await is_missing(stateful, STATEFUL_SETS)
        assert await things(stateful) == before
        assert await owners(stateful) == {"PetSet"}
        status = await stateful.status()
        assert [status["currentRevision"]] == [status["updateRevision"]] == list(before[2])

        wait = [] if is_real else ["--no-wait"]
        said = (await stateful.command("release", "web", "--to-statefulset", *wait)).splitlines()
        assert said == shown("release web --to-statefulset")[: None if is_real else 2]
        await is_missing(stateful, PETSETS)
        assert await owners(stateful) == ({"StatefulSet"} if is_real else {""})
        assert await things(stateful) == before


async def test_members_that_a_pet_set_has_updated_are_not_restarted_when_they_are_given_back(sets, is_real):
    if not is_real:
        pytest.skip("no StatefulSet controller takes them over")
    async with sets() as stateful:
        await stateful.create(serviceName="web", updateStrategy={"rollingUpdate": {"partition": 1}})
        await stateful.available(3)
        await stateful.set_image("web:2")
        await stateful.become({"web-0": "web:1", "web-1": "web:2", "web-2": "web:2"})
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.command("release", "web", "--to-statefulset")
        made = await stateful.get(STATEFUL_SETS, "web")
        assert made["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 1

        async def has_counted():
            status = (await stateful.get(STATEFUL_SETS, "web"))["status"]
            return status.get("updatedReplicas") == 2 and status["observedGeneration"] == 2

        await eventually(has_counted)
        assert await stateful.uids() == before


async def test_a_pet_set_that_differs_from_the_stateful_set_adopts_nothing_and_names_the_fields(sets, stateful_sets):
    async with sets() as stateful:
        await stateful_sets(stateful).create(replicas=1)
        before = await things(stateful)
        manifest = yaml.safe_load(await stateful.command("adopt", "web", "--print"))
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
        manifest["spec"]["replicas"] = 3
        await stateful.cluster.create(PETSETS, manifest, namespace=stateful.namespace)
        await stateful.says("Progressing", "InvalidSpec", "spec.replicas", "spec.template", status="False")
        assert await things(stateful) == before
        assert await owners(stateful) == {"StatefulSet"}
        containers = [{"name": "app", "image": "web:1"}]
        await stateful.change({"spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}})
        await stateful.available(1)
        assert (await things(stateful))[:2] == before[:2]


async def test_a_pet_set_beside_a_stateful_set_of_its_name_leaves_its_pods_alone(sets, stateful_sets):
    async with sets() as stateful:
        await stateful_sets(stateful).create(replicas=1)
        before = await things(stateful)
        await stateful.create(replicas=1)
        await stateful.says("Progressing", "NameConflict", "pod web-0, which another owner controls")
        assert (await things(stateful))[0] == before[0]
        await stateful.get(STATEFUL_SETS, "web")


async def test_a_strict_pet_set_that_is_deleted_as_an_orphan_leaves_its_pods_without_finalizers(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2, memberSafety="Strict", podManagementPolicy="Parallel")
        await stateful.available(2)
        before = await stateful.uids()
        await stateful.delete(PETSETS, "web", propagation="Orphan")
        await eventually(lambda: is_missing(stateful, PETSETS))
        pods = await stateful.pods()
        assert {name: pod["metadata"]["uid"] for name, pod in pods.items()} == before
        assert all("finalizers" not in pod["metadata"] for pod in pods.values())
