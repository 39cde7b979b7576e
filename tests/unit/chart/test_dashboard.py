"""The Grafana dashboard has nothing but what Grafana knows, and queries nothing but metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard as foundation
from prometheus_client.process_collector import ProcessCollector

from operatorkit.chart.dashboard import dashboard
from operatorkit.metrics import METRICS

SUFFIXES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def queries(board: dict) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def series() -> dict[str, set[str]]:
    """Return the labels of each series that an operator exports, with those that Prometheus adds."""
    found = {
        f"{metric.name}{suffix}": {*metric.labels, *({"le"} if metric.kind == "histogram" else ())}
        for metric in METRICS
        for suffix in SUFFIXES[metric.kind]
    }
    for family in ProcessCollector(registry=None).collect():
        for sample in family.samples:
            found[sample.name] = set()
    return {name: labels | {"namespace", "job", "pod"} for name, labels in found.items()}


@pytest.mark.parametrize("webhooks", [True, False])
def test_grafana_reads_every_field_of_the_dashboard(webhooks):
    """Its own models drop what they do not know, so what comes back says what they do."""
    plugins.register_default_plugins()
    board = json.loads(dashboard("keys", webhooks=webhooks))
    back = json.loads(json.dumps(foundation.Dashboard.from_json(board), cls=encoder.JSONEncoder))
    missing = list(_missing(board, back, ""))
    assert missing == []


def _missing(given, back, path):
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(back, dict) or name not in back:
                yield f"{path}.{name}"
            else:
                yield from _missing(value, back[name], f"{path}.{name}")
    elif isinstance(given, list):
        if not isinstance(back, list) or len(given) != len(back):
            yield path
        else:
            for at, (value, other) in enumerate(zip(given, back, strict=True)):
                yield from _missing(value, other, f"{path}[{at}]")
    elif given != back:
        yield f"{path}: {given!r} became {back!r}"


def test_every_metric_of_the_dashboard_exists_with_the_labels_that_it_is_summed_by():
    known = series()
    board = json.loads(dashboard("keys", webhooks=True))
    for query in queries(board):
        [metric] = re.findall(r"([a-z_]+)\{", query)
        assert metric in known, query
        [by] = re.findall(r"by \(([^)]*)\)", query)
        assert set(by.split(", ")) <= known[metric], query
        filters = re.findall(r'(\w+)="', query)
        assert set(filters) <= known[metric], query


def test_legends_name_labels_that_their_series_have():
    for panel in json.loads(dashboard("keys", webhooks=True))["panels"]:
        for target in panel["targets"]:
            [by] = re.findall(r"by \(([^)]*)\)", target["expr"])
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(by.split(", "))


def test_every_metric_of_the_engine_that_people_watch_has_a_panel():
    """Those left out are derived from others, or say how many requests are in flight at the moment of a scrape."""
    shown = set(re.findall(r"([a-z_]+)\{", " ".join(queries(json.loads(dashboard("keys", webhooks=True))))))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert {metric.name for metric in METRICS} - shown == {
        "controller_runtime_webhook_requests_in_flight",
        "workqueue_adds_total",
        "workqueue_unfinished_work_seconds",
        "workqueue_work_duration_seconds",
    }


def test_panels_do_not_overlap_and_have_numbers_of_their_own():
    panels = json.loads(dashboard("keys", webhooks=True))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
