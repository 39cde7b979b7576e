"""An operator's webhooks at work: served, certified and registered for as long as its engine runs.

What belongs here: the order of these three, and where API servers find the server. What does not: each of them
(`operatorkit.webhooks`).

    Secret ──> CA registered ──> leaf presented ──> server listens ──> ready
       └── renewed by us, or by another replica: the CA is registered before its leaf is presented
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, History, Informer
from operatorkit.errors import AlreadyExists, InputError, OperatorKitError
from operatorkit.kinds import NAMESPACES, SECRETS
from operatorkit.metrics import Metrics, NoMetrics
from operatorkit.operator import Operator
from operatorkit.webhooks.certificates import (
    Bundle,
    CertificateStore,
    renewal_time,
    succeeds,
    validity,
)
from operatorkit.webhooks.manifests import (
    CONFIGURATIONS,
    ServiceReference,
    configuration_name,
    leaves_out_own_namespace,
)
from operatorkit.webhooks.registration import Registration, remove, remove_stale
from operatorkit.webhooks.server import WebhookServer

__all__ = ["AdmissionService", "AtService", "AtUrl", "ClientConfig", "secret_name"]

_log = logging.getLogger("operatorkit.runtime")

_LONGEST_WAIT_SECONDS = 3600.0
_RETRY_SECONDS = 10.0
_SPREADING_SECONDS = 5.0  # until every API server has heard of a new CA


@dataclass(frozen=True, slots=True, kw_only=True)
class AtUrl:
    """For development: API servers call this process by its address, and forget it when it stops.

    `host` must be reachable for the API server. The namespace of the certificates is made where it is missing.
    """

    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AtService:
    """In a cluster: API servers call a Service, which has `port` of each replica behind it.

    With `only_ca`, the registration is a chart's, and only its CA
    bundles are set; otherwise the operator owns it, and it stays when
    a replica stops, because others serve on.
    """

    service: ServiceReference
    port: int = 9443
    only_ca: bool = False


ClientConfig = AtUrl | AtService


def secret_name(app: Operator, client_config: ClientConfig) -> str:
    """Return the name of the Secret of an operator's webhook certificates, in its own namespace.

    Each way to be called has one of its own: two processes that need certificates for other names would never agree.
    """
    return (
        client_config.service.secret_name
        if isinstance(client_config, AtService)
        else f"{app.name}-webhook-url-tls"
    )


class AdmissionService:
    """Serves the webhooks of one operator: `start`, then `run`, and `stop` at the end.

    `namespace` is the only one that the operator works in, if there is one: API servers ask about that only.
    """

    def __init__(
        self,
        app: Operator,
        api: ClusterAPI,
        client_config: ClientConfig,
        *,
        namespace: str | None = None,
        clock: Clock,
        network_clock: Clock,
        history: History,
        metrics: Metrics | None = None,
    ) -> None:
        self._app = app
        self._api = api
        self._client_config = client_config
        self._clock = clock
        self._network_clock = network_clock
        self._history = history
        self._namespace = namespace
        self._own_namespace = app.settings.own_namespace
        self._secret = secret_name(app, client_config)
        self._bundle: Bundle | None = None
        self._listening = False
        self._secret_changed = asyncio.Event()
        host = (
            client_config.host if isinstance(client_config, AtUrl) else None
        )  # a pod serves its network
        name = (
            configuration_name(app.name, namespace=namespace)
            if isinstance(client_config, AtUrl)
            else None
        )
        self._metrics = metrics or NoMetrics()
        self._server = WebhookServer(
            app.webhooks, host=host, port=client_config.port, name=name, reviewed=self._reviewed
        )
        self._store = CertificateStore(
            api,
            namespace=self._own_namespace,
            name=self._secret,
            hosts=_hosts(client_config),
            clock=clock,
        )
        self._registration: Registration | None = None

    async def start(self) -> None:
        """Serve and register. Raises ClusterError, and InputError when the port is in use."""
        if isinstance(self._client_config, AtUrl):
            await self._make_namespace()
            await self._remove_stale()
        bundle = await self._store.load()
        self._server.use(bundle.cert_pem, bundle.key_pem)
        try:
            await self._server.start()
        except OSError as error:
            raise InputError(
                f"port {self._client_config.port} cannot be used for webhooks: "
                f"{os.strerror(error.errno or 0)}: stop what listens there, or choose another with --webhook-port"
            ) from error
        self._listening = True
        self._registration = Registration(
            self._api,
            self._app.name,
            self._app.webhooks,
            at=_url(self._client_config.host, self._server.port)
            if isinstance(self._client_config, AtUrl)
            else self._client_config.service,
            namespace=self._namespace,
            only_ca=isinstance(self._client_config, AtService) and self._client_config.only_ca,
            clock=self._network_clock,
            history=self._history,
        )
        await self._registration.register(bundle.ca_pem)
        self._bundle = bundle
        self._warn_of_what_is_left_out()
        where = _shown(self._client_config, self._server.port)
        name = self._registration.name
        _log.info("webhooks: %d served %s as %s", len(self._app.webhooks), where, name)
        if isinstance(self._client_config, AtUrl):
            kinds = {CONFIGURATIONS[webhook.verb].plural for webhook in self._app.webhooks}
            _log.info(
                "webhooks: the webhook configuration is removed when this process stops; if it "
                "is killed, start it again, or run: kubectl delete %s",
                " ".join(f"{kind}/{name}" for kind in sorted(kinds)),
            )

    def _warn_of_what_is_left_out(self) -> None:
        if (
            isinstance(self._client_config, AtUrl)
            or self._namespace != self._client_config.service.namespace
        ):
            return
        kinds = sorted(
            {one.resource.kind for one in self._app.webhooks if leaves_out_own_namespace(one)}
        )
        if kinds:
            _log.warning(
                "webhooks: those for %s validate nothing: the operator works in %s only, its own "
                "namespace, where they are excluded, because its own Pod must start before they "
                "are served; run it in another namespace",
                ", ".join(kinds),
                self._namespace,
            )

    async def run(self) -> None:
        """Keep certificates and webhook configurations up to date until cancelled."""
        assert self._registration is not None, "start() first"
        secrets = Informer(
            self._api,
            SECRETS,
            namespace=self._own_namespace,
            field_selector=f"metadata.name={self._secret}",
            clock=self._network_clock,
            history=self._history,
        )
        secrets.subscribe(lambda _: self._secret_changed.set())
        async with asyncio.TaskGroup() as group:
            group.create_task(secrets.run(), name="watch of webhook certificates")
            group.create_task(self._registration.run(), name="webhook configurations")
            group.create_task(self._follow_time(), name="renewal of webhook certificates")
            while True:
                await self._secret_changed.wait()
                self._secret_changed.clear()
                try:
                    await self._refresh()
                except OperatorKitError as error:
                    _log.warning(
                        "the webhook certificates of %s: %s; trying again", self._app.name, error
                    )
                    await self._network_clock.sleep(_RETRY_SECONDS)
                    self._secret_changed.set()

    async def stop(self) -> None:
        """Respond to pending reviews, and stop serving; a webhook configuration with a URL is removed before."""
        if isinstance(self._client_config, AtUrl) and self._registration is not None:
            try:
                await remove(self._api, self._app.name, name=self._registration.name)
            except OperatorKitError as error:
                _log.warning("the webhooks of %s are still registered: %s", self._app.name, error)
        if self._listening:
            self._listening = False
            await self._server.stop()

    def problem(self) -> str | None:
        """Return why API servers get no valid answer from here now, or None."""
        if not self._listening or self._bundle is None:
            return "they are not served"
        now, (begin, end) = self._clock.now(), validity(self._bundle)
        if begin <= now < end:
            return None
        return f"their certificate is valid from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC only"

    def in_flight(self) -> Mapping[str, int]:
        """Return how many requests to each webhook, by its path, are processed now."""
        return self._server.in_flight

    def _reviewed(self, webhook: str, code: int, seconds: float) -> None:
        self._metrics.reviewed(webhook=webhook, code=code, seconds=seconds)

    def expiry(self) -> datetime | None:
        """Return when the certificate that is presented expires; None before `start`."""
        return validity(self._bundle)[1] if self._bundle is not None else None

    async def _follow_time(self) -> None:
        while True:
            assert self._bundle is not None, "start() first"
            left = (renewal_time(self._bundle) - self._clock.now()).total_seconds()
            await self._clock.sleep(min(max(left, _RETRY_SECONDS), _LONGEST_WAIT_SECONDS))
            if not self._store.is_good(self._bundle):
                self._secret_changed.set()

    async def _refresh(self) -> None:
        """Use what the Secret holds, or renew it: the CA bundle is registered before the certificate is used."""
        bundle, known = await self._store.load(), self._bundle
        if bundle == known:
            return
        assert self._registration is not None, "start() first"
        assert known is not None, "start() first"
        await self._registration.register(bundle.ca_pem)
        if succeeds(bundle, known, self._clock.now()):
            await self._network_clock.sleep(_SPREADING_SECONDS)
        self._server.use(bundle.cert_pem, bundle.key_pem)
        self._bundle = bundle
        _log.info("%s serves its webhooks with a new certificate", self._app.name)

    async def _remove_stale(self) -> None:
        """Remove webhook configurations that processes on this machine left behind; no other program removes them."""
        try:
            await remove_stale(self._api)
        except OperatorKitError as error:
            _log.debug(
                "cannot find webhook configurations of processes that were killed: %s", error
            )

    async def _make_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._own_namespace}}
        with suppress(AlreadyExists):
            await self._api.create(NAMESPACES, body)


def _hosts(client_config: ClientConfig) -> Sequence[str]:
    return (
        (client_config.host,) if isinstance(client_config, AtUrl) else client_config.service.hosts
    )


def _shown(client_config: ClientConfig, port: int) -> str:
    """Return where webhooks are served, and what registers them, for the log."""
    if isinstance(client_config, AtUrl):
        return f"at {_url(client_config.host, port)}, registered"
    service = client_config.service
    whose = "registered by a chart" if client_config.only_ca else "registered"
    return f"on port {port}, behind Service {service.namespace}/{service.name}, {whose}"


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
