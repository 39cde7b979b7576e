from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.endpoints import watching
from operatorkit.controlplane.embedded.endpoints.reading import Selection
from operatorkit.controlplane.embedded.endpoints.watching import Watch
from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.request.options import ListOptions
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.controlplane.embedded.storage import store
from tests.unit.controlplane.embedded.conftest import CONFIG_MAPS, config_map


def _watch(server: EmbeddedServer, **options: object) -> Watch:
    served = server.core.registry.find("", "v1", "configmaps")
    assert served is not None
    chosen = ListOptions(**options)  # type: ignore[arg-type]
    return Watch(server.core.storage, Selection.of(served, "default", chosen), chosen)


def _reported(watch: Watch) -> list[tuple[str, str]]:
    return [(it.type, it.record.name if it.record else "") for it in watch.take()]


async def test_a_watch_of_nothing_in_particular_begins_with_what_is_there(
    local: LocalCluster, server: EmbeddedServer
) -> None:
    await local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    watch = _watch(server)
    await local.create(CONFIG_MAPS, config_map("b"), namespace="default")
    assert _reported(watch) == [("ADDED", "a"), ("ADDED", "b")]
    watch.close()


async def test_a_watch_resumes_after_the_revision_it_names(local: LocalCluster, server: EmbeddedServer) -> None:
    made = await local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    await local.create(CONFIG_MAPS, config_map("b"), namespace="default")
    watch = _watch(server, resource_version=made["metadata"]["resourceVersion"])
    await local.delete(CONFIG_MAPS, "a", namespace="default")
    assert _reported(watch) == [("ADDED", "b"), ("DELETED", "a")]
    watch.close()


async def test_what_leaves_a_selection_is_deleted_at_the_revision_of_the_change(
    local: LocalCluster, server: EmbeddedServer
) -> None:
    made = await local.create(CONFIG_MAPS, config_map("a", labels={"x": "1"}), namespace="default")
    watch = _watch(server, resource_version=made["metadata"]["resourceVersion"], label_selector="x=1")
    changed = await local.replace(CONFIG_MAPS, "a", config_map("a", labels={"x": "2"}), namespace="default")
    (event,) = watch.take()
    assert event.type == "DELETED"
    assert event.record is not None
    last = event.record.decode()["metadata"]
    assert last["labels"] == {"x": "1"}
    assert last["resourceVersion"] == changed["metadata"]["resourceVersion"]
    await local.replace(CONFIG_MAPS, "a", config_map("a", labels={"x": "1"}), namespace="default")
    assert _reported(watch) == [("ADDED", "a")]
    watch.close()


async def test_initial_events_end_with_a_bookmark_that_says_so(local: LocalCluster, server: EmbeddedServer) -> None:
    await local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    watch = _watch(server, send_initial_events=True, match="NotOlderThan", bookmarks=True)
    first, last = watch.take()
    assert (first.type, last.type, last.initial_end, last.revision) == (
        "ADDED",
        "BOOKMARK",
        True,
        server.core.storage.revision,
    )
    watch.close()


async def test_a_watch_from_a_forgotten_past_is_rejected(local: LocalCluster, server: EmbeddedServer) -> None:
    made = await local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    await local.delete(CONFIG_MAPS, "a", namespace="default")
    server.core.storage.forget()
    with pytest.raises(ApiError, match=r"too old resource version: \d+ \(\d+\)") as raised:
        _watch(server, resource_version=made["metadata"]["resourceVersion"])
    assert (raised.value.code, raised.value.reason) == (410, "Expired")


async def test_a_watcher_that_does_not_read_holds_little_and_misses_nothing(
    local: LocalCluster, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BUFFER_LENGTH", 3)
    for name in "abcde":
        await local.create(CONFIG_MAPS, config_map(name), namespace="default")
    watch = _watch(server)
    for name in "fghijk":
        await local.create(CONFIG_MAPS, config_map(name), namespace="default")
    await local.delete(CONFIG_MAPS, "b", namespace="default")
    batches = []
    while batch := _reported(watch):
        assert len(batch) <= 3
        batches += batch
    assert batches == [*(("ADDED", name) for name in "abcdefghijk"), ("DELETED", "b")]
    await local.create(CONFIG_MAPS, config_map("z"), namespace="default")
    assert _reported(watch) == [("ADDED", "z")]
    watch.close()


async def test_large_objects_make_the_buffer_of_a_watcher_shorter(
    local: LocalCluster, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BUFFER_BYTES", 10_000)
    watch = _watch(server)
    for name in "abc":
        await local.create(CONFIG_MAPS, config_map(name) | {"data": {"k": "v" * 6_000}}, namespace="default")
    assert [_reported(watch), _reported(watch)] == [[("ADDED", "a"), ("ADDED", "b")], [("ADDED", "c")]]
    watch.close()


async def test_a_watcher_that_lags_behind_the_log_is_closed(
    local: LocalCluster, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BUFFER_LENGTH", 2)
    monkeypatch.setattr(store, "LOG_LENGTH", 2)
    watch, lost = _watch(server), []
    watch.on_lost = lambda: lost.append(True)
    for name in "abcd":
        await local.create(CONFIG_MAPS, config_map(name), namespace="default")
    assert not watch.closed
    await local.create(CONFIG_MAPS, config_map("e"), namespace="default")
    assert watch.closed
    assert lost == [True]
    assert [it for it, _ in _reported(watch)] == ["ADDED", "ADDED"]
    assert await watch.next() == []


async def test_a_watch_from_the_future_begins_when_it_is_reached(local: LocalCluster, server: EmbeddedServer) -> None:
    watch = _watch(server, resource_version=str(server.core.storage.revision + 1))
    for name in "ab":
        await local.create(CONFIG_MAPS, config_map(name), namespace="default")
    assert _reported(watch) == [("ADDED", "b")]
    watch.close()


async def test_watchers_share_what_an_object_was_when_it_left_their_selection(
    local: LocalCluster, server: EmbeddedServer
) -> None:
    made = await local.create(CONFIG_MAPS, config_map("a", labels={"x": "1"}), namespace="default")
    options = {"resource_version": made["metadata"]["resourceVersion"], "label_selector": "x=1"}
    watches = [_watch(server, **options) for _ in range(2)]
    await local.replace(CONFIG_MAPS, "a", config_map("a", labels={"x": "2"}), namespace="default")
    (one,), (other,) = (it.take() for it in watches)
    assert one.record is other.record
    for watch in watches:
        watch.close()


async def test_a_closed_watch_is_notified_of_nothing(local: LocalCluster, server: EmbeddedServer) -> None:
    watch = _watch(server)
    watch.close()
    watch.close()
    await local.create(CONFIG_MAPS, config_map("a"), namespace="default")
    assert watch.take() == []
