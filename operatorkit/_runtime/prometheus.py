"""The engine's metrics, kept by prometheus-client.

What belongs here: the metrics of `operatorkit.metrics` as objects of prometheus-client, and those that are read from an
engine when they are scraped. What does not: their names, and the port (`health`).

Why gauges are read at the scrape: a depth that is set with each change of a queue costs twice per run, and is right
only if no way of changing it is forgotten. The engine knows all of them at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operatorkit.metrics import METRICS, Metric, RunResult

if TYPE_CHECKING:
    from operatorkit._runtime.engine import Engine
    from operatorkit._runtime.leases import LeaseElector

__all__ = ["PrometheusMetrics"]

_BY_NAME = {metric.name: metric for metric in METRICS}


class PrometheusMetrics:
    """Keeps metrics in a registry of prometheus-client, by default the one that an operator's own metrics are in.

    Raises ImportError where prometheus-client is not installed (the extra `metrics`), and ValueError when the registry
    has metrics of these names already.
    """

    def __init__(self, registry: Any = None) -> None:
        import prometheus_client

        self._library = prometheus_client
        self._registry = prometheus_client.REGISTRY if registry is None else registry
        self._metrics: dict[str, Any] = {metric.name: self._made(metric) for metric in METRICS}
        self._requests = self._metrics["rest_client_requests_total"]

    def _made(self, metric: Metric) -> Any:
        options: dict[str, Any] = {"registry": self._registry}
        match metric.kind:
            case "counter":
                return self._library.Counter(metric.name, metric.help, metric.labels, **options)
            case "gauge":
                return self._library.Gauge(metric.name, metric.help, metric.labels, **options)
            case "histogram":
                return self._library.Histogram(
                    metric.name, metric.help, metric.labels, buckets=metric.buckets, **options
                )

    def controller(self, name: str) -> _Controller:
        """Return the metrics of one controller; its series exist from now on, with the value 0."""
        return _Controller(self._metrics, name)

    def requested(self, *, code: int, method: str, host: str) -> None:
        """Count a request; one without a response has the code `<error>`, as in client-go."""
        self._requests.labels(str(code) if code else "<error>", method, host).inc()

    def reviewed(self, *, webhook: str, code: int, seconds: float) -> None:
        """Count a request to a webhook, and record how long it took."""
        requests = self._metrics["controller_runtime_webhook_requests_total"]
        requests.labels(webhook, str(code)).inc()
        latency = self._metrics["controller_runtime_webhook_latency_seconds"]
        latency.labels(webhook).observe(seconds)

    def render(self, engine: Engine, elector: LeaseElector | None) -> tuple[bytes, str]:
        """Return all metrics of the registry as text, and its content type. Call it in the loop of the engine."""
        for controller in engine.controllers:
            name, queue = controller.name, controller.queue
            running = [duration.total_seconds() for duration in queue.running().values()]
            self._set("controller_runtime_active_workers", len(running), name)
            self._set("controller_runtime_max_concurrent_reconciles", controller.workers, name)
            self._set("workqueue_depth", len(queue), name, name)
            self._set("workqueue_unfinished_work_seconds", sum(running), name, name)
            self._set(
                "workqueue_longest_running_processor_seconds", max(running, default=0.0), name, name
            )
        if elector is not None:
            self._set("leader_election_master_status", int(elector.leads), elector.name)
        if engine.admission is not None:
            for webhook, count in engine.admission.in_flight().items():
                self._set("controller_runtime_webhook_requests_in_flight", count, webhook)
        if engine.admission is not None and (expiry := engine.admission.expiry()) is not None:
            self._set(
                "operatorkit_webhook_certificate_expiry_timestamp_seconds", expiry.timestamp()
            )
        return self._library.generate_latest(self._registry), self._library.CONTENT_TYPE_LATEST

    def _set(self, name: str, value: float, *labels: str) -> None:
        metric = self._metrics[name]
        (metric.labels(*labels) if _BY_NAME[name].labels else metric).set(value)


class _Controller:
    """The series of one controller, looked up once."""

    def __init__(self, metrics: dict[str, Any], name: str) -> None:
        self._runs = {
            result: metrics["controller_runtime_reconcile_total"].labels(name, result.value)
            for result in RunResult
        }
        self._errors = metrics["controller_runtime_reconcile_errors_total"].labels(name)
        self._terminal = metrics["controller_runtime_terminal_reconcile_errors_total"].labels(name)
        self._time = metrics["controller_runtime_reconcile_time_seconds"].labels(name)
        self._adds = metrics["workqueue_adds_total"].labels(name, name)
        self._retries = metrics["workqueue_retries_total"].labels(name, name)
        self._waits = metrics["workqueue_queue_duration_seconds"].labels(name, name)
        self._works = metrics["workqueue_work_duration_seconds"].labels(name, name)

    def added(self) -> None:
        """Count a key that became dirty."""
        self._adds.inc()

    def started(self, waited_seconds: float) -> None:
        """Record how long a key waited."""
        self._waits.observe(waited_seconds)

    def finished(self, worked_seconds: float) -> None:
        """Record how long a worker had a key."""
        self._works.observe(worked_seconds)

    def retried(self) -> None:
        """Count a key that waits for its back-off."""
        self._retries.inc()

    def ran(self, result: RunResult, seconds: float, *, terminal: bool = False) -> None:
        """Record how a run ended, and how long it took."""
        self._runs[result].inc()
        self._time.observe(seconds)
        if result is RunResult.ERROR:
            self._errors.inc()
        if terminal:
            self._terminal.inc()
