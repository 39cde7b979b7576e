"""Which controllers a selection turns on, and which selections are refused."""

from __future__ import annotations

import pytest

from operatorkit.controlplane._selection import check_selection, enabled
from operatorkit.controlplane.controllers.manager import CONTROLLERS
from operatorkit.controlplane.embedded import EmbeddedControlPlane
from operatorkit.controlplane.real import RealControlPlane
from operatorkit.errors import InputError

JOBS = "job-controller"


@pytest.mark.parametrize(
    ("selection", "on"),
    [
        ("*", True),
        (JOBS, True),
        (f"-{JOBS}", False),
        (f"*,-{JOBS}", False),
        (f"-{JOBS},*", False),
        ("*, -deployment-controller", True),
        ("deployment-controller", False),
        ("", False),
    ],
)
def test_an_entry_by_name_beats_the_star(selection, on):
    check_selection(selection)
    assert enabled(JOBS, selection) is on


@pytest.mark.parametrize("name", CONTROLLERS)
def test_each_controller_that_there_is_can_be_named(name):
    check_selection(f"*,-{name}")


@pytest.mark.parametrize(
    ("selection", "reported"),
    [
        ("deployment", "there is no controller 'deployment': did you mean deployment-controller?"),
        ("*,-statefulset-contoller", "no controller 'statefulset-contoller': did you mean statefulset-controller?"),
        ("bogus", "no controller 'bogus': use a name of kube-controller-manager, or '\\*' for all"),
    ],
)
@pytest.mark.parametrize("backend", [EmbeddedControlPlane, RealControlPlane])
def test_a_name_that_kubernetes_does_not_have_is_rejected_before_anything_starts(backend, selection, reported):
    with pytest.raises(InputError, match=reported), backend(controllers=selection):
        pass
