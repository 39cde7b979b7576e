"""The history of a PetSet's templates, as ControllerRevisions."""

from __future__ import annotations

import pytest

from operatorkit.names import ApiResource

REVISIONS = ApiResource("apps", "v1", "ControllerRevision", "controllerrevisions", namespaced=True)


@pytest.mark.parametrize(
    "container",
    [
        {"tty": False, "command": ["sh", "-c", "true"], "env": [{"value": "1", "name": "A"}], "args": ["b"]},
        {"command": ["sh", "-c", "a && b < c > d"]},
        {"env": [{"value": "grün \u2028 \U0001f431", "name": "A"}]},
        {"resources": {"limits": {"cpu": "1e3"}}, "readinessProbe": {"periodSeconds": 5, "exec": {"command": ["/x"]}}},
    ],
    ids=["unsorted keys", "what HTML escapes", "what is not ASCII", "numbers"],
)
async def test_a_rollback_raises_the_number_of_a_revision_and_keeps_its_data(sets, container):
    """An API server compares the bytes of a revision's data, and reorders and escapes them as it patches."""

    async def revisions():
        found = (await stateful.cluster.list(REVISIONS, namespace=stateful.namespace)).items
        return {each["metadata"]["name"]: each for each in found}

    async with sets() as stateful:
        await stateful.create(replicas=1, container=container)
        await stateful.completed("web:1", 1)
        [before] = (await revisions()).values()
        await stateful.set_image("web:2")
        await stateful.completed("web:2", 1)
        await stateful.set_image("web:1", **container)
        await stateful.completed("web:1", 1)
        after = await revisions()
    name = before["metadata"]["name"]
    assert sorted((each["revision"], each["metadata"]["name"] == name) for each in after.values()) == [
        (2, False),
        (3, True),
    ]
    assert after[name]["data"] == before["data"]
