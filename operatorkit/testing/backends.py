"""Which control plane a test runs on.

What belongs here: the choice, and the adapter to a cluster that exists already. What does not: the
control planes (`operatorkit.controlplane`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, assert_never

import yaml

from operatorkit.controlplane.backend import BackendName, ControlPlane
from operatorkit.errors import InputError

__all__ = ["ExistingCluster", "start"]


def start(backend: BackendName, **options: Any) -> ControlPlane:
    """Return a control plane of that kind, not yet entered; `options` are those of its class."""
    match backend:
        case "embedded":
            from operatorkit.controlplane.embedded import EmbeddedControlPlane

            return EmbeddedControlPlane(**options)
        case "real":
            from operatorkit.controlplane.real import RealControlPlane

            return RealControlPlane(**options)
        case "existing":
            return ExistingCluster(**options)
        case _:
            assert_never(backend)


class ExistingCluster:
    """The cluster of the current context of a kubeconfig, by default KUBECONFIG's or ~/.kube/config.

    It is left as it was found: nothing is started or stopped. Other users than the administrator
    are impersonated, so the kubeconfig's user needs the permission to impersonate.
    """

    def __init__(self, kubeconfig: Path | None = None) -> None:
        self._path = kubeconfig or Path(
            os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config"
        )
        self._loaded: dict[str, Any] | None = None

    @property
    def backend(self) -> BackendName:
        """Which kind this is: `existing`."""
        return "existing"

    @property
    def url(self) -> str:
        """Where the API answers."""
        return str(self._parts()[0]["cluster"]["server"])

    def kubeconfig(
        self,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> dict[str, Any]:
        """Return the current context's cluster and user as a kubeconfig; impersonating, unless `user` is admin."""
        cluster, person = copy.deepcopy(self._parts())
        if user != "admin":
            person["user"] |= {"as": user, "as-groups": list(groups)}
        context = {"cluster": cluster["name"], "user": person["name"], "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [person],
            "contexts": [{"name": "existing", "context": context}],
            "current-context": "existing",
        }

    def write_kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> Path:
        """Write `kubeconfig` to `path`, readable by its owner only, and return the path."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(
            yaml.safe_dump(self.kubeconfig(user=user, groups=groups, namespace=namespace))
        )
        return path

    def __enter__(self) -> Self:
        self._parts()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._loaded is None:
            try:
                self._loaded = yaml.safe_load(self._path.read_text(encoding="utf-8"))
            except OSError as error:
                raise InputError(
                    f"--controlplane=existing needs a kubeconfig, and {self._path} cannot be read ({error.strerror}): "
                    "set KUBECONFIG to one"
                ) from error
        config = self._loaded or {}
        try:
            context = next(
                c["context"] for c in config["contexts"] if c["name"] == config["current-context"]
            )
            cluster = next(c for c in config["clusters"] if c["name"] == context["cluster"])
            person = next(u for u in config["users"] if u["name"] == context["user"])
        except (KeyError, StopIteration, TypeError) as error:
            raise InputError(
                f"{self._path} has no usable current context: choose one with `kubectl config use-context NAME`"
            ) from error
        return cluster, person
