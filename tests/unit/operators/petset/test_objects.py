"""The objects of a PetSet."""

from __future__ import annotations

from soak.petset_world import petset

from operatorkit.revisions import Revision
from operators.petset.objects import revision_object


def test_the_data_of_a_revision_has_sorted_keys_at_every_depth():
    data = {"spec": {"template": {"spec": {"b": [{"z": 1, "a": 2}], "a": 1}, "$patch": "replace"}}}
    made = revision_object(petset(), Revision("web-1", 1, data))["data"]
    assert made == data
    template = made["spec"]["template"]
    assert [list(template), list(template["spec"]), list(template["spec"]["b"][0])] == [
        ["$patch", "spec"],
        ["a", "b"],
        ["a", "z"],
    ]
