"""What every control plane has in common, so that tests, the demo and `dev` need not know which one they run on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from operatorkit.errors import OperatorKitError

__all__ = ["BackendName", "ControlPlane", "StartError"]

BackendName = Literal["embedded", "real", "existing"]


class StartError(OperatorKitError):
    """A control plane did not come up; the message has the last lines of what it said."""


class ControlPlane(Protocol):
    """A Kubernetes API to develop and test against.

    A context manager: entering starts it and returns when it is ready, leaving stops all of it, processes and
    threads included. Plain functions, not coroutines: it may be used with and without an event loop.
    """

    @property
    def backend(self) -> BackendName:
        """Which kind this is."""

    @property
    def url(self) -> str:
        """Where the API answers, for example `https://127.0.0.1:38151`."""

    def kubeconfig(
        self,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> dict[str, Any]:
        """Return a kubeconfig, as a dictionary with all data inline, that authenticates as `user` in `groups`."""

    def write_kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> Path:
        """Write `kubeconfig` to `path`, readable by its owner only, and return the path."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
