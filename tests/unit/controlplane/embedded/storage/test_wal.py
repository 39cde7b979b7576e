from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operatorkit.controlplane.embedded.endpoints import core
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.errors import Gone, InputError, NotFound
from tests.unit.controlplane.embedded.conftest import CONFIG_MAPS, CRDS, config_map, crd


async def test_objects_outlive_the_server_that_has_a_file(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with EmbeddedServer(data=path, controllers="") as first:
        made = await first.local.create(CONFIG_MAPS, config_map("a"), namespace="default")
        await first.local.create(CONFIG_MAPS, config_map("b"), namespace="default")
        await first.local.delete(CONFIG_MAPS, "b", namespace="default")
        await first.local.create(CRDS, crd())
        revision = first.core.storage.revision
    async with EmbeddedServer(data=path, controllers="") as second:
        assert await second.local.get(CONFIG_MAPS, "a", namespace="default") == made
        with pytest.raises(NotFound):
            await second.local.get(CONFIG_MAPS, "b", namespace="default")
        assert second.core.storage.revision >= revision
        assert (await second.local.resolve("example.com", "Widget")).plural == "widgets"
        with pytest.raises(Gone):
            async for _ in second.local.watch(CONFIG_MAPS, resource_version=made["metadata"]["resourceVersion"]):
                pass


async def test_a_file_restored_from_a_copy_does_not_repeat_the_revisions_after_the_copy(tmp_path: Path) -> None:
    path, copy = tmp_path / "objects.db", tmp_path / "copy.db"
    async with EmbeddedServer(data=path, controllers=""):
        pass
    shutil.copy(path, copy)
    async with EmbeddedServer(data=path, controllers="") as first:
        lost = await first.local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    async with EmbeddedServer(data=copy, controllers="") as second:
        assert second.core.storage.revision > int(lost["metadata"]["resourceVersion"])


async def test_a_stored_revision_ahead_of_the_clock_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "objects.db"
    async with EmbeddedServer(data=path, controllers="") as first:
        revision = first.core.storage.revision
    monkeypatch.setattr(core, "first_revision", lambda: 7)  # a clock set back
    async with EmbeddedServer(data=path, controllers="") as second:
        assert second.core.storage.revision >= revision


async def test_a_file_that_is_something_else_is_rejected_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(InputError, match=r"notes\.txt cannot hold the objects of a control plane"):
        async with EmbeddedServer(data=path, controllers=""):
            pass
