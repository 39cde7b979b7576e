"""The demo tells a true story; neither it nor the tests leave a process behind, even when they are interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operatorkit.testing import eventually

pytestmark = pytest.mark.timeout(400)

COMMAND = [sys.executable, "-m", "operatorkit", "demo"]


def family(marker: str) -> list[int]:
    """Return the processes whose environment carries `marker`: the demo and all that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            zombie = " Z " in (entry / "stat").read_text()
        except OSError:
            continue
        if marker.encode() in environment and not zombie:
            found.append(int(entry.name))
    return found


@pytest.fixture
def marker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a word for the environment of the demo, and see that no process that carries it is left."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to see what is left")
    word = f"OPERATORKIT_TEST_MARK={os.getpid()}-{request.node.name}"
    yield word
    deadline = time.monotonic() + 10
    while (left := family(word)) and time.monotonic() < deadline:
        time.sleep(0.05)  # whoever is on a leash ends a moment after the one who holds it
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def environment(marker: str) -> dict[str, str]:
    name, _, value = marker.partition("=")
    return {**os.environ, name: value, "PYTHONUNBUFFERED": "1"}


def test_the_demo_shows_the_error_at_the_pod_and_the_recovery(marker: str) -> None:
    done = subprocess.run(COMMAND, env=environment(marker), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    reported = done.stdout
    assert "spec.dnsNames[0]" in reported
    assert "spec.dnsNames[1]" in reported
    assert "spec.duration" in reported
    waiting, _, recovered = reported.partition("Another team")[0].partition("corrects it")
    assert "ContainerCreating" in waiting
    (denied,) = (line for line in waiting.splitlines() if "DeniedByPolicy" in line)
    assert "Did you mean" in denied
    assert "payments.shop.svc" in denied
    assert "(x2 over" in denied
    assert "FailedMount" in waiting
    assert "CertificateIssued" in recovered
    assert "Running" in recovered
    assert "Traceback" not in reported + done.stderr
    check_the_members(reported.partition("Another team")[2])


def check_the_members(reported: str) -> None:
    """Check what the demo prints about the PetSet: creation in order, the reason of a failure, recovery, rollback."""
    created, _, rest = reported.partition("An update")
    assert [line for line in created.splitlines() if "is ready" in line] == [f"  pod/db-{n} is ready" for n in range(3)]
    broken, _, rest = rest.partition("The team corrects")
    at_the_set, _, at_the_pod = broken.partition("kubectl describe pod db-2")
    (degraded,) = (line for line in at_the_set.splitlines() if "Degraded:" in line)
    assert "MemberFailing" in degraded
    why = "db-2: container db: ImagePullBackOff: Back-off pulling image"
    assert [line for line in at_the_set.splitlines() if "Warning" in line and "MemberFailing" in line and why in line]
    assert "Reason:     ImagePullBackOff" in at_the_pod
    assert "BackOff" in at_the_pod.partition("Events:")[2]
    corrected, _, back = rest.partition("rolls it back")
    assert "replaced db-2" in corrected
    history = [line.split() for line in back.splitlines() if "registry.example" in line and "db-" in line]
    assert [row[2] for row in history] == ["registry.example/db:1", "registry.example/bd:2", "registry.example/db:2"]
    assert f"rolled back to {history[0][1]}" in back
    assert "run registry.example/db:1 again" in back


def interrupt(marker: str, folder: Path, until: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start the demo, send it a signal once it has said `until`, and return how it ended."""
    process = subprocess.Popen(
        [*COMMAND, "--keep"],
        env=environment(marker) | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if until in line:
            break
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=120)
    text = "".join(seen) + rest
    assert any(until in line for line in seen), text
    assert "Traceback" not in text
    return subprocess.CompletedProcess(process.args, process.returncode, text)


@pytest.mark.parametrize(
    "until", ["is ready at", "operatorkit run pki", "asks for a certificate", "bd:2", "until Ctrl-C"]
)
def test_an_interrupted_demo_leaves_no_process_behind(marker: str, until: str, tmp_path: Path) -> None:
    done = interrupt(marker, tmp_path, until, signal.SIGINT)
    assert done.returncode in (0, 130), done.stdout
    assert list(tmp_path.glob("operatorkit-demo-*")) == []


@pytest.mark.parametrize(
    ("until", "number"),
    [("is ready at", signal.SIGTERM), ("asks for a certificate", signal.SIGHUP)],
)
def test_a_demo_that_is_asked_to_end_tidies_up(marker: str, until: str, number: signal.Signals, tmp_path: Path) -> None:
    """At the first of these no operator runs yet that could tidy up after it."""
    done = interrupt(marker, tmp_path, until, number)
    assert done.returncode == 128 + number, done.stdout
    assert list(tmp_path.glob("operatorkit-demo-*")) == []


def runs_an_operator(marker: str) -> bool:
    """Whether a process that carries `marker` is an operator that `operatorkit dev` started."""
    for pid in family(marker):
        with contextlib.suppress(OSError):
            if b"--exit-with-parent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False


def start_tests(marker: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start, in a process group of its own, some of the tests that start operators."""
    tests = Path(__file__).with_name("test_process.py")
    options = ["-n", "2", "-k", "test_dev_runs_a_file or test_run_serves", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", str(tests), *options, "--basetemp", str(folder)],
        env=environment(marker),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda it: it.name)
async def test_interrupted_tests_leave_no_process_behind(marker: str, number: signal.Signals, tmp_path: Path) -> None:
    process = start_tests(marker, tmp_path / "inner")
    await eventually(lambda: runs_an_operator(marker), timeout=120, message="an operator runs")
    os.killpg(process.pid, number)
    await eventually(lambda: process.poll() is not None, timeout=120, message="the tests end")
    await eventually(lambda: family(marker) == [], timeout=60, message="no process is left")
    assert process.returncode != 0
