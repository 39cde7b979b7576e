"""What the controllers of one control plane share, and the protocol that each of them follows.

What belongs here: the API, the clocks and the shared informers. What does not: running (`manager`).
"""

from __future__ import annotations

from typing import Protocol

from operatorkit.clock import Clock
from operatorkit.cluster import Informer
from operatorkit.cluster.api import ClusterAPI
from operatorkit.controlplane.controllers.inventory import Inventory, own_history
from operatorkit.names import ApiResource

__all__ = ["Controller", "ControllerContext"]


class ControllerContext:
    """The parts that controllers are made of, as kube-controller-manager's ControllerContext.

    `clock` dates what is written; `pace` times the pauses between retries, which should pass even
    where a test holds the other one still. `ca_pem` is the CA bundle of the API server.
    """

    def __init__(self, api: ClusterAPI, *, clock: Clock, pace: Clock, ca_pem: bytes = b"") -> None:
        self.api = api
        self.clock = clock
        self.pace = pace
        self.ca_pem = ca_pem
        self.inventory: Inventory = Inventory(api, pace=pace)
        self._informers: dict[ApiResource, Informer] = {}

    def informer(self, resource: ApiResource) -> Informer:
        """Return the informer of a resource, which all controllers share."""
        if resource not in self._informers:
            history = own_history(self.pace)
            self._informers[resource] = Informer(
                self.api, resource, clock=self.pace, history=history
            )
        return self._informers[resource]

    def informers(self) -> list[Informer]:
        """Return every informer that a controller has asked for."""
        return list(self._informers.values())


class Controller(Protocol):
    """A controller under the name that kube-controller-manager gives it.

    Its constructor takes the informers that it needs from the context and subscribes to them.
    """

    name: str

    def __init__(self, context: ControllerContext) -> None: ...

    async def run(self) -> None:
        """Work until cancelled."""

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
