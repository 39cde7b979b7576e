"""Telling API servers which webhooks to call, and seeing that it stays so.

What belongs here: writing the configuration objects, repairing what others changed in them,
removing them. What does not: what is in them (`operatorkit.webhooks.manifests`).

    register(ca) ──> applied ── one was changed or deleted ──────> applied again (at most once a second)
                        └── remove() ──> gone
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, History, Informer, JSONObject, PatchType
from operatorkit.errors import ClusterError, NotFound
from operatorkit.names import ApiResource
from operatorkit.webhooks.declaration import Webhook
from operatorkit.webhooks.manifests import (
    CONFIGURATIONS,
    MANAGER,
    ServiceReference,
    configuration_name,
    configurations,
    labels_of,
)

__all__ = ["Registration", "remove", "remove_stale"]

_log = logging.getLogger("operatorkit.webhooks")

_PAUSE_SECONDS = 1.0
_ANSWER_SECONDS = 2.0


class Registration:
    """The configurations of one operator.

    `at` is where API servers find the webhooks; with `namespace`, they ask about requests there
    only. With `only_ca`, the configurations belong to another manager, such as a chart: only
    the CA bundle of what is there is set (caBundle), and nothing is created, or changed but that.
    """

    def __init__(
        self,
        api: ClusterAPI,
        operator: str,
        webhooks: Sequence[Webhook],
        *,
        at: ServiceReference | str,
        namespace: str | None = None,
        only_ca: bool = False,
        clock: Clock,
        history: History,
    ) -> None:
        self._api = api
        self._operator = operator
        self._webhooks = tuple(webhooks)
        self._at = at
        self._namespace = namespace
        self._only_ca = only_ca
        self._clock = clock
        self._ca_pem: bytes | None = None
        self._changed = asyncio.Event()
        self._missing: set[ApiResource] = set()
        service = at if isinstance(at, ServiceReference) else None
        self.name: str = configuration_name(operator, service=service, namespace=namespace)
        selector = f"metadata.name={self.name}"
        self._informers = [
            Informer(api, resource, field_selector=selector, clock=clock, history=history)
            for resource in CONFIGURATIONS.values()
        ]
        for informer in self._informers:
            informer.subscribe(lambda _: self._changed.set())

    async def register(self, ca_pem: bytes) -> None:
        """Bring the configurations in the cluster into the form that is wanted, trusting `ca_pem`.

        Configurations of webhooks that are no longer declared are removed. Raises ClusterError.
        """
        self._ca_pem = ca_pem
        for resource, wanted in self._wanted(ca_pem).items():
            live = await _find(self._api, resource, self.name)
            await self._bring(resource, live, wanted)

    async def run(self) -> None:
        """Watch the configurations, and repair them, for ever. Call `register` before."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run(), name=f"watch of {informer.resource.plural}")
            while True:
                await self._changed.wait()
                self._changed.clear()
                assert self._ca_pem is not None, "register() first"
                try:
                    await self.register(self._ca_pem)
                except ClusterError as error:
                    _log.warning(
                        "the webhooks of %s are not registered: %s; trying again",
                        self._operator,
                        error,
                    )
                    self._changed.set()
                # Two programs that both repair this configuration, an old release and a new one,
                # would otherwise do so as fast as the API server answers; and several changes
                # within the pause are one repair.
                await self._clock.sleep(_PAUSE_SECONDS)

    async def _bring(
        self, resource: ApiResource, live: JSONObject | None, wanted: JSONObject | None
    ) -> None:
        if self._only_ca:
            self._log_missing(resource, missing=wanted is not None and live is None)
            wanted = None if live is None or wanted is None else _completed(live, wanted)
        elif wanted is None and live is not None and _is_managed(live, self._operator):
            await _delete(self._api, resource, live)
            return
        if wanted is None or (live is not None and _holds(live, wanted)):
            return
        name = wanted["metadata"]["name"]
        if not self._only_ca:
            what = "creating" if live is None else "restoring"
            _log.info("%s the webhooks of %s: %s %s", what, self._operator, resource.kind, name)
        await self._api.patch(
            resource,
            name,
            wanted,
            patch_type=PatchType.APPLY,
            field_manager=self._operator,
            force=True,
        )

    def _log_missing(self, resource: ApiResource, *, missing: bool) -> None:
        """Log once that no webhook is called: the configuration that a chart creates is not there."""
        if not missing:
            self._missing.discard(resource)
        elif resource not in self._missing:
            self._missing.add(resource)
            text = (
                "webhooks: those of %s are not called until there is a %s %s, which a chart creates"
            )
            _log.warning(text, self._operator, resource.kind, self.name)

    def _wanted(self, ca_pem: bytes) -> dict[ApiResource, JSONObject | None]:
        made = configurations(
            self._operator, self._webhooks, at=self._at, ca_pem=ca_pem, namespace=self._namespace
        )
        by_kind = {manifest["kind"]: manifest for manifest in made}
        return {resource: by_kind.get(resource.kind) for resource in CONFIGURATIONS.values()}


async def remove(api: ClusterAPI, operator: str, *, name: str | None = None) -> list[str]:
    """Delete the configurations that the operator has registered, and return what was deleted.

    With `name`, only those of that name; otherwise all, wherever their webhooks are. Those that a
    chart made are left: the chart removes them. Raises ClusterError.
    """
    removed = []
    for resource in CONFIGURATIONS.values():
        for live in await _registered(api, resource, operator, name):
            await _delete(api, resource, live)
            removed.append(f"{resource.kind} {live['metadata']['name']}")
    return removed


async def remove_stale(api: ClusterAPI) -> list[str]:
    """Delete what operators that were killed have registered at URLs of this machine, and return what was deleted.

    Stale is what leads to addresses of this machine only, where no program listens, or one that the
    configuration does not trust: another process has the port now. One that is only slow is left
    alone. Raises ClusterError.
    """
    labels = f"app.kubernetes.io/managed-by={MANAGER}"
    removed = []
    for resource in CONFIGURATIONS.values():
        for live in (await api.list(resource, label_selector=labels)).items:
            if await _is_stale(live):
                await _delete(api, resource, live)
                what = f"{resource.kind} {live['metadata']['name']}"
                _log.info(
                    "removed %s, which a process that has ended left behind: no program answers at its address",
                    what,
                )
                removed.append(what)
    return removed


async def _is_stale(live: JSONObject) -> bool:
    clients = [entry.get("clientConfig") or {} for entry in live.get("webhooks") or []]
    places = [urlsplit(str(client.get("url") or "")) for client in clients]
    if not places or not all(
        place.scheme == "https" and _is_here(place.hostname) for place in places
    ):
        return False
    # By the certificate, not only by the port: a port of a killed process is soon another
    # program's, which accepts connections, and the dead configuration would then reject every write
    # that it selects.
    trusted = [str(client.get("caBundle") or "") for client in clients]
    found = {
        (place.hostname or "", place.port or 443, ca)
        for place, ca in zip(places, trusted, strict=True)
    }
    return not any([await _is_served(*one) for one in found])


async def _is_served(host: str, port: int, ca_bundle: str) -> bool:
    """Return whether a server that `ca_bundle` trusts may be listening; in doubt, yes."""
    try:
        context = ssl.create_default_context(cadata=base64.b64decode(ca_bundle).decode("ascii"))
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (ConnectionRefusedError, ssl.SSLError):
        return False
    except (OSError, ValueError):
        return True
    writer.transport.abort()
    return True


def _is_here(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


async def _registered(
    api: ClusterAPI, resource: ApiResource, operator: str, name: str | None
) -> list[JSONObject]:
    if name is None:
        labels = ",".join(f"{key}={value}" for key, value in labels_of(operator).items())
        return (await api.list(resource, label_selector=labels)).items
    live = await _find(api, resource, name)
    return [live] if live is not None and _is_managed(live, operator) else []


async def _find(api: ClusterAPI, resource: ApiResource, name: str) -> JSONObject | None:
    try:
        return await api.get(resource, name)
    except NotFound:
        return None


async def _delete(api: ClusterAPI, resource: ApiResource, live: JSONObject) -> None:
    with contextlib.suppress(NotFound):
        await api.delete(resource, live["metadata"]["name"], uid=live["metadata"]["uid"])


def _is_managed(live: JSONObject, operator: str) -> bool:
    return _holds(live["metadata"].get("labels"), labels_of(operator))


def _completed(live: JSONObject, wanted: JSONObject) -> JSONObject | None:
    """Return what adds our caBundle to the webhooks that are there by our names; None when there are none."""
    names = {entry["name"] for entry in live.get("webhooks") or []}
    webhooks = [
        {"name": entry["name"], "clientConfig": {"caBundle": entry["clientConfig"]["caBundle"]}}
        for entry in wanted["webhooks"]
        if entry["name"] in names
    ]
    if not webhooks:
        return None
    identity = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"]}
    # with the uid, an object that was deleted meanwhile is not recreated
    metadata = {"name": wanted["metadata"]["name"], "uid": live["metadata"]["uid"]}
    return {**identity, "metadata": metadata, "webhooks": webhooks}


def _holds(live: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is there; in lists of webhooks by name, in others in the same order."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return False
        # To be right, this cannot be "live contains wanted": every selector contains {}, and a
        # selector that someone narrowed would pass as unchanged, while the webhook is silently not
        # called for most objects.
        if not wanted:  # an empty selector selects all: whatever else is there selects less
            return not live
        return all(_holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return False
        if all(isinstance(item, Mapping) and "name" in item for item in wanted):
            by_name = {
                item["name"]: item for item in live if isinstance(item, Mapping) and "name" in item
            }
            return all(_holds(by_name.get(item["name"]), item) for item in wanted)
        return len(live) == len(wanted) and all(map(_holds, live, wanted))
    return bool(live == wanted)
