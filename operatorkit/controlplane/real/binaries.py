"""Where the programs of a real control plane are.

What belongs here: the search, in the order of controller-runtime's envtest, so that a machine prepared for Go
operators serves Python ones as it is. What does not: building what is missing (`operatorkit.controlplane.real.build`).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OPTIONAL", "REQUIRED", "VERSION", "Binaries", "cache_directory", "find", "search_path"]

VERSION = "1.36.3"
"""The Kubernetes version that operatorkit is developed against."""

REQUIRED = ("kube-apiserver", "etcd")
OPTIONAL = ("kube-controller-manager", "kubectl", "helm")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one version. What envtest does not ship, and tests can do without, may be None."""

    version: str
    kube_apiserver: Path
    etcd: Path
    kube_controller_manager: Path | None = None
    kubectl: Path | None = None
    helm: Path | None = None

    @property
    def missing(self) -> list[str]:
        """The names of the programs that were not found."""
        optional = {
            "kube-controller-manager": self.kube_controller_manager,
            "kubectl": self.kubectl,
            "helm": self.helm,
        }
        return [name for name, path in optional.items() if path is None]


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def cache_directory(version: str = VERSION, environ: Mapping[str, str] | None = None) -> Path:
    """Return the directory where operatorkit keeps the programs that it built."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME") or _home(environ) / ".cache"
    return Path(base) / "operatorkit" / "kubernetes" / version / "bin"


def _envtest_store(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Application Support" / "io.kubebuilder.envtest"
    return (
        Path(environ.get("XDG_DATA_HOME") or _home(environ) / ".local" / "share")
        / "kubebuilder-envtest"
    )


def search_path(version: str = VERSION, environ: Mapping[str, str] | None = None) -> list[Path]:
    """Return the directories that are searched, in order, after the TEST_ASSET_* variables."""
    environ = os.environ if environ is None else environ
    system, machine = platform.system().lower(), platform.machine().lower()
    directories = [
        _envtest_store(environ)
        / "k8s"
        / f"{version}-{system}-{_ARCHITECTURES.get(machine, machine)}",
        cache_directory(version, environ),
    ]
    assets = environ.get("KUBEBUILDER_ASSETS")
    return [Path(assets), *directories] if assets else directories


def _candidates(program: str, version: str, environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get("TEST_ASSET_" + program.upper().replace("-", "_"))
    if named:
        yield Path(named)
    for directory in search_path(version, environ):
        yield directory / program


def _locate(program: str, version: str, environ: Mapping[str, str]) -> Path | None:
    for candidate in _candidates(program, version, environ):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    return None


def find(version: str = VERSION, *, environ: Mapping[str, str] | None = None) -> Binaries | None:
    """Return the programs that are on this machine, or None when kube-apiserver or etcd is missing.

    Each is looked for on its own: TEST_ASSET_KUBE_APISERVER (_ETCD, _KUBECTL, ...), then in KUBEBUILDER_ASSETS, in the
    store of setup-envtest, and in operatorkit's own cache.
    """
    environ = os.environ if environ is None else environ
    found = {program: _locate(program, version, environ) for program in (*REQUIRED, *OPTIONAL)}
    apiserver, etcd = found["kube-apiserver"], found["etcd"]
    if apiserver is None or etcd is None:
        return None
    return Binaries(
        version,
        kube_apiserver=apiserver,
        etcd=etcd,
        kube_controller_manager=found["kube-controller-manager"],
        kubectl=found["kubectl"],
        helm=found["helm"],
    )
