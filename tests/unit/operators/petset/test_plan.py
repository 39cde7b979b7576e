"""The decision: what is done next for a PetSet, in which order, and what blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from soak.petset_world import World, petset

from operators.petset import reasons
from operators.petset.state import Failure
from operators.petset.template import template_of


def ready(**spec):
    """Return a world whose members are all available."""
    one = World(petset(**spec))
    one.run()
    one.log.clear()
    return one


def test_members_are_created_one_by_one_ascending():
    one = World(petset())
    assert one.run() == ["create web-0", "create web-1", "create web-2"]
    assert one.pets.status.available_replicas == 3


def test_ordered_ready_waits_for_availability_and_not_only_for_readiness():
    one = World(petset(minReadySeconds=10))
    for _ in range(9):
        one.sync()
        one.pass_time()
    assert one.log == ["create web-0"]
    assert one.last.recheck_at is not None


def test_parallel_creates_all_at_once():
    one = World(petset(podManagementPolicy="Parallel", replicas=4))
    one.sync()
    assert one.log == ["create web-0", "create web-1", "create web-2", "create web-3"]


def test_claims_come_before_their_pod():
    one = World(petset(replicas=1, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}]))
    assert one.run() == ["create claim data-web-0", "create web-0"]


def test_a_claim_that_is_being_deleted_blocks_its_member():
    one = World(petset(replicas=1, volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}]))
    one.run()
    one.members.clear()
    one.claims["data-web-0"] = replace(one.claims["data-web-0"], terminating=True)
    one.log.clear()
    assert one.sync().waiting.what == "claim data-web-0, which is being deleted, to be deleted"
    assert one.log == []


def test_scaling_down_removes_the_highest_first_one_by_one():
    one = ready(replicas=4)
    one.change(replicas=2)
    assert one.run() == ["delete web-3", "deleted web-3", "delete web-2", "deleted web-2"]


def test_scaling_down_waits_while_another_member_is_unavailable():
    one = ready()
    one.change(replicas=2)
    one.members[0] = replace(one.members[0], ready=False, available_at=None)
    decided = one.sync()
    assert one.log == []
    assert "web-0 to become available" in decided.waiting.what


def test_an_unavailable_member_that_is_not_wanted_does_not_hold_its_own_removal():
    one = ready()
    one.change(replicas=2)
    one.members[2] = replace(one.members[2], ready=False, available_at=None)
    one.sync()
    assert one.log == ["delete web-2"]


def test_unwanted_members_that_cannot_start_do_not_wait_for_each_other():
    one = ready(replicas=1)
    one.broken = {"bad"}
    one.change(image="bad", replicas=3, podManagementPolicy="Parallel")
    one.run(rounds=10)
    one.change(replicas=1, image="web:1", podManagementPolicy="OrderedReady")
    one.run()
    assert one.states() == {"web-0": "web:1"}


def test_an_update_goes_down_and_waits_for_each_member():
    one = ready()
    one.change(image="web:2")
    assert one.run() == [
        *("delete web-2", "deleted web-2", "create web-2"),
        *("delete web-1", "deleted web-1", "create web-1"),
        *("delete web-0", "deleted web-0", "create web-0"),
    ]
    assert one.pets.status.current_revision == one.pets.status.update_revision


def test_the_budget_of_an_update_counts_every_unavailable_member():
    one = ready(replicas=4, updateStrategy={"rollingUpdate": {"maxUnavailable": 2}})
    one.members[0] = replace(one.members[0], ready=False, available_at=None, never_ready=False)
    one.change(image="web:2", podManagementPolicy="Parallel")
    one.sync()
    assert one.log == ["delete web-3"]


def test_the_partition_counts_ranks_and_not_ordinals():
    one = ready(replicas=3, reserveOrdinals=["0-4"], updateStrategy={"rollingUpdate": {"partition": 2}})
    one.change(image="web:2")
    one.run()
    assert one.states() == {"web-5": "web:1", "web-6": "web:1", "web-7": "web:2"}


def test_a_missing_member_below_the_partition_is_recreated_at_the_current_revision():
    one = ready(updateStrategy={"rollingUpdate": {"partition": 2}})
    one.change(image="web:2")
    one.run()
    del one.members[0]
    one.run()
    assert one.states() == {"web-0": "web:1", "web-1": "web:1", "web-2": "web:2"}


def test_a_broken_update_stops_at_the_first_member_and_names_the_reason():
    one = ready()
    one.broken = {"web:2"}
    one.change(image="web:2")
    one.run(rounds=30)
    assert one.states() == {"web-0": "web:1", "web-1": "web:1", "web-2": "web:2 not ready"}
    assert "web-2" in one.last.waiting.what
    assert "ImagePullBackOff" in one.last.waiting.what


def test_a_corrected_template_heals_a_stuck_update_without_a_human():
    one = ready()
    one.broken = {"web:2"}
    one.change(image="web:2")
    one.run(rounds=30)
    one.change(image="web:3")
    one.run()
    assert set(one.states().values()) == {"web:3"}


def test_a_set_whose_first_member_never_started_heals_too():
    one = World(petset(image="bad"), broken={"bad"})
    one.run(rounds=20)
    one.change(image="web:2")
    one.run()
    assert set(one.states().values()) == {"web:2"}


def test_the_repair_never_replaces_a_member_that_was_ready_and_is_briefly_not():
    one = ready()
    one.change(image="web:2")
    for ordinal in (0, 1, 2):
        one.members[ordinal] = replace(one.members[ordinal], ready=False, available_at=None, never_ready=False)
    one.sync()
    assert one.log == []


def test_the_repair_replaces_one_stuck_member_at_a_time():
    one = ready(podManagementPolicy="Parallel")
    for ordinal in (0, 1, 2):
        failure = Failure("CrashLoopBackOff", "", "app")
        one.members[ordinal] = replace(one.members[ordinal], ready=False, available_at=None, failure=failure)
    one.change(image="web:2")
    one.sync()
    one.sync()
    assert one.log == ["delete web-2"]


def test_a_rollback_reuses_the_old_revision_and_raises_its_number():
    one = ready()
    first = one.pets.status.update_revision
    one.change(image="web:2")
    one.run()
    one.change(image="web:1")
    one.run()
    assert one.pets.status.update_revision == first
    assert sorted(revision.number for revision in one.revisions.values()) == [2, 3]


def test_an_explicit_default_starts_no_update():
    one = ready()
    written = one.pets.write()
    written["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    written["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    one.change(template=written["spec"]["template"])
    assert one.run() == []
    assert len(one.revisions) == 1


def test_history_keeps_what_members_carry():
    one = ready(revisionHistoryLimit=1)
    for number in range(2, 6):
        one.change(image=f"web:{number}")
        one.run()
    assert {template_of(one.revisions[name].data)["spec"]["containers"][0]["image"] for name in one.revisions} == {
        "web:4",
        "web:5",
    }


def test_paused_holds_the_update_and_nothing_else():
    one = ready(updateStrategy={"rollingUpdate": {"paused": True}})
    one.change(image="web:2", replicas=4)
    one.run()
    assert one.states() == {"web-0": "web:1", "web-1": "web:1", "web-2": "web:1", "web-3": "web:2"}


def test_on_delete_waits_for_a_user_to_delete_the_pod():
    one = ready(updateStrategy={"type": "OnDelete"})
    one.change(image="web:2")
    assert one.run() == []
    one.members[1] = replace(one.members[1], terminating=True)
    one.run()
    assert one.states() == {"web-0": "web:1", "web-1": "web:2", "web-2": "web:1"}


def test_recreate_deletes_all_before_it_creates_any():
    one = ready(updateStrategy={"type": "Recreate"})
    one.change(image="web:2")
    happened = one.run()
    assert sorted(happened[:3]) == ["delete web-0", "delete web-1", "delete web-2"]
    first_created = next(index for index, each in enumerate(happened) if each.startswith("create"))
    assert sum(each.startswith("deleted") for each in happened[:first_created]) == 3
    assert set(one.states().values()) == {"web:2"}


def test_an_update_in_place_keeps_the_pod():
    one = ready(updateStrategy={"rollingUpdate": {"inPlace": "IfPossible"}})
    uids = {member.uid for member in one.members.values()}
    one.change(image="web:2")
    assert one.run() == ["update web-2 in place", "update web-1 in place", "update web-0 in place"]
    assert {member.uid for member in one.members.values()} == uids
    assert set(one.states().values()) == {"web:2"}


def test_in_place_only_waits_for_a_change_that_can_be_made_in_place():
    one = ready(updateStrategy={"rollingUpdate": {"inPlace": "Only"}})
    template = one.pets.write()["spec"]["template"]
    template["spec"]["priority"] = 5
    one.change(template=template)
    one.run(rounds=5)
    assert one.log == []
    assert one.last.waiting.reason == reasons.IN_PLACE_ONLY


def test_a_changed_override_updates_only_the_members_that_it_names():
    one = ready(overrides=[{"ordinals": [1], "template": {"spec": {"nodeName": "a"}}}])
    one.change(overrides=[{"ordinals": ["1-2"], "template": {"spec": {"nodeName": "a"}}}])
    assert one.run() == ["delete web-2", "deleted web-2", "create web-2"]


def test_reserved_ordinals_are_passed_over():
    one = ready()
    one.change(reserveOrdinals=[1])
    one.run()
    assert list(one.states()) == ["web-0", "web-2", "web-3"]


def test_deletion_goes_down_one_by_one():
    one = ready()
    one.delete()
    assert one.run() == [
        "delete web-2",
        "deleted web-2",
        "delete web-1",
        "deleted web-1",
        "delete web-0",
        "deleted web-0",
    ]


def test_parallel_deletion_removes_all_at_once():
    one = ready(deletion="Parallel")
    one.delete()
    one.sync()
    assert sorted(one.log) == ["delete web-0", "delete web-1", "delete web-2"]


@pytest.mark.parametrize(
    ("scaled", "deleted", "kept", "owner"),
    [("Retain", "Retain", True, ""), ("Delete", "Retain", False, ""), ("Retain", "Delete", True, "set")],
)
def test_the_retention_policy_decides_on_the_claims(scaled, deleted, kept, owner):
    policy = {"whenScaled": scaled, "whenDeleted": deleted}
    templates = [{"metadata": {"name": "data"}, "spec": {}}]
    one = ready(replicas=2, volumeClaimTemplates=templates, persistentVolumeClaimRetentionPolicy=policy)
    assert one.claims["data-web-0"].owner == owner
    one.change(replicas=1)
    one.run()
    assert ("data-web-1" in one.claims) is kept


def test_a_failed_pod_is_deleted_and_recreated_only_after_it_is_gone():
    one = ready()
    one.members[1] = replace(one.members[1], phase="Failed", ready=False, available_at=None)
    assert one.run() == ["delete web-1", "deleted web-1", "create web-1"]


def test_a_stalled_update_is_rolled_back_where_that_is_asked_for():
    rolling = {"progressDeadlineSeconds": 60, "autoRollback": True}
    one = ready(updateStrategy={"rollingUpdate": rolling})
    first = one.pets.status.current_revision
    one.broken = {"web:2"}
    one.change(image="web:2")
    for _ in range(100):
        one.sync()
        one.pass_time()
    assert set(one.states().values()) == {"web:1"}
    rollback = one.pets.status.rollback
    assert rollback.to == first
    assert "ImagePullBackOff" in rollback.reason
    one.change(image="web:3")
    one.run()
    assert set(one.states().values()) == {"web:3"}
    assert one.pets.status.rollback is None


def test_without_auto_rollback_a_stalled_update_is_only_reported():
    one = ready(updateStrategy={"rollingUpdate": {"progressDeadlineSeconds": 60}})
    one.broken = {"web:2"}
    one.change(image="web:2")
    for _ in range(100):
        one.sync()
        one.pass_time()
    assert one.last.stalled
    assert one.states()["web-2"] == "web:2 not ready"


def test_strict_keeps_the_name_until_the_containers_are_known_to_be_stopped():
    one = ready(replicas=1, memberSafety="Strict")
    one.members[0] = replace(one.members[0], terminating=True)
    one.sync()
    assert one.members[0].protected
    one.members[0] = replace(one.members[0], releasable=True)
    one.run()
    assert one.log == ["deleted web-0", "create web-0"]


def test_nothing_is_done_when_all_is_as_it_should_be():
    one = ready()
    assert one.sync().steps == ()
