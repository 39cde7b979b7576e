from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from operatorkit.controlplane._selection import enabled
from operatorkit.controlplane.backend import ControlPlane, StartError
from operatorkit.controlplane.real import Binaries, RealControlPlane, find
from operatorkit.errors import InputError

_FOUND = find()
needs_programs = pytest.mark.skipif(
    _FOUND is None or _FOUND.kube_controller_manager is None or _FOUND.kubectl is None,
    reason="no programs of a real control plane: set KUBEBUILDER_ASSETS, or make test-real where Go is",
)


def _script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("controllers", "runs"),
    [
        ("*", True),
        ("*,-serviceaccount-controller", False),
        ("serviceaccount-controller", True),
        ("garbage-collector-controller", False),
        ("-serviceaccount-controller,*", False),
    ],
)
def test_a_controller_named_beats_the_asterisk(controllers: str, runs: bool) -> None:
    assert enabled("serviceaccount-controller", controllers) is runs


def test_a_program_that_ends_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    binaries = Binaries(
        "1.36.3",
        kube_apiserver=_script(tmp_path / "kube-apiserver", "exec sleep 60"),
        etcd=_script(tmp_path / "etcd", "echo no room on the disk; exit 3"),
    )
    plane = RealControlPlane(binaries=binaries, controllers="")

    with (
        pytest.raises(StartError, match=r"etcd exited with code 3; the end of its output:\n    no room on the disk"),
        plane,
    ):
        pass


def test_a_program_that_never_gets_ready_is_given_up_and_stopped(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    binaries = Binaries(
        "1.36.3",
        kube_apiserver=_script(tmp_path / "kube-apiserver", f"echo $$ > {pid}; echo dreaming; exec sleep 60"),
        etcd=_script(tmp_path / "etcd", "exec sleep 60"),
    )
    plane = RealControlPlane(binaries=binaries, controllers="", timeout=timedelta(seconds=3))

    with pytest.raises(StartError, match=r"(?s)/readyz did not answer within 0:00:03.*kube-apiserver:\n    dreaming"):
        plane.__enter__()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_controllers_need_their_program(tmp_path: Path) -> None:
    binaries = Binaries("1.36.3", kube_apiserver=tmp_path / "kube-apiserver", etcd=tmp_path / "etcd")

    with pytest.raises(InputError, match=r"kube-controller-manager 1\.36\.3 is not on this machine: put it next to"):
        RealControlPlane(binaries=binaries).__enter__()


def test_a_port_in_use_is_rejected_before_anything_starts(tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = _script(tmp_path / "program", f"touch {started}")
    binaries = Binaries("1.36.3", kube_apiserver=program, etcd=program)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(InputError, match=f"port {port} "):
            RealControlPlane(binaries=binaries, controllers="", port=port).__enter__()

    assert not started.exists()


def test_programs_end_and_their_files_go_when_the_launcher_is_killed(tmp_path: Path) -> None:
    pid, script, work = tmp_path / "pid", tmp_path / "launcher.py", tmp_path / "work"
    work.mkdir()
    os.mkfifo(pid)
    program = _script(tmp_path / "program", f"trap '' TERM; echo $$ > {pid}; while :; do sleep 60; done")
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from operatorkit.controlplane.real import _process\n"
        "_process._GRACE_SECONDS = 0.1\n"
        f"work = Path({str(work)!r})\n"
        f"process = _process.Process(Path({str(program)!r}), [], log=work / 'log', remove=work)\n"
        "sys.stdin.read()\n"
    )
    launcher = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE)
    child = int(pid.read_text())
    guard = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    descriptor = os.pidfd_open(guard)

    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()

    # A pidfd becomes readable when its process has ended.
    assert select.select([descriptor], [], [], 120)[0] == [descriptor]
    os.close(descriptor)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not work.exists()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealControlPlane]:
    audit = tmp_path_factory.mktemp("audit") / "audit.log"
    with RealControlPlane(audit_log=audit) as running:
        yield running


def _kubectl(plane: RealControlPlane, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kubectl = plane.binaries.kubectl
    assert kubectl is not None
    command = [kubectl, "--kubeconfig", config, *arguments]
    environment = {**os.environ, "HOME": str(config.parent)}  # with a cache of its own
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)


@pytest.mark.real
@needs_programs
def test_an_administrator_is_let_in_and_the_controllers_are_at_work(plane: RealControlPlane, tmp_path: Path) -> None:
    config = plane.write_kubeconfig(tmp_path / "config")

    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    done = _kubectl(plane, config, "get", "serviceaccount", "default", "-o", "name")
    assert (done.returncode, done.stdout) == (0, "serviceaccount/default\n")


@pytest.mark.real
@needs_programs
def test_a_user_of_no_group_is_known_by_name_and_may_do_nothing(plane: RealControlPlane, tmp_path: Path) -> None:
    config = plane.write_kubeconfig(tmp_path / "config", user="mara", groups=(), namespace="team-a")

    done = _kubectl(plane, config, "get", "pods")

    assert done.returncode == 1
    assert 'User "mara" cannot list resource "pods" in API group "" in the namespace "team-a"' in done.stderr


@pytest.mark.real
@needs_programs
def test_the_audit_log_names_who_asked_for_what(plane: RealControlPlane, tmp_path: Path) -> None:
    config = plane.write_kubeconfig(tmp_path / "config", user="auditor")

    assert _kubectl(plane, config, "get", "--raw", "/api/v1/namespaces/default").returncode == 0

    assert plane._audit_log is not None
    whole = plane._audit_log.read_text().rpartition("\n")[0]  # a last line may be in the making
    lines = [json.loads(line) for line in whole.splitlines()]
    assert {"auditor"} == {line["user"]["username"] for line in lines if "auditor" in json.dumps(line["user"])}
    assert any(
        line["user"]["username"] == "auditor" and line["requestURI"] == "/api/v1/namespaces/default" for line in lines
    )


@pytest.mark.real
@needs_programs
def test_the_serving_certificate_passes_the_strict_checks(plane: RealControlPlane) -> None:
    protocol_plane: ControlPlane = plane
    config = protocol_plane.kubeconfig()
    context = ssl.create_default_context(cadata=plane._serving.cert_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(plane.url.rpartition(":")[2])

    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        assert connection.version() == "TLSv1.3"
    assert yaml.safe_load(yaml.safe_dump(config)) == config


@pytest.mark.real
@needs_programs
def test_stopping_leaves_no_process_and_no_file() -> None:
    plane = RealControlPlane(controllers="")
    with plane:
        directory = plane._processes[0]._log.parent
        guards = [process._guard for process in plane._processes]
        assert directory.is_dir()

    assert not directory.exists()
    for guard in guards:
        with pytest.raises(ProcessLookupError):
            os.killpg(guard.pid, 0)
