"""The metrics of an operator: every name, with its help, labels and buckets, and what the engine reports.

What belongs here: the list, and the protocols that the engine calls. What does not: storing and serving values
(`operatorkit._runtime`, with prometheus-client), and metrics of operators, which use prometheus-client directly and are
served beside these.

Names, labels and buckets are those of controller-runtime and client-go, so that dashboards and alerts made for them
work. Source: sigs.k8s.io/controller-runtime, pkg/internal/controller/metrics and pkg/metrics; k8s.io/client-go,
util/workqueue. They are part of the interface: docs/adr/0005-labels-annotations-and-reasons.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

__all__ = [
    "METRICS",
    "ControllerMetrics",
    "Metric",
    "Metrics",
    "NoMetrics",
    "QueueMetrics",
    "RunResult",
]

_RECONCILE_BUCKETS = (
    *(
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.45,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    ),
    *(
        1.25,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        3.5,
        4.0,
        4.5,
        5.0,
        6.0,
        7.0,
        8.0,
        9.0,
        10.0,
        15.0,
        20.0,
        25.0,
        30.0,
    ),
    *(40.0, 50.0, 60.0),
)
_WEBHOOK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_QUEUE_BUCKETS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


class RunResult(StrEnum):
    """How a run ended; the label `result` of controller_runtime_reconcile_total."""

    SUCCESS = "success"
    ERROR = "error"
    REQUEUE = "requeue"
    """It runs again at once: after a Conflict, or because its function returned Requeue(timedelta(0))."""
    REQUEUE_AFTER = "requeue_after"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; the names of counters end in _total, durations are in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_QUEUE = ("name", "controller")

METRICS: tuple[Metric, ...] = (
    Metric(
        "controller_runtime_reconcile_total",
        "counter",
        "Total number of reconciliations per controller",
        ("controller", "result"),
    ),
    Metric(
        "controller_runtime_reconcile_errors_total",
        "counter",
        "Total number of reconciliation errors per controller",
        ("controller",),
    ),
    Metric(
        "controller_runtime_terminal_reconcile_errors_total",
        "counter",
        "Total number of terminal reconciliation errors per controller",
        ("controller",),
    ),
    Metric(
        "controller_runtime_reconcile_time_seconds",
        "histogram",
        "Length of time per reconciliation per controller",
        ("controller",),
        _RECONCILE_BUCKETS,
    ),
    Metric(
        "controller_runtime_active_workers",
        "gauge",
        "Number of currently used workers per controller",
        ("controller",),
    ),
    Metric(
        "controller_runtime_max_concurrent_reconciles",
        "gauge",
        "Maximum number of concurrent reconciles per controller",
        ("controller",),
    ),
    Metric("workqueue_depth", "gauge", "Current depth of workqueue", _QUEUE),
    Metric("workqueue_adds_total", "counter", "Total number of adds handled by workqueue", _QUEUE),
    Metric(
        "workqueue_queue_duration_seconds",
        "histogram",
        "How long in seconds an item stays in workqueue before being requested",
        _QUEUE,
        _QUEUE_BUCKETS,
    ),
    Metric(
        "workqueue_work_duration_seconds",
        "histogram",
        "How long in seconds processing an item from workqueue takes.",
        _QUEUE,
        _QUEUE_BUCKETS,
    ),
    Metric(
        "workqueue_unfinished_work_seconds",
        "gauge",
        "How many seconds of work has been done that is in progress and hasn't been observed by work_duration",
        _QUEUE,
    ),
    Metric(
        "workqueue_longest_running_processor_seconds",
        "gauge",
        "How many seconds has the longest running processor for workqueue been running",
        _QUEUE,
    ),
    Metric(
        "workqueue_retries_total", "counter", "Total number of retries handled by workqueue", _QUEUE
    ),
    Metric(
        "rest_client_requests_total",
        "counter",
        "Number of HTTP requests, partitioned by status code, method, and host",
        ("code", "method", "host"),
    ),
    Metric(
        "leader_election_master_status",
        "gauge",
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master",
        ("name",),
    ),
    Metric(
        "controller_runtime_webhook_latency_seconds",
        "histogram",
        "Histogram of the latency of processing admission requests",
        ("webhook",),
        _WEBHOOK_BUCKETS,
    ),
    Metric(
        "controller_runtime_webhook_requests_total",
        "counter",
        "Total number of admission requests by HTTP status code.",
        ("webhook", "code"),
    ),
    Metric(
        "controller_runtime_webhook_requests_in_flight",
        "gauge",
        "Current number of admission requests being served.",
        ("webhook",),
    ),
    Metric(
        "operatorkit_webhook_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate of the webhooks expires, in seconds since the epoch",
    ),
)
"""All metrics of the engine, in the order of their topics."""


class QueueMetrics(Protocol):
    """What a work queue reports. Nothing may block or raise."""

    def added(self) -> None:
        """Report that a key became dirty."""

    def started(self, waited_seconds: float) -> None:
        """Report that a key was handed out after that time in the queue."""

    def finished(self, worked_seconds: float) -> None:
        """Report that a key was taken back from its worker after that time."""

    def retried(self) -> None:
        """Report that a key waits for its back-off."""


class ControllerMetrics(QueueMetrics, Protocol):
    """What a controller and its queue report."""

    def ran(self, result: RunResult, seconds: float, *, terminal: bool = False) -> None:
        """Report that a run ended, and whether with a TerminalError."""


class Metrics(Protocol):
    """What an engine reports, for each controller and for all requests."""

    def controller(self, name: str) -> ControllerMetrics:
        """Return the metrics of the controller `name`, which is a kind in lower case."""

    def requested(self, *, code: int, method: str, host: str) -> None:
        """Report a request to the API server; `code` is 0 where there was no response."""

    def reviewed(self, *, webhook: str, code: int, seconds: float) -> None:
        """Report a request to the webhook at the path `webhook`, its HTTP status, and how long it took."""


class NoMetrics:
    """Reports nothing: the metrics of an engine that nothing scrapes."""

    def controller(self, name: str) -> ControllerMetrics:
        """Return metrics that are not kept."""
        del name
        return self

    def requested(self, *, code: int, method: str, host: str) -> None:
        """Keep nothing."""

    def reviewed(self, *, webhook: str, code: int, seconds: float) -> None:
        """Keep nothing."""

    def added(self) -> None:
        """Keep nothing."""

    def started(self, waited_seconds: float) -> None:
        """Keep nothing."""

    def finished(self, worked_seconds: float) -> None:
        """Keep nothing."""

    def retried(self) -> None:
        """Keep nothing."""

    def ran(self, result: RunResult, seconds: float, *, terminal: bool = False) -> None:
        """Keep nothing."""
