"""The pytest plugin: a control plane per session, a namespace and a user per test.

What belongs here: the command line option, and fixtures that need no event loop. The ones that do
are in `operatorkit.testing._async_fixtures`, loaded only where pytest-asyncio is. Everything heavy
is imported when a fixture is used.

    pytest --controlplane=embedded|real|existing      (existing is also chosen by USE_EXISTING_CLUSTER=true)
"""

from __future__ import annotations

import importlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from operatorkit.testing.clock import FakeClock

if TYPE_CHECKING:
    from operatorkit.controlplane.backend import ControlPlane
    from operatorkit.testing.user import User

_BACKENDS = ("embedded", "real", "existing")
_BY_CONTROLLERS = ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
_WAIT_SECONDS = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--controlplane`."""
    existing = os.environ.get("USE_EXISTING_CLUSTER", "").lower() in {"1", "true", "yes"}
    parser.getgroup("operatorkit").addoption(
        "--controlplane",
        choices=_BACKENDS,
        default="existing" if existing else "embedded",
        help="the Kubernetes API that tests run on: embedded (in this process, the default), real (kube-apiserver and "
        "etcd) or existing (the current context of KUBECONFIG)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures that need an event loop, where pytest-asyncio can run them."""
    if config.pluginmanager.hasplugin("asyncio"):
        fixtures = importlib.import_module("operatorkit.testing._async_fixtures")
        config.pluginmanager.register(fixtures, "operatorkit-async")


def pytest_report_header(config: pytest.Config) -> str:
    """Say which control plane a run uses."""
    return f"control plane: {config.getoption('--controlplane')}"


@pytest.fixture(scope="session")
def controlplane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """Provide a Kubernetes API for the whole session, of the kind that `--controlplane` names."""
    from operatorkit.testing.backends import start

    with start(request.config.getoption("--controlplane")) as plane:
        yield plane


@pytest.fixture
def namespace(controlplane: ControlPlane) -> Iterator[str]:
    """Provide a namespace of this test's own; its deletion is asked for afterwards, and not waited for.

    Guarantees: what controllers put into every namespace is there, so that pods are admitted and
    nothing comes between the changes that the test makes; unless the control plane has no such
    controllers.
    """
    from operatorkit.testing.user import User

    name = f"test-{secrets.token_hex(4)}"
    admin = User.of(controlplane)
    made = admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert made.status == 201, made.text
    _await_controllers(admin, name)
    yield name
    admin.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def user(controlplane: ControlPlane, namespace: str) -> User:
    """Provide a user of this test's own, who may do nothing until a RoleBinding says so."""
    from operatorkit.testing.user import User

    return User.of(controlplane, f"user-{secrets.token_hex(4)}", groups=(), namespace=namespace)


@pytest.fixture
def kubeconfig(controlplane: ControlPlane, namespace: str, tmp_path: Path) -> Path:
    """Write a kubeconfig file of the administrator whose current namespace is the test's."""
    return controlplane.write_kubeconfig(tmp_path / "kubeconfig", namespace=namespace)


@pytest.fixture
def clock() -> FakeClock:
    """Provide a clock that stands at the start of 2026 until the test moves it."""
    return FakeClock()


def _await_controllers(admin: User, namespace: str) -> None:
    """Return when what controllers put into every namespace is in that one; at once where none does."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not all(_is_there(admin, namespace, path) for path in _BY_CONTROLLERS):
        if not _is_there(admin, "default", _BY_CONTROLLERS[0]):
            return
        assert time.monotonic() < deadline, (
            f"namespace {namespace} did not get {' and '.join(_BY_CONTROLLERS)} within {_WAIT_SECONDS:g} s: "
            "check the log of kube-controller-manager"
        )
        time.sleep(0.01)


def _is_there(admin: User, namespace: str, path: str) -> bool:
    return admin.request("GET", f"/api/v1/namespaces/{namespace}/{path}").status == 200
