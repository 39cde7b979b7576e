"""What large sets and many sets cost: no more than in proportion to their members, and nothing of other sets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from kubernetes.client.models import V1PersistentVolumeClaim
from soak.petset_world import START, petset

from operatorkit.resource import read
from operators.petset.api import PetSet
from operators.petset.observe import observe, sets_of_claim
from operators.petset.simulation import Simulation
from operators.petset.state import Snapshot


def at_work(members):
    """Return a set all of whose members are available."""
    pets = petset(replicas=members, podManagementPolicy="Parallel")
    template = pets.write()["spec"]["template"]
    empty = Snapshot(name="web", uid="uid-web", spec=pets.spec, status=pets.status, template=template, now=START)
    simulation = Simulation(pets, empty)
    for _ in range(3):
        simulation.sync()
        simulation.pass_time()
    return simulation


def calls_of_a_sync(members, **change):
    """Count the calls of Python functions in one sync."""
    simulation = at_work(members)
    for name, value in change.items():
        setattr(simulation.pets.spec, name, value)
    counted: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: counted.update([event]))
    try:
        simulation.sync()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


@pytest.mark.parametrize("change", [{}, {"replicas": 1}], ids=["nothing to do", "scale-down"])
def test_a_set_twice_as_large_costs_twice_as_much(change):
    calls_of_a_sync(10, **change)  # fills caches of the interpreter
    small, large = calls_of_a_sync(1000, **change), calls_of_a_sync(2000, **change)
    assert small < large < 2.2 * small


def test_the_status_of_5000_members_fits_into_an_object_and_names_those_that_are_not_well():
    simulation = at_work(5000)
    assert simulation.pets.status.members == []
    del simulation.members[17]
    simulation.sync()
    assert [member.ordinal for member in simulation.pets.status.members] == [17]
    simulation.members.clear()
    simulation.sync()
    assert len(simulation.pets.status.members) == 500
    assert len(json.dumps(simulation.pets.write())) < 200_000


def test_a_sync_reads_what_belongs_to_its_set_by_index_and_never_a_whole_namespace():
    read_by = []

    def listed(kind, *, namespace=None, index=None, **options):
        read_by.append((kind.__name__, index))
        return []

    reader = SimpleNamespace(get=lambda kind, name, **options: None, list=listed)
    observe(petset(replicas=3), reader, START)
    assert {name for name, _ in read_by} == {"V1Pod", "V1ControllerRevision"}
    assert {index for _, index in read_by} == {("set", "default/web"), ("set", "uid-web")}


@pytest.mark.parametrize(
    ("claim", "asked", "found"),
    [
        ("data-web-0", ["web"], ["web"]),
        ("log-data-web-12", ["data-web", "web"], ["web"]),
        ("data-web-x", [], []),
        ("web-0", [], []),
    ],
)
def test_a_claim_concerns_the_sets_that_its_name_may_end_with(claim, asked, found):
    sets = {"web": petset(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}])}
    names = []

    def get(kind, name, **options):
        assert kind is PetSet
        names.append(name)
        return sets.get(name)

    body = {"metadata": {"name": claim, "namespace": "default"}, "spec": {}}
    keys = sets_of_claim(read(V1PersistentVolumeClaim, body), SimpleNamespace(get=get))
    assert names == asked
    assert [key.name for key in keys] == found
