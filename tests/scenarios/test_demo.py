"""The demo tells a true story; neither it nor the tests leave a process behind, even when they are interrupted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operatorkit.cli._demo.needs import missing_for
from operatorkit.testing import eventually

pytestmark = pytest.mark.timeout(400)

COMMAND = [sys.executable, "-m", "operatorkit", "demo"]
IN_THE_LAST_SECTION = "cordoned" if missing_for("mysql_sharding") is None else "mysql_sharding is not shown"


@pytest.fixture(autouse=True)
def once(request) -> None:
    if request.config.getoption("--controlplane") != "embedded":
        pytest.skip("a demo starts an embedded control plane, whatever the others run on")


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


def none_left(word: str) -> None:
    """Kill the processes that carry `word` and are left a moment after the demo, which must be none."""
    deadline = time.monotonic() + 10
    while (left := family(word)) and time.monotonic() < deadline:
        time.sleep(0.05)  # a process that exits with its parent ends a moment after it
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def marker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a word for the environment of the demo, and see that no process that carries it is left."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to see what is left")
    word = f"OPERATORKIT_TEST_MARK={os.getpid()}-{request.node.name}"
    yield word
    none_left(word)


def environment(marker: str) -> dict[str, str]:
    name, _, value = marker.partition("=")
    return {**os.environ, name: value, "PYTHONUNBUFFERED": "1"}


def started(marker: str, folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start the demo, with `folder` for its temporary files."""
    return subprocess.Popen(
        [*COMMAND, *options],
        env=environment(marker) | {"TMPDIR": str(folder)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def nothing_left(process: subprocess.Popen[str], folder: Path) -> None:
    """Check that no process of a pod and no file is left; the demo itself has ended."""
    none_left(f"=operatorkit-nodes-{process.pid}-")
    assert list(folder.iterdir()) == []


def sections(reported: str) -> dict[str, str]:
    """Return what the demo printed below each headline."""
    parts = re.split(r"^\[ *[0-9.]+s\] (.*)$", reported, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_demo_shows_each_operator_and_leaves_nothing_when_it_is_interrupted(marker: str, tmp_path: Path) -> None:
    """With --keep it waits at the end; the test after this one sees a demo that ends by itself."""
    done = interrupt(marker, tmp_path, "until Ctrl-C", signal.SIGINT)
    assert done.returncode in (0, 130), done.stdout
    reported = done.stdout
    assert "ReconcileFailed" not in reported
    check_the_certificates(reported.partition("Another team")[0])
    check_the_members(reported.partition("Another team")[2].partition("The security team")[0])
    check_the_images(sections(reported))
    if (why := missing_for("mysql_sharding")) is None:
        check_the_shard(sections(reported))
    else:
        assert f"mysql_sharding is not shown: {why}" in reported


def test_a_machine_without_the_programs_shows_the_rest_and_what_to_install(marker: str, tmp_path: Path) -> None:
    """The other operators are shown, and the demo succeeds."""
    empty = tmp_path / "bin"
    empty.mkdir()
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = started(marker, folder, PATH=str(empty))
    reported, _ = process.communicate(timeout=300)
    assert process.returncode == 0, reported
    (line,) = (line for line in reported.splitlines() if "mysql_sharding is not shown" in line)
    assert re.search(r"not installed: .*bubblewrap \(Debian: apt-get install .*bubblewrap\)$", line), line
    assert "operatorkit run mysql_sharding" not in reported
    check_the_images(sections(reported))
    nothing_left(process, folder)


def check_the_certificates(reported: str) -> None:
    """Check what the demo prints about pki: errors at admission, the error at the pod, and the recovery."""
    assert "spec.dnsNames[0]" in reported
    assert "spec.dnsNames[1]" in reported
    assert "spec.duration" in reported
    waiting, _, recovered = reported.partition("corrects it")
    assert "ContainerCreating" in waiting
    (denied,) = (line for line in waiting.splitlines() if "DeniedByPolicy" in line)
    assert "Did you mean" in denied
    assert "payments.shop.svc" in denied
    assert "(x2 over" in denied
    assert "FailedMount" in waiting
    assert "CertificateIssued" in recovered
    assert "Running" in recovered


def check_the_images(found: dict[str, str]) -> None:
    """Check what the demo prints about attestation: the denial with its remedy, and the admission."""
    image = "registry.example/checkout@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert (
        "serving http://127.0.0.1:" in found["The security team starts a metadata server, with a key and a note for QA"]
    )
    denied = found["A team deploys an image that QA has not attested"]
    assert f"denied the request: No matched signatures for container image: {image}" in denied
    assert "ImagePolicy prod/tested-only: AttestationAuthority prod/qa has not attested it" in denied
    assert "run: operatorkit attest upload --note projects/shop/notes/qa" in denied
    assert "pod/checkout created" not in denied
    attested = found["The tests pass, and QA attests the image"]
    assert f"$ operatorkit attest sign {image} --type PGP" in attested
    assert "occurrence projects/shop/occurrences/" in attested
    admitted = found["The team deploys the same image again"]
    assert "pod/checkout created" in admitted
    assert "pod/checkout is Running" in admitted


def check_the_shard(found: dict[str, str]) -> None:
    """Check what the demo prints about mysql_sharding: the members, the failover and its time, and the rows."""
    created = found["A DBA declares MariaDB with one shard of three members"]
    assert re.findall(r"pod/(orders0-\d) (\w+)", created) == [
        ("orders0-0", "primary"),
        ("orders0-1", "replica"),
        ("orders0-2", "replica"),
    ]
    killed = found["An application writes rows, and the primary is killed with kill -9"]
    assert re.search(r"pod/orders0-0, the primary: mariadbd is killed \(SIGKILL\) after \d{3} rows", killed), killed
    (new, seconds) = re.findall(r"pod/(orders0-[012]) is the primary now, .*: failover in ([0-9.]+) s", killed)[0]
    assert float(seconds) > 0
    compared = found["No acknowledged row is missing"]
    assert f"pod/{new} primary, serving" in compared
    rows = re.findall(r"pod/(orders0-\d): (\d+) rows acknowledged, 0 missing", compared)
    assert [name for name, _ in rows] == ["orders0-0", "orders0-1", "orders0-2"]
    assert {int(count) >= 300 for _, count in rows} == {True}
    assert "FailoverCompleted" in compared


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
    process = started(marker, folder, "--keep")
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
    nothing_left(process, folder)
    return subprocess.CompletedProcess(process.args, process.returncode, text)


@pytest.mark.parametrize(
    "until", ["is ready at", "operatorkit run pki", "asks for a certificate", "bd:2", "attest serve"]
)
def test_an_interrupted_demo_leaves_no_process_behind(marker: str, until: str, tmp_path: Path) -> None:
    done = interrupt(marker, tmp_path, until, signal.SIGINT)
    assert done.returncode in (0, 130), done.stdout


@pytest.mark.parametrize(
    ("until", "number"),
    [("is ready at", signal.SIGTERM), ("asks for a certificate", signal.SIGHUP), (IN_THE_LAST_SECTION, signal.SIGTERM)],
)
def test_a_demo_that_is_asked_to_end_tidies_up(marker: str, until: str, number: signal.Signals, tmp_path: Path) -> None:
    """At the first of these no operator runs yet that could tidy up after it."""
    done = interrupt(marker, tmp_path, until, number)
    assert done.returncode == 128 + number, done.stdout


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
