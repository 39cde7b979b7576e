"""Building the programs of a real control plane once, from the Go modules of their projects.

What belongs here: the module files' place, the compiler's options, and the lock that keeps two builds apart. What does
not: where finished programs are looked for (`operatorkit.controlplane.real.binaries`).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from operatorkit.controlplane.real.binaries import (
    VERSION,
    Binaries,
    cache_directory,
    find,
    search_path,
)
from operatorkit.errors import InputError, OperatorKitError

__all__ = ["MODULES", "Program", "ensure_binaries", "plan"]

MODULES = Path(__file__).parents[3] / "tests" / "envtest"
"""The module files, which only a checkout of operatorkit's repository has."""

_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Program:
    """What `go build` needs to know of one program."""

    name: str
    module: str
    package: str
    linker_flags: str


def _kubernetes_flags(version: str) -> str:
    major, minor, _ = version.split(".", 2)
    stamps = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(
        ["-s", "-w", *(f"-X {_VERSION_PACKAGE}.{key}={value}" for key, value in stamps.items())]
    )


def plan(version: str = VERSION) -> list[Program]:
    """Return what is built for a version of Kubernetes, the largest first: the rest share its work."""
    stamped = _kubernetes_flags(version)
    return [
        *(
            Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", stamped)
            for name in ("kube-apiserver", "kube-controller-manager", "kubectl")
        ),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "-s -w"),
        Program("helm", "helm", "helm.sh/helm/v4/cmd/helm", "-s -w"),
    ]


def _show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the progress of minutes


@contextmanager
def _locked(directory: Path, progress: Callable[[str], None]) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process builds the control plane: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _required_version(modules: Path) -> str:
    text = (modules / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^(?:require)?\s+k8s\.io/kubernetes v(\S+)", text, re.MULTILINE)
    if found is None:
        raise OperatorKitError(
            f"{modules / 'kubernetes' / 'go.mod'} requires no version of k8s.io/kubernetes"
        )
    return found[1]


def _compile(go: str, program: Program, modules: Path, directory: Path) -> None:
    partial = directory / f".{program.name}.part"
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", program.linker_flags, "-o", str(partial), program.package]
    done = subprocess.run(  # noqa: S603 - our own command line
        command,
        cwd=modules / program.module,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OperatorKitError(
            f"building {program.name} failed: {' '.join(command)}\n{done.stderr.strip()}"
        )
    partial.replace(directory / program.name)


def _cannot_build(version: str, modules: Path, go: str | None) -> str | None:
    places = ", ".join(str(path) for path in search_path(version))
    wanted = "kube-apiserver, etcd and kube-controller-manager"
    remedy = f"set KUBEBUILDER_ASSETS to a directory with {wanted} (searched: {places})"
    if not (modules / "kubernetes" / "go.mod").is_file():
        return f"the programs of Kubernetes {version} are not all on this machine: {remedy}"
    if go is None:
        return f"the programs of Kubernetes {version} are not all on this machine, nor is Go to build them: {remedy}"
    if _required_version(modules) != version:
        return f"{modules} builds Kubernetes {_required_version(modules)}, not {version}: {remedy}"
    return None


def ensure_binaries(
    version: str = VERSION, *, progress: Callable[[str], None] = _show, modules: Path = MODULES
) -> Binaries:
    """Return the programs, after building those which are found nowhere; that may take a quarter of an hour.

    Guarantees: a program is complete or absent, and processes that call this at the same time build once.
    Raises InputError when they are missing and cannot be built here; OperatorKitError with the compiler's words when
    a build fails.
    """
    found = find(version)
    if found is not None and not found.missing:
        return found
    go = shutil.which("go")
    reason = _cannot_build(version, modules, go)
    if reason is not None:
        if found is not None and found.kube_controller_manager is not None:
            return found
        raise InputError(reason)
    assert go is not None
    directory = cache_directory(version)
    with _locked(directory, progress):
        found = find(version)  # another process may have built them while we waited
        programs = [
            program for program in plan(version) if found is None or program.name in found.missing
        ]
        programs = [program for program in programs if not (directory / program.name).is_file()]
        for number, program in enumerate(programs, start=1):
            progress(f"[{number}/{len(programs)}] building {program.name} for Kubernetes {version}")
            _compile(go, program, modules, directory)
    built = find(version)
    assert built is not None
    return built
