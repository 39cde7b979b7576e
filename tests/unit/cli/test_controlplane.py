from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from operatorkit.controlplane.real import find

_FOUND = find()
BACKENDS = [
    "embedded",
    pytest.param(
        "real",
        marks=[
            pytest.mark.real,
            pytest.mark.skipif(
                _FOUND is None or _FOUND.kube_controller_manager is None,
                reason="no programs of a real control plane: set KUBEBUILDER_ASSETS, or make test-real where Go is",
            ),
        ],
    ),
]


def _start(*arguments: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "operatorkit", "controlplane", "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
        start_new_session=True,
    )


def _processes_of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("backend", BACKENDS)
def test_up_says_how_to_connect_and_leaves_nothing_when_stopped(
    backend: str, number: signal.Signals, tmp_path: Path
) -> None:
    process = _start("--backend", backend, "--nodes", "2", home=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    ready, export = process.stdout.readline(), process.stdout.readline()
    line = re.fullmatch(r"ready  (https://127\.0\.0\.1:\d+)  \((\w+), 2 nodes, \d+\.\d s\)\n", ready)
    assert line is not None, ready + process.stderr.read()
    config = Path(export.removeprefix("export KUBECONFIG=").rstrip("\n"))
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    cluster = yaml.safe_load(config.read_text())["clusters"][0]["cluster"]
    assert (cluster["server"], line[2]) == (line[1], backend)

    process.send_signal(number)
    _, errors = process.communicate(timeout=180)

    assert (process.returncode, errors) == (0, "stopping\n")
    assert list(tmp_path.iterdir()) == []
    assert _processes_of_session(process.pid) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_port_in_use_is_one_clear_line(backend: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = _start("--backend", backend, "--port", str(port), home=tmp_path)
        output, errors = process.communicate(timeout=180)

    assert (process.returncode, output) == (1, "")
    assert errors == (
        f"operatorkit: port {port} of 127.0.0.1 is in use: stop what listens there, or choose another with --port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_up_listens_on_the_port_asked_for(tmp_path: Path, free_port: int) -> None:
    port = free_port
    config = tmp_path / "config"
    process = _start("--port", str(port), "--nodes", "0", "--kubeconfig", str(config), home=tmp_path)
    assert process.stdout is not None
    assert f"https://127.0.0.1:{port}  (embedded, no nodes" in process.stdout.readline()

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=context) as answer:
        assert answer.read() == b"ok"

    process.terminate()
    process.communicate(timeout=180)
    assert not config.exists()


@pytest.mark.parametrize("content", ["clusters: [{name: production}]\n", "not: [a kubeconfig", "\x00"])
def test_a_kubeconfig_of_another_owner_is_not_written_over(content: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(content)

    process = _start("--kubeconfig", str(config), home=tmp_path)
    output, errors = process.communicate(timeout=180)

    assert (process.returncode, output) == (1, "")
    assert errors == (
        f"operatorkit: {config} exists and was not written by operatorkit: name another file with --kubeconfig\n"
    )
    assert config.read_text() == content


def test_a_program_reads_one_line_of_json(tmp_path: Path) -> None:
    process = _start("--nodes", "2", "--kubeconfig", str(tmp_path / "config"), "-o", "json", home=tmp_path)
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    config = tmp_path / "config"
    url = yaml.safe_load(config.read_text())["clusters"][0]["cluster"]["server"]
    assert facts == {"url": url, "kubeconfig": str(config), "backend": "embedded", "nodes": 2}
    process.terminate()
    assert process.communicate(timeout=60) == ("", "stopping\n")


def test_the_kubeconfig_of_a_control_plane_that_runs_is_not_taken_from_it(tmp_path: Path) -> None:
    config = tmp_path / "config"
    first = _start("--nodes", "0", "--kubeconfig", str(config), home=tmp_path)
    assert first.stdout is not None
    url = first.stdout.readline().split()[1]
    first.stdout.readline()
    written = config.read_bytes()

    second = _start("--nodes", "0", "--kubeconfig", str(config), home=tmp_path)
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, output) == (1, "")
    assert errors == (
        f"operatorkit: {config} belongs to a control plane that still runs at {url}: stop that one, or name another "
        "file with --kubeconfig\n"
    )
    assert config.read_bytes() == written

    first.kill()
    first.communicate(timeout=60)
    third = _start("--nodes", "0", "--kubeconfig", str(config), home=tmp_path)
    assert third.stdout is not None
    assert third.stdout.readline().startswith("ready  ")
    config.write_text("clusters: []  # somebody needed the name\n")
    third.terminate()
    third.communicate(timeout=60)
    assert config.read_text().startswith("clusters: []")


def test_a_kubeconfig_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = tmp_path / "file" / "config"
    process = _start("--nodes", "0", "--kubeconfig", str(config), home=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == (
        f"operatorkit: {config} cannot be written ({tmp_path / 'file'}: File exists): name another file with "
        "--kubeconfig\n"
    )


def test_images_without_process_nodes_are_rejected(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text("{}")
    process = _start("--images", str(images), home=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, ""), errors
    assert errors.splitlines() == [
        f"operatorkit: --images {images}: only process nodes run images: add --node-kind process"
    ]


def test_process_nodes_without_bubblewrap_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    process = _start("--node-kind", "process", home=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, ""), errors
    assert errors.splitlines() == [
        "operatorkit: --node-kind process: process nodes need bubblewrap: install it (Debian: apt-get install bubblewrap)"
    ]
