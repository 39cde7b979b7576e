"""The embedded server in a thread of its own, as a control plane to develop and test against.

What belongs here: starting and stopping the thread, its loop and what runs in it. What does not: serving (`server`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.controlplane import _credentials
from operatorkit.controlplane.backend import BackendName
from operatorkit.controlplane.embedded.audit import Audit, unrecorded
from operatorkit.controlplane.embedded.server import EmbeddedServer

__all__ = ["EmbeddedControlPlane"]


class EmbeddedControlPlane:
    """A Kubernetes API in this process: a context manager, for code with and without an event loop of its own.

    `port` 0 is any free port. `clock` dates objects and Events expire, `event_ttl` after
    their last write. `data` is a file to remember objects in. `controllers` says which run, in
    kube-controller-manager's own syntax, and `nodes` how many simulated nodes there are. `audit` gets each
    request, in the server's thread.
    Raises `InputError` on entering when the port is taken, or Kubernetes has no such controller.
    """

    backend: BackendName = "embedded"

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Clock = SYSTEM_CLOCK,
        data: Path | None = None,
        event_ttl: timedelta = timedelta(hours=1),
        controllers: str = "*",
        nodes: int = 0,
        audit: Audit = unrecorded,
    ) -> None:
        self._make = partial(
            EmbeddedServer,
            port=port,
            clock=clock,
            data=data,
            event_ttl=event_ttl,
            controllers=controllers,
            nodes=nodes,
            audit=audit,
        )
        self._server: EmbeddedServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failures: list[BaseException] = []

    @property
    def server(self) -> EmbeddedServer:
        """The server, once started. It belongs to the thread's loop."""
        if self._server is None:
            raise RuntimeError("the control plane is not started: use it as a context manager")
        return self._server

    @property
    def url(self) -> str:
        """Where the API answers."""
        return self.server.url

    def kubeconfig(
        self,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> dict[str, Any]:
        """Return a kubeconfig, with all data inline, that authenticates as `user` in `groups`."""
        server = self.server
        assert server.authority is not None
        return _credentials.kubeconfig(
            server.url,
            ca_pem=server.ca_pem,
            user=user,
            client=server.authority.issue_client(user, groups),
            namespace=namespace,
        )

    def write_kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> Path:
        """Write `kubeconfig` to `path`, readable by its owner only, and return the path."""
        return _credentials.write_kubeconfig(
            path, self.kubeconfig(user=user, groups=groups, namespace=namespace)
        )

    def __enter__(self) -> Self:
        started = threading.Event()
        self._failures.clear()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="operatorkit-controlplane", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._failures:
            self._thread.join()
            raise self._failures.pop()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._server = self._loop = self._stopping = self._thread = None

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._failures.append(error)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with self._make() as server:
            self._server = server
            started.set()
            await self._stopping.wait()
