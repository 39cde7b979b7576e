"""The Grafana dashboard of an operator, of the metrics that `operatorkit.metrics` names.

What belongs here: its panels and their queries. What does not: how Grafana gets it (a ConfigMap of the chart).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA_VERSION: Final = 39
_WIDTH, _HEIGHT = 12, 8
_OF: Final = 'namespace="$namespace",job="$job"'
_RATE: Final = "$__rate_interval"

Query = tuple[str, str]
"""An expression in PromQL, and the legend of its series."""


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_OF}{more}}}[{_RATE}]))"


def _quantile(metric: str, by: str, share: float) -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'{by}, le')})"


def _quantiles(metric: str, by: str) -> list[Query]:
    return [
        (_quantile(metric, by, share), f"{{{{{by}}}}} p{share * 100:g}") for share in (0.5, 0.99)
    ]


def _gauge(metric: str, by: str, how: str = "sum") -> str:
    return f"{how} by ({by}) ({metric}{{{_OF}}})"


def _panels(*, webhooks: bool) -> Iterable[tuple[str, str, list[Query]]]:
    """Yield the title, the unit and the queries of each panel."""
    run = "controller_runtime_reconcile"
    yield (
        "Runs",
        "ops",
        [(_rate(f"{run}_total", "controller, result"), "{{controller}} {{result}}")],
    )
    errors = "controller_runtime_terminal_reconcile_errors_total"
    yield (
        "Errors",
        "ops",
        [
            (_rate(f"{run}_errors_total", "controller"), "{{controller}}"),
            (_rate(errors, "controller"), "{{controller}} terminal"),
        ],
    )
    yield "Duration of runs", "s", _quantiles(f"{run}_time_seconds", "controller")
    yield (
        "Workers",
        "short",
        [
            (_gauge("controller_runtime_active_workers", "controller"), "{{controller}} busy"),
            (
                _gauge("controller_runtime_max_concurrent_reconciles", "controller"),
                "{{controller}} all",
            ),
        ],
    )
    yield "Keys that wait", "short", [(_gauge("workqueue_depth", "name"), "{{name}}")]
    yield "Time in the queue", "s", _quantiles("workqueue_queue_duration_seconds", "name")
    yield "Retries", "ops", [(_rate("workqueue_retries_total", "name"), "{{name}}")]
    longest = "workqueue_longest_running_processor_seconds"
    yield "Longest run that goes on", "s", [(_gauge(longest, "name", "max"), "{{name}}")]
    yield (
        "Requests to the API server",
        "reqps",
        [(_rate("rest_client_requests_total", "code, method"), "{{method}} {{code}}")],
    )
    yield "Leader", "short", [(_gauge("leader_election_master_status", "pod", "max"), "{{pod}}")]
    yield "Memory", "bytes", [(_gauge("process_resident_memory_bytes", "pod"), "{{pod}}")]
    yield "CPU", "short", [(_rate("process_cpu_seconds_total", "pod"), "{{pod}}")]
    if not webhooks:
        return
    requests = "controller_runtime_webhook_requests_total"
    yield (
        "Requests to webhooks",
        "reqps",
        [(_rate(requests, "webhook, code"), "{{webhook}} {{code}}")],
    )
    yield (
        "Duration of reviews",
        "s",
        _quantiles("controller_runtime_webhook_latency_seconds", "webhook"),
    )
    expiry = "operatorkit_webhook_certificate_expiry_timestamp_seconds"
    left = f"min by (pod) ({expiry}{{{_OF}}}) - time()"
    yield "Certificate of the webhooks expires in", "s", [(left, "{{pod}}")]


def dashboard(name: str, *, webhooks: bool) -> str:
    """Return the dashboard of the operator `name` as JSON, in a stable order."""
    panels = [_panel(number, *panel) for number, panel in enumerate(_panels(webhooks=webhooks))]
    board = {
        "annotations": {"list": []},
        "editable": True,
        "graphTooltip": 1,
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": _SCHEMA_VERSION,
        "tags": ["operatorkit", name],
        "templating": {"list": _variables(name)},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "title": f"Operator {name}",
        "uid": f"operatorkit-{name}"[:40],
    }
    return json.dumps(board, indent=2, sort_keys=True) + "\n"


def _panel(number: int, title: str, unit: str, queries: list[Query]) -> dict[str, Any]:
    return {
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"min": 0, "unit": unit}, "overrides": []},
        "gridPos": {
            "h": _HEIGHT,
            "w": _WIDTH,
            "x": _WIDTH * (number % 2),
            "y": _HEIGHT * (number // 2),
        },
        "id": number + 1,
        "options": {
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
                "refId": chr(ord("A") + at),
            }
            for at, (query, legend) in enumerate(queries)
        ],
        "title": title,
        "type": "timeseries",
    }


def _variables(name: str) -> list[dict[str, Any]]:
    """Return the choices at the top: the data source, the namespace, and the job of the release."""
    metric = "controller_runtime_max_concurrent_reconciles"
    namespaces = f"label_values({metric}, namespace)"
    jobs = f'label_values({metric}{{namespace="$namespace"}}, job)'
    source = {
        "label": "Data source",
        "name": "datasource",
        "query": "prometheus",
        "type": "datasource",
    }
    return [
        source,
        _query("namespace", "Namespace", namespaces, regex=""),
        _query("job", "Job", jobs, regex=f"/{name}/"),
    ]


def _query(name: str, label: str, query: str, *, regex: str) -> dict[str, Any]:
    return {
        "datasource": _SOURCE,
        "label": label,
        "name": name,
        "query": query,
        "refresh": 2,
        "regex": regex,
        "sort": 1,
        "type": "query",
    }
