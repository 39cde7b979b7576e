from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operatorkit.controlplane.nodes.process.plan import is_initialized, phase, plan
from operatorkit.controlplane.nodes.process.records import BACK_OFF_LIMIT, Container, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = timedelta(seconds=10)


def container(name: str, role: Role = "main", *, code: int | None = None, **state: Any) -> Container:
    one = Container({"name": name}, role, **state)
    if code is not None:
        one.note_end(code, NOW, reason="x")
    return one


def running(name: str, role: Role = "main", **state: Any) -> Container:
    return container(name, role, child=object(), **state)


def decide(*containers: Container, policy: str = "Always", initialized: bool = False) -> list[str]:
    found = plan(containers, policy, 0.0, initialized=initialized)
    return [*(one.name for one in found.start), *(["complete"] if found.complete else [])]


@pytest.mark.parametrize(
    ("containers", "started"),
    [
        ([container("i", "init"), container("m")], ["i"]),
        ([running("i", "init"), container("m")], []),
        ([container("i", "init", code=0), container("j", "init"), container("m")], ["j"]),
        ([container("i", "init", code=1), container("m")], ["i"]),
        ([container("i", "init", code=0), container("m"), container("n")], ["m", "n"]),
        ([container("s", "sidecar"), container("m")], ["s"]),
        ([running("s", "sidecar"), container("m")], []),
        ([running("s", "sidecar", started=True), container("m")], ["m"]),
    ],
)
def test_init_containers_and_sidecars_come_in_order(containers: list[Container], started: list[str]) -> None:
    assert decide(*containers) == started


@pytest.mark.parametrize(
    ("policy", "code", "decided"),
    [
        ("Always", 0, ["m"]),
        ("Always", 1, ["m"]),
        ("OnFailure", 0, ["complete"]),
        ("OnFailure", 1, ["m"]),
        ("Never", 0, ["complete"]),
        ("Never", 1, ["complete"]),
    ],
)
def test_the_restart_policy_decides_about_ended_containers(policy: str, code: int, decided: list[str]) -> None:
    assert decide(container("m", code=code), policy=policy, initialized=True) == decided


def test_a_failed_init_container_completes_a_pod_that_never_restarts() -> None:
    containers = [container("i", "init", code=1), container("m")]
    assert decide(*containers, policy="Never") == ["complete"]
    assert phase(containers, {"restartPolicy": "Never"}, initialized=False) == "Failed"


def test_a_sidecar_that_has_ended_starts_again_while_main_containers_run() -> None:
    assert decide(container("s", "sidecar", code=0), running("m"), initialized=True) == ["s"]


def test_a_container_waits_for_the_end_of_its_back_off() -> None:
    one = container("m", code=1, again_at=5.0)
    found = plan([one], "Always", 4.9, initialized=True)
    assert (found.start, found.back_off) == ([], [one])
    assert plan([one], "Always", 5.0, initialized=True).start == [one]


@pytest.mark.parametrize(
    ("containers", "policy", "expected"),
    [
        ([container("m")], "Always", "Pending"),
        ([running("m")], "Always", "Running"),
        ([container("m", code=1)], "Always", "Running"),
        ([container("m", code=0), running("n")], "Never", "Running"),
        ([container("m", code=0), container("n", code=0)], "Never", "Succeeded"),
        ([container("m", code=0), container("n", code=2)], "Never", "Failed"),
        ([container("m", code=2)], "OnFailure", "Running"),
        ([running("s", "sidecar"), container("m", code=0)], "Never", "Running"),
    ],
)
def test_the_phase_follows_the_containers(containers: list[Container], policy: str, expected: str) -> None:
    assert phase(containers, {"restartPolicy": policy}, initialized=True) == expected


def test_a_pod_is_initialized_once_init_containers_succeeded_and_sidecars_started() -> None:
    assert is_initialized([container("m")])
    assert not is_initialized([container("i", "init", code=1), container("m")])
    assert is_initialized([container("i", "init", code=0), running("s", "sidecar", started=True)])


def test_the_first_restart_is_at_once_and_the_back_off_doubles_up_to_its_limit() -> None:
    one = container("m")
    waits = []
    for _ in range(8):
        one.child, one.started_at = object(), NOW  # type: ignore[assignment]
        one.on_exited(1, NOW, 0.0, BASE)
        waits.append(one.again_at)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    one.child, one.started_at = object(), NOW  # type: ignore[assignment]
    one.on_exited(1, NOW + 2 * BACK_OFF_LIMIT + BASE, 0.0, BASE)
    assert one.again_at == 0
