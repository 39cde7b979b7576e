from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.errors import ClusterError, Gone, Timeout
from tests.unit.controlplane.embedded.conftest import CONFIG_MAPS, config_map


async def _fill(local: LocalCluster, names: str = "abcde") -> None:
    for name in names:
        await local.create(CONFIG_MAPS, config_map(name, labels={"odd": str(ord(name) % 2)}), namespace="default")


async def test_pages_show_one_moment_whatever_happens_between_them(local: LocalCluster) -> None:
    await _fill(local)
    first = await local.list(CONFIG_MAPS, namespace="default", limit=2)
    await local.delete(CONFIG_MAPS, "c", namespace="default")
    await local.create(CONFIG_MAPS, config_map("bb"), namespace="default")
    second = await local.list(CONFIG_MAPS, namespace="default", limit=2, continue_token=first.continue_token)
    third = await local.list(CONFIG_MAPS, namespace="default", limit=2, continue_token=second.continue_token)
    names = [it["metadata"]["name"] for page in (first, second, third) for it in page.items]
    assert names == ["a", "b", "c", "d", "e"]
    assert {first.resource_version} == {second.resource_version, third.resource_version}
    assert third.continue_token == ""


async def test_pages_of_a_selection_are_full(local: LocalCluster) -> None:
    await _fill(local)
    page = await local.list(CONFIG_MAPS, namespace="default", label_selector="odd=1", limit=2)
    assert [it["metadata"]["name"] for it in page.items] == ["a", "c"]


async def test_a_page_of_a_forgotten_past_is_gone(local: LocalCluster, server: EmbeddedServer) -> None:
    await _fill(local)
    first = await local.list(CONFIG_MAPS, namespace="default", limit=2)
    await local.delete(CONFIG_MAPS, "e", namespace="default")
    server.core.storage.forget()
    with pytest.raises(Gone, match="The provided continue parameter is too old"):
        await local.list(CONFIG_MAPS, namespace="default", limit=2, continue_token=first.continue_token)


@pytest.mark.parametrize("token", ["x", "e30", "bnVsbA", "W10", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6IngifQ", "é"])
async def test_a_token_of_another_issuer_is_a_bad_request(local: LocalCluster, token: str) -> None:
    with pytest.raises(ClusterError, match="continue key is not valid") as raised:
        await local.list(CONFIG_MAPS, continue_token=token, limit=1)
    assert raised.value.code == 400


async def test_the_future_cannot_be_listed(local: LocalCluster, server: EmbeddedServer) -> None:
    future = server.core.storage.revision + 100_000
    with pytest.raises(Timeout, match=f"Too large resource version: {future}, current: "):
        await local.list(CONFIG_MAPS, resource_version=str(future))


async def test_a_past_can_be_listed_exactly(local: LocalCluster) -> None:
    await _fill(local, "ab")
    then = (await local.list(CONFIG_MAPS, namespace="default")).resource_version
    await local.delete(CONFIG_MAPS, "a", namespace="default")
    query = {"resourceVersion": then, "resourceVersionMatch": "Exact"}
    listed = await local.request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    assert [it["metadata"]["name"] for it in listed["items"]] == ["a", "b"]
    assert listed["metadata"]["resourceVersion"] == then
