"""serviceaccount-controller and root-ca-certificate-publisher-controller: what every namespace has.

What belongs here: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. What does not: tokens, which the
server issues on request.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from operatorkit.clock import Clock
from operatorkit.cluster import Change
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane._queue import Queue
from operatorkit.controlplane.embedded.controllers.inventory import Identity, Inventory
from operatorkit.controlplane.embedded.controllers.namespaces import NAMESPACES
from operatorkit.errors import AlreadyExists, Forbidden, NotFound
from operatorkit.kinds import CONFIG_MAPS as _CONFIG_MAPS
from operatorkit.kinds import SERVICE_ACCOUNTS as _SERVICE_ACCOUNTS
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["RootCertificatePublisher", "ServiceAccountController"]

_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class _OnePerNamespace:
    """Sees to it that every active namespace has one certain object."""

    name = ""

    def __init__(
        self,
        api: ClusterAPI,
        inventory: Inventory,
        resource: ApiResource,
        object_name: str,
        make: Callable[[], JSONObject],
        *,
        pace: Clock,
    ) -> None:
        self._api = api
        self._inventory = inventory
        self._resource = resource
        self._object_name = object_name
        self._make = make
        self._queue: Queue[str] = Queue(self._handle, clock=pace, pace=pace, workers=2, name=self.name)
        inventory.subscribe(self._on_change)

    async def run(self) -> None:
        """Work for ever. Cancel it to stop."""
        await self._inventory.ready()
        await self._queue.run()

    async def settled(self) -> None:
        """Return when nothing is left to do that could be done now."""
        await self._queue.settled()

    def _on_change(self, resource: ApiResource, change: Change) -> None:
        if resource == NAMESPACES and change.type != "DELETED":
            self._queue.add(change.key.name)
        elif resource == self._resource and change.key.name == self._object_name:
            self._queue.add(change.key.namespace)

    async def _handle(self, namespace: str) -> timedelta | None:
        held = self._inventory.get(Identity(NAMESPACES, ObjectKey("", namespace)))
        if held is None or "deletionTimestamp" in held["metadata"]:
            return None
        wanted = self._make()
        try:
            current = await self._api.get(self._resource, self._object_name, namespace=namespace)
        except NotFound:
            try:
                await self._api.create(self._resource, wanted, namespace=namespace)
            except (AlreadyExists, Forbidden):
                return None  # quicker than we, or the namespace is going
            return None
        if any(current.get(key) != wanted[key] for key in ("data",) if key in wanted):
            await self._api.replace(
                self._resource, self._object_name, {**current, "data": wanted["data"]}, namespace=namespace
            )
        return None


class ServiceAccountController(_OnePerNamespace):
    """Sees to it that every namespace has the ServiceAccount `default`."""

    name = "serviceaccount-controller"

    def __init__(self, api: ClusterAPI, inventory: Inventory, *, pace: Clock) -> None:
        super().__init__(api, inventory, _SERVICE_ACCOUNTS, "default", self._account, pace=pace)

    @staticmethod
    def _account() -> JSONObject:
        return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


class RootCertificatePublisher(_OnePerNamespace):
    """Sees to it that every namespace has the ConfigMap `kube-root-ca.crt` with the authority of the API server."""

    name = "root-ca-certificate-publisher-controller"

    def __init__(self, api: ClusterAPI, inventory: Inventory, *, ca_pem: bytes, pace: Clock) -> None:
        self._ca_pem = ca_pem
        super().__init__(api, inventory, _CONFIG_MAPS, "kube-root-ca.crt", self._bundle, pace=pace)

    def _bundle(self) -> JSONObject:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "kube-root-ca.crt",
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            },
            "data": {"ca.crt": self._ca_pem.decode()},
        }
