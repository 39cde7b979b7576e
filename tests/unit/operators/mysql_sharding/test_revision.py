"""What members start with while a change is rolled through a shard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlDatabase, MysqlDatabaseSpec, ShardUpdateStrategy
from operators.mysql_sharding.revision import (
    LABEL_REVISION,
    active_rollout,
    configs_of,
    digest_of,
    members_of,
    starts_with,
)
from operators.mysql_sharding.rollout_state import (
    adopt,
    await_copy,
    begin,
    fail,
    finish,
    is_overdue,
    move,
    turn,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD = {"max_connections": 100, "back_log": 50}


def shard(**spec: Any) -> MysqlDatabase:
    """Return a shard whose members run OLD, verified."""
    made = MysqlDatabase(
        metadata=ObjectMeta(name="shop0", namespace="prod", generation=1),
        spec=MysqlDatabaseSpec(**{"config": OLD, **spec}),
    )
    made.status.primary = "shop0-0"
    assert adopt(made)
    return made


def changed(one: MysqlDatabase, **spec: Any) -> MysqlDatabase:
    one.spec = one.spec.model_copy(update=spec)
    one.metadata.generation = (one.metadata.generation or 0) + 1
    return one


def files(one: MysqlDatabase) -> dict[str, str]:
    return {made.metadata.name: made.data["my.cnf"] for made in configs_of(one)}


def starts(one: MysqlDatabase) -> list[str]:
    pets = members_of(one)
    return [starts_with(pets, ordinal) for ordinal in range(one.spec.replicas)]


def test_a_changed_specification_changes_no_object_before_the_rollout_begins() -> None:
    before, objects = shard(), shard()
    after = changed(objects, config={**OLD, "back_log": 60})
    assert files(after) == files(before)
    assert starts(after) == starts(before) == [digest_of(before.spec)] * 3


def test_a_member_starts_with_the_revision_from_its_turn_on_and_the_others_with_the_old_one() -> None:
    old = digest_of(shard().spec)
    one = changed(shard(), config={**OLD, "back_log": 60}, image="mariadb:11")
    new = digest_of(one.spec)
    assert begin(one, {old}, NOW)
    assert starts(one) == [old] * 3
    assert turn(one, "shop0-2", NOW)
    assert not turn(one, "shop0-2", NOW), "the second time changes nothing"
    assert starts(one) == [old, old, new]
    found = files(one)
    assert "back_log=50" in found["shop0-config"]
    assert "back_log=60" in found["shop0-config-1"]
    pets = members_of(one)
    assert pets.spec.template["spec"]["containers"][0]["image"] != "mariadb:11"
    patch = pets.spec.overrides[0]["template"]["spec"]
    assert patch["containers"][0]["image"] == patch["initContainers"][0]["image"] == "mariadb:11"
    assert patch["volumes"] == [{"name": "config", "configMap": {"name": "shop0-config-1"}}]
    finish(one, NOW)
    assert starts(one) == [new] * 3
    assert files(one) == {"shop0-config-1": found["shop0-config-1"]}
    assert members_of(one).spec.overrides == []


def test_the_file_changes_in_place_once_all_members_run_the_values() -> None:
    one = changed(shard(), config={**OLD, "max_connections": 70})
    assert begin(one, {digest_of(shard().spec)}, NOW)
    rollout = active_rollout(one)
    assert rollout is not None
    assert rollout.in_place
    assert "max_connections=100" in files(one)["shop0-config"]
    finish(one, NOW)
    assert list(files(one)) == ["shop0-config"]
    assert "max_connections=70" in files(one)["shop0-config"]


@pytest.mark.parametrize(
    ("changes", "labels", "in_place"),
    [
        ({"config": {**OLD, "max_connections": 7}}, (), True),
        ({"config": {"back_log": 50}}, (), True),
        ({"config": {"max_connections": 100}}, (), False),
        ({"config": {**OLD, "max_connections": 7}, "image": "mariadb:11"}, (), False),
        ({"config": {**OLD, "max_connections": 7}}, ("another",), False),
        (
            {
                "config": {**OLD, "max_connections": 7},
                "update_strategy": ShardUpdateStrategy(prefer_in_place=False),
            },
            (),
            False,
        ),
    ],
)
def test_only_dynamic_variables_are_changed_in_place(
    changes: dict[str, Any], labels: tuple[str, ...], in_place: bool
) -> None:
    one = changed(shard(), **changes)
    assert begin(one, {digest_of(shard().spec), *labels}, NOW)
    rollout = active_rollout(one)
    assert rollout is not None
    assert rollout.in_place is in_place


def test_a_reverted_rollout_keeps_the_file_of_the_completed_revision() -> None:
    one = changed(shard(), config={**OLD, "back_log": 60})
    bad = digest_of(one.spec)
    begin(one, {""}, NOW)
    turn(one, "shop0-2", NOW)
    fail(one, "shop0-2", "it does not start")
    changed(one, config=OLD)
    assert active_rollout(one) is None
    assert begin(one, {"", bad}, NOW), "a member has the failed revision"
    rollout = active_rollout(one)
    assert rollout is not None
    assert (rollout.number, rollout.in_place) == (0, True)
    assert starts(one) == [digest_of(one.spec)] * 3
    finish(one, NOW)
    assert not begin(one, {digest_of(one.spec)}, NOW)


def test_each_rollout_with_restarts_has_a_file_of_its_own() -> None:
    one = shard()
    for number, value in ((1, 60), (2, 70)):
        changed(one, config={**OLD, "back_log": value})
        begin(one, {""}, NOW)
        rollout = active_rollout(one)
        assert rollout is not None
        assert rollout.number == number, "members of the unfinished one keep theirs"


def test_a_failed_rollout_is_tried_again_when_the_specification_changes() -> None:
    one = changed(shard(), config={**OLD, "back_log": 60})
    begin(one, {""}, NOW)
    fail(one, "shop0-2", "no progress for 600 s")
    assert not begin(one, {""}, NOW)
    changed(one, update_strategy=ShardUpdateStrategy(progress_deadline_seconds=900))
    assert begin(one, {""}, NOW + timedelta(hours=1))
    rollout = active_rollout(one)
    assert rollout is not None
    assert (rollout.step, rollout.reason) == ("Waiting", "")
    assert not is_overdue(one, NOW + timedelta(hours=1, seconds=899))
    assert is_overdue(one, NOW + timedelta(hours=1, seconds=900))


def test_progress_moves_the_deadline() -> None:
    one = changed(shard(), config={**OLD, "back_log": 60})
    begin(one, {""}, NOW)
    move(one, "Restarting", "shop0-1", NOW + timedelta(seconds=599))
    assert not is_overdue(one, NOW + timedelta(seconds=600))


def test_until_there_is_a_primary_a_corrected_configuration_is_not_rolled() -> None:
    one = MysqlDatabase(
        metadata=ObjectMeta(name="shop0", namespace="prod", generation=1),
        spec=MysqlDatabaseSpec(config={"back_log": 50}),
    )
    assert adopt(one)
    changed(one, config={"back_log": 60})
    assert adopt(one)
    assert "back_log=60" in files(one)["shop0-config"]


def test_the_label_of_the_pods_is_the_digest_of_what_they_run() -> None:
    one = shard()
    labels = members_of(one).spec.template["metadata"]["labels"]
    assert labels[LABEL_REVISION] == digest_of(one.spec)


def test_a_copy_that_takes_longer_than_the_deadline_fails_no_rollout() -> None:
    one = changed(shard(), config={**OLD, "back_log": 60})
    assert begin(one, [], NOW)
    seconds = one.spec.update_strategy.progress_deadline_seconds
    now, writes = NOW, 0
    for _ in range(4 * seconds):  # a sync each quarter of a second would write no more often
        now += timedelta(seconds=1)
        writes += await_copy(one, "backup nightly is under way", now)
        assert not is_overdue(one, now)
    assert writes <= 20, "it is written now and then, not at each sync"
    assert one.status.rollout is not None
    assert one.status.rollout.reason == "backup nightly is under way"
    assert is_overdue(one, now + timedelta(seconds=seconds))
