"""A process node for the demo: its pods are processes of this machine, which can be killed.

What belongs here: the node, in a thread of its own. What does not: what runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from operatorkit.cluster.api import ClusterAPI
from operatorkit.controlplane.nodes import NodesThread

if TYPE_CHECKING:
    from operatorkit.controlplane.backend import ControlPlane
    from operatorkit.controlplane.nodes.process import ProcessNodes

__all__ = ["ProcessNode"]

_IMAGES = ("db", "web", "payments", "checkout")


class ProcessNode:
    """One process node. Its images besides MariaDB's are those of the other sections, which only wait."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._nodes: ProcessNodes | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the node until the block is left. Raises what prevents it."""
        config = self._plane.kubeconfig(user="system:process-nodes")
        with NodesThread(config, count=0, make=self._serve):
            yield

    async def kill(self, namespace: str, pod: str) -> None:
        """Send SIGKILL to the containers of a pod. Raises InputError where none runs."""
        assert self._loop is not None
        kill = asyncio.run_coroutine_threadsafe(self._kill(namespace, pod), self._loop)
        await asyncio.wrap_future(kill)

    async def _kill(self, namespace: str, pod: str) -> None:
        assert self._nodes is not None
        self._nodes.disrupt.kill(namespace, pod)

    @contextlib.asynccontextmanager
    async def _serve(self, api: ClusterAPI) -> AsyncIterator[None]:
        from operatorkit.controlplane.nodes.process import Images, ProcessNodes

        waiting = {"command": ["sleep", "infinity"]}
        images = Images({f"registry.example/{name}": waiting for name in _IMAGES})
        async with ProcessNodes(api, api_url=self._plane.url, images=images) as self._nodes:
            self._loop = asyncio.get_running_loop()
            yield
