"""How a claim differs from its template, and which member's claims are replaced."""

from __future__ import annotations

import pytest
from soak.petset_world import World, petset

from operators.petset.snapshots import snapshot_name
from operators.petset.state import Claim
from operators.petset.volumes import difference

CLAIM = {
    "name": "data-web-0",
    "uid": "1",
    "phase": "Bound",
    "requested": "2Gi",
    "requested_by_set": "2Gi",
    "storage_class": "fast",
    "access_modes": frozenset({"ReadWriteOnce"}),
    "volume_mode": "Filesystem",
}


def requests(storage, **spec):
    return {"resources": {"requests": {"storage": storage}}, **spec}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (requests("2048Mi", storageClassName="fast", accessModes=["ReadWriteOnce"]), ""),
        (requests("2Gi"), ""),  # what a template leaves out is filled in by the cluster
        (requests("3Gi"), ""),  # it grows
        (requests("1Gi"), "it requests 2Gi, and 1Gi is wanted"),
        (requests("2Gi", storageClassName="slow"), "its class is fast, and slow is wanted"),
        (requests("2Gi", storageClassName=""), "its class is fast, and none is wanted"),
        (requests("2Gi", accessModes=["ReadWriteMany"]), "access modes are ReadWriteOnce, and ReadWriteMany is wanted"),
        (requests("2Gi", volumeMode="Block"), "its volume mode is Filesystem, and Block is wanted"),
    ],
)
def test_a_claim_differs_where_only_another_claim_can_have_what_is_wanted(wanted, said):
    assert said in difference(Claim(**CLAIM), wanted)
    assert bool(said) == bool(difference(Claim(**CLAIM), wanted))


@pytest.mark.parametrize("by_set", ["", "1Gi"])
def test_a_claim_that_the_set_did_not_make_so_large_is_kept(by_set):
    assert difference(Claim(**{**CLAIM, "requested_by_set": by_set}), requests("1Gi")) == ""


def test_claims_are_replaced_one_member_at_a_time():
    template = {"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}
    world = World(petset(volumeClaimTemplates=[template], volumeUpdate="Recreate", podManagementPolicy="Parallel"))
    world.run()
    world.claims = {
        name: Claim(**{**CLAIM, "name": name, "uid": name, "storage_class": "slow"}) for name in world.claims
    }
    log = world.run()
    removed = [line for line in log if line.startswith(("delete ", "create "))]
    assert removed[:4] == ["delete web-2", "delete claim data-web-2", "create claim data-web-2", "create web-2"]
    assert [line for line in removed if line.startswith("delete web")] == [
        "delete web-2",
        "delete web-1",
        "delete web-0",
    ]


def test_a_name_of_a_snapshot_that_would_be_too_long_ends_in_a_hash():
    assert snapshot_name("data-web-2", "5") == "data-web-2-5"
    one, other = snapshot_name("x" * 252, "5"), snapshot_name("x" * 252, "6")
    assert len(one) == len(other) == 253
    assert one != other
