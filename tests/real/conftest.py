"""kubectl at work against each control plane, with simulated nodes below it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from operatorkit.controlplane.backend import BackendName, ControlPlane
from operatorkit.controlplane.real import find
from operatorkit.testing.backends import start


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real)


class WithoutRepetitions:
    """Leaves out what test_least_privilege runs on a real control plane too, with fewer rights: minutes of a run."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        if config.getoption("controlplane") != "real" or (found := find()) is None or found.helm is None:
            return
        run_again = {
            item.path.parents[1] / "scenarios" / "pki" / name
            for item in items
            if item.path.name == "test_least_privilege.py" and item.originalname.startswith("test_no_right_is_missing")
            for name in item.module.SCENARIOS
        }
        left_out = [item for item in items if item.path in run_again]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item.path not in run_again]


def pytest_configure(config):
    config.pluginmanager.register(WithoutRepetitions())


@pytest.fixture(scope="session")
def binaries():
    """Kubernetes' own programs; without them these tests have nothing to say."""
    found = find()
    if found is None or found.kubectl is None:
        pytest.skip("there is no kubectl: `make test-real` builds it where Go is")
    return found


@pytest.fixture(scope="module")
def helm(binaries, tmp_path_factory) -> Any:
    """Return a function that runs helm, with files and settings of its own; without one these tests say nothing."""
    if binaries.helm is None:
        pytest.skip("there is no helm: `make test-real` builds it where Go is")
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: Any, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        settings = {f"HELM_{part}_HOME": str(home / part.lower()) for part in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [str(binaries.helm), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=700,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig or ""), **settings},
        )

    return run


@pytest.fixture(scope="session")
def control_planes() -> Iterator[Callable[[BackendName], ControlPlane]]:
    """Start each kind when a test first needs it, and keep it: modules alternate between the two."""
    kept: dict[BackendName, ControlPlane] = {}
    with ExitStack() as stack:

        def of(backend: BackendName) -> ControlPlane:
            if backend not in kept:
                kept[backend] = stack.enter_context(start(backend))
            return kept[backend]

        yield of


@pytest.fixture(scope="session", params=["embedded", "real"])
def controlplane(request, binaries, control_planes):
    """Each kind of control plane in turn, whatever --controlplane says."""
    return control_planes(request.param)


@pytest.fixture(scope="module")
def running_nodes(controlplane):
    """One simulated node."""
    from operatorkit.controlplane.nodes import NodesThread

    with NodesThread(controlplane.kubeconfig(), count=1):
        yield


class Kubectl:
    """Runs kubectl as the administrator, in the test's namespace."""

    def __init__(self, program: Path, kubeconfig: Path, home: Path) -> None:
        self.program = program
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "KUBECTL_COMMAND_HEADERS": "false",
        }

    def run(self, *arguments, stdin=None, **environment):
        return subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**self.environment, **environment},
        )

    def __call__(self, *arguments, stdin=None, **environment):
        """Run it, assert that it succeeds, and return what it printed."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def fails(self, *arguments, stdin=None, **environment):
        """Run it, assert that it fails, and return what it said."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} succeeded: {done.stdout}"
        return done.stderr

    def until(self, *arguments, stdin=None, **environment):
        """Run it until it succeeds: servers go by a grant, and serve and describe a new kind, a moment later."""
        deadline = time.monotonic() + 60
        while (done := self.run(*arguments, stdin=stdin, **environment)).returncode and time.monotonic() < deadline:
            time.sleep(0.1)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def start(self, *arguments):
        """Start one that goes on, such as a watch."""
        return subprocess.Popen(
            [self.program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )


@pytest.fixture
def kubectl(binaries, kubeconfig, tmp_path):
    """One for the test alone: kubectl caches what it discovered, also kinds that another test has removed."""
    return Kubectl(binaries.kubectl, kubeconfig, tmp_path)


@pytest.fixture(scope="session")
def kubectl_class():
    """For tests that speak to control planes of their own."""
    return Kubectl
