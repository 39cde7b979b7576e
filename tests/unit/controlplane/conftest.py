"""Control planes for the tests of what works against them: the same tests on the embedded one and on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.backend import ControlPlane
from operatorkit.controlplane.controllers import CONTROLLERS
from operatorkit.controlplane.embedded import EmbeddedControlPlane
from operatorkit.controlplane.real import RealControlPlane, find

_OWN_OFF = ",".join(["*", *(f"-{name}" for name in CONTROLLERS)])


def _bare(backend: str) -> AbstractContextManager[Any]:
    """Return a control plane without the controllers that operatorkit has itself."""
    if backend == "embedded":
        return EmbeddedControlPlane(controllers="")
    found = find()
    if found is None or found.kube_controller_manager is None:
        pytest.skip("no programs of a real control plane: set KUBEBUILDER_ASSETS, or make test-real where Go is")
    return RealControlPlane(controllers=_OWN_OFF)


@pytest.fixture(scope="session", params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def bare_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane on which the test may run controllers and nodes of ours."""
    with _bare(request.param) as plane:
        yield plane


@pytest.fixture
async def api(bare_plane: ControlPlane) -> AsyncIterator[LiveCluster]:
    """The API of `bare_plane` as an administrator."""
    async with LiveCluster(load_config(bare_plane.kubeconfig())) as live:
        yield live
