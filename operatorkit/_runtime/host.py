"""The process of an operator: kopf hosts it, with signals, credentials and its own handlers; our engine runs in it.

What belongs here: all that knows kopf. What does not: reconciling (`engine`), and the command line (`operatorkit.cli`).

kopf's event path is not used for what `Operator.reconcile` declares, so kopf does not watch, patch or annotate those
kinds; a module's own `@kopf.on.*` handlers run in the same loop, on the same HTTP session. An operator with no such
handlers costs kopf a few discovery requests at the start, and none later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import kopf

from operatorkit._runtime.admission import ClientConfig
from operatorkit._runtime.checks import Checks
from operatorkit._runtime.engine import Engine
from operatorkit._runtime.health import Scrape, serve_health
from operatorkit._runtime.install import Shrinking, install_definitions, install_stand_ins
from operatorkit._runtime.kopf_handlers import handler_needs, has_handlers
from operatorkit._runtime.lease_guard import guarded
from operatorkit._runtime.leases import LeaseElector
from operatorkit._runtime.metrics_access import MetricsAccess
from operatorkit._runtime.preflight import check
from operatorkit._runtime.prometheus import PrometheusMetrics
from operatorkit._runtime.requests import observer
from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import ClusterConfig, LiveCluster
from operatorkit.definitions import external_kinds, own_kinds
from operatorkit.errors import DefinitionError
from operatorkit.metrics import NoMetrics
from operatorkit.names import KOPF_PREFIX, ObjectKey
from operatorkit.operator import Operator
from operatorkit.resource import api_resource_of
from operatorkit.webhooks.registration import remove, remove_stale

__all__ = ["host", "kopf_settings", "remove_stale_webhooks", "remove_webhooks"]

_log = logging.getLogger("operatorkit.runtime")


def _abort(message: str) -> None:
    """End the process at once, whatever its event loop does."""
    os.write(2, f"operatorkit: {message}\n".encode())
    os._exit(1)


_ADMISSION = {
    "validating": ("@kopf.on.validate", "@app.validate"),
    "mutating": ("@kopf.on.mutate", "@app.mutate"),
}


async def host(
    app: Operator,
    config: ClusterConfig,
    *,
    namespace: str | None = None,
    origin: str = "MODULE",
    clock: Clock = SYSTEM_CLOCK,
    install: bool = False,
    shrinking: Shrinking = "never",
    stand_ins: bool = False,
    health_port: int | None = None,
    webhooks: ClientConfig | None = None,
    leader_elect: bool = False,
    lease_expired: Callable[[str], None] = _abort,
) -> None:
    """Run an operator until SIGTERM or SIGINT; runs that have begun finish first.

    With `install`, the definitions of its own kinds are applied before it starts; `shrinking` says which of those that
    are there may lose something. With `stand_ins`, external kinds that are missing get a definition too. `health_port`
    is where probes are answered, see `health`; `webhooks` is where API servers find its webhooks, None to leave them
    alone. With `leader_elect`, only the replica that holds the Lease of `Settings.leader_election` reconciles and calls
    kopf's handlers; `lease_expired` ends the process if it does not end in time when the Lease is lost.

    Call it in the main thread, in a loop of its own: kopf cancels what it finds there when it stops. Raises InputError
    when a kind or a permission is missing, DefinitionError when handlers of kopf ask for admission, ClusterError when
    the API server cannot be asked, LeaseLost, and what else ended the engine.
    """
    _reject_admission(kopf.get_default_registry())
    async with AsyncExitStack() as stack:
        metrics = _metrics() if health_port is not None else None
        counts = metrics is not None or _log.isEnabledFor(logging.DEBUG)
        host_name = urlsplit(config.server).netloc
        api = await stack.enter_async_context(
            LiveCluster(
                config,
                clock=clock,
                observe=observer(metrics or NoMetrics(), host_name) if counts else None,
                request_timeout=app.settings.request_timeout,
                max_requests_in_flight=app.settings.max_requests_in_flight,
                user_agent=f"operatorkit/{app.name}",
            )
        )
        elector = None
        if leader_elect:
            elector = await stack.enter_async_context(_elector(app, config, lease_expired))
        engine = Engine(
            app,
            api,
            clock=clock,
            namespace=namespace,
            webhooks=webhooks,
            elector=elector,
            metrics=metrics,
        )
        if health_port is not None:
            scrape = None
            if metrics is not None:
                scrape = Scrape(
                    render=partial(metrics.render, engine, elector),
                    access=MetricsAccess(api, SYSTEM_CLOCK).status,
                )
            checks = Checks(
                engine, reconcile_timeout=app.settings.reconcile_timeout, network_clock=SYSTEM_CLOCK
            )
            await stack.enter_async_context(
                serve_health(
                    health_port,
                    live=checks.live,
                    ready=checks.ready,
                    metrics=scrape,
                    why=engine.why,
                )
            )
        if install:
            await install_definitions(own_kinds(app), api, shrinking=shrinking)
        if stand_ins:
            await install_stand_ins(external_kinds(app), api)
        handlers = handler_needs(app)
        if handlers.warning:
            _log.warning(handlers.warning)
        lease = lease_of(app) if leader_elect else None
        await check(
            app, api, namespace=namespace, origin=origin, handlers=handlers.needs, lease=lease
        )
        _warn_of_cluster_scope(app, namespace)
        await _run(app, engine, api, namespace)


async def _run(app: Operator, engine: Engine, api: LiveCluster, namespace: str | None) -> None:
    """Run the engine and kopf until either ends, and end the other; raise what ended the engine."""
    stop = asyncio.Event()
    running = asyncio.create_task(engine.run(), name=f"engine of {app.name}")
    running.add_done_callback(lambda _: stop.set())
    ready = asyncio.create_task(_announce(app, engine), name=f"readiness of {app.name}")
    try:
        await _inside_kopf(api, namespace, engine=engine, running=running, stop=stop)
    finally:
        ready.cancel()
        engine.stop()
        await asyncio.wait({running, ready})
    await running
    _log.info("%s stopped", app.name)


def _metrics() -> PrometheusMetrics | None:
    """Return metrics in the registry of the process; None, with a line in the log, without prometheus-client."""
    try:
        return PrometheusMetrics()
    except ImportError:
        _log.info(
            "there are no metrics: prometheus-client is not installed (the extra `metrics` of operatorkit)"
        )
        return None


def lease_of(app: Operator) -> ObjectKey:
    """Return the namespace and the name of the Lease by which the replicas of an operator elect a leader."""
    settings = app.settings
    election = settings.leader_election
    return ObjectKey(election.namespace or settings.own_namespace, election.name or app.name)


@asynccontextmanager
async def _elector(
    app: Operator, config: ClusterConfig, expired: Callable[[str], None]
) -> AsyncIterator[LeaseElector]:
    """Yield an elector with a client of its own, and a guard that ends the process should its loop be blocked.

    The times of leader election are those of the system, also where a test controls the operator's clock.
    """
    election, key = app.settings.leader_election, lease_of(app)
    client = LiveCluster(
        config,
        request_timeout=election.renew_deadline / 2,
        max_requests_in_flight=2,
        user_agent=f"operatorkit/{app.name}",
    )
    async with client as api:
        elector = LeaseElector(
            api, namespace=key.namespace, name=key.name, settings=election, clock=SYSTEM_CLOCK
        )
        with guarded(elector, settings=election, clock=SYSTEM_CLOCK, expired=expired):
            yield elector


def _warn_of_cluster_scope(app: Operator, namespace: str | None) -> None:
    """Say which kinds one namespace does not limit: each such object is reconciled, and by every such operator."""
    resources = [api_resource_of(reconciler.kind) for reconciler in app.reconcilers]
    wide = sorted({resource.kind for resource in resources if not resource.namespaced})
    if namespace is not None and wide:
        _log.warning(
            "%s works in namespace %s, and reconciles all objects of cluster-scoped kinds: %s; "
            "operators of other namespaces do so, too",
            app.name,
            namespace,
            ", ".join(wide),
        )


async def remove_webhooks(app: Operator, config: ClusterConfig) -> list[str]:
    """Delete the webhook configurations that an operator registered, and return what they were. Raises ClusterError."""
    async with LiveCluster(config, user_agent=f"operatorkit/{app.name}") as api:
        return await remove(api, app.name)


async def remove_stale_webhooks(config: ClusterConfig) -> list[str]:
    """Delete what killed operators registered at URLs of this machine, and return what it was. Raises ClusterError."""
    async with LiveCluster(config, user_agent="operatorkit") as api:
        return await remove_stale(api)


async def _announce(app: Operator, engine: Engine) -> None:
    await engine.ready()
    if not engine.is_leading:
        _log.info("%s is ready, and waits to become the leader", app.name)
        await engine.leading()
    kinds = ", ".join(controller.resource.kind for controller in engine.controllers)
    _log.info("%s is ready; it reconciles %s", app.name, kinds or "nothing")


async def _inside_kopf(
    api: LiveCluster,
    namespace: str | None,
    *,
    engine: Engine,
    running: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    registry = kopf.get_default_registry()
    handlers = has_handlers(registry)
    if not handlers:
        registry = kopf.OperatorRegistry()
        logging.getLogger("kopf").setLevel(logging.WARNING)

    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=api.config.server, aiohttp_session=api.session)

    async def finish(**_: Any) -> None:
        engine.stop()
        await asyncio.wait({running})

    kopf.on.login(registry=registry, id="operatorkit.login")(login)
    kopf.on.cleanup(registry=registry, id="operatorkit.finish")(finish)
    if handlers and not await _leads(engine, stop):
        return
    started = asyncio.Event()
    signals = asyncio.create_task(_take_signals(started, stop), name="signals")
    try:
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(scanning=handlers),
            standalone=True,
            clusterwide=namespace is None,
            namespaces=[] if namespace is None else [namespace],
            stop_flag=stop,
            ready_flag=started,
        )
    finally:
        signals.cancel()
        await asyncio.wait({signals})


async def _leads(engine: Engine, stop: asyncio.Event) -> bool:
    """Return True when this replica leads, so that kopf may call handlers; False when it is stopped before that."""
    _handle_signals(stop)
    waits = {asyncio.ensure_future(engine.leading()), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return not stop.is_set()
    finally:
        for task in waits:
            task.cancel()
        await asyncio.wait(waits)


def _reject_admission(registry: kopf.OperatorRegistry) -> None:
    """Raise DefinitionError for handlers that would never be called: kopf serves no admission here.

    Its way to register them does not survive two replicas, each of which overwrites and empties what the other wrote.
    """
    for handler in registry._webhooks.get_all_handlers():  # noqa: SLF001 - kopf has no public access to these
        kopfs, own = _ADMISSION[str(handler.reason)]
        function = getattr(handler.fn, "__qualname__", repr(handler.fn))
        raise DefinitionError(
            f"{handler.fn.__module__}.{function} is declared with {kopfs}, which is never "
            f"called: declare it on the operator instead, with {own}(Kind)"
        )


def kopf_settings(*, scanning: bool) -> kopf.OperatorSettings:
    """Switch off what an operator does not use of kopf: Events of its log, annotations in its own name, webhooks."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = not scanning
    settings.admission.managed = None
    settings.persistence.finalizer = f"{KOPF_PREFIX}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=KOPF_PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=KOPF_PREFIX, key="last-handled-configuration"
    )
    return settings


async def _take_signals(started: asyncio.Event, stop: asyncio.Event) -> None:
    """Replace kopf's signal handlers, whose reaction to a second signal is a traceback, when it has started."""
    await started.wait()
    _handle_signals(stop)


def _handle_signals(stop: asyncio.Event) -> None:
    """Stop at the first signal, exit at once at the second."""
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        _log.info(
            "%s: finishing the current runs; send the signal again to exit at once", number.name
        )
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received, number)
