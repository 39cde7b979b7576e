"""What an engine measures, who may read it, and the line of the log for each run."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import aiohttp
import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource, TerminalError
from operatorkit._runtime.health import Scrape, _is_loopback, serve_health
from operatorkit._runtime.metrics_access import MetricsAccess
from operatorkit._runtime.prometheus import PrometheusMetrics
from operatorkit._runtime.requests import Requests, counted_requests, observer
from operatorkit.cluster import LiveCluster, load_config
from operatorkit.errors import Unreachable
from operatorkit.metrics import METRICS, NoMetrics
from operatorkit.names import ApiResource
from operatorkit.resource import NoStatus, ObjectMeta
from operatorkit.testing import FakeClock, eventually

prometheus_client = pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")


class GaugeSpec(Model):
    text: str = ""


class Reading(Resource[GaugeSpec, NoStatus], group="metrics.example.io", version="v1"):
    """A value to copy into a ConfigMap."""


READINGS = Reading.api_resource()


def app_of() -> Operator:
    app = Operator("meter")

    @app.reconcile(Reading, owns=[V1ConfigMap], workers=3)
    async def reconcile(reading: Reading, ctx: Context) -> None:
        if reading.spec.text == "broken":
            raise TerminalError("it is broken")
        await ctx.apply(V1ConfigMap(metadata={"name": reading.metadata.name}, data={"text": reading.spec.text}))

    return app


async def create(cluster: Any, name: str, text: str) -> None:
    obj = Reading(metadata=ObjectMeta(name=name), spec=GaugeSpec(text=text)).write()
    await cluster.create(READINGS, obj, namespace=cluster.namespace)


def values(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[:1] != "#"}


async def test_runs_queues_and_workers_are_measured_under_the_names_of_controller_runtime(cluster, operator):
    metrics = PrometheusMetrics(prometheus_client.CollectorRegistry())
    async with operator(app_of(), metrics=metrics) as running:
        await create(cluster, "a", "one")
        await create(cluster, "b", "broken")
        await running.idle()
        body, content_type = metrics.render(running.engine, None)
        assert content_type.startswith("text/plain")
        found = values(body.decode())
    assert found['controller_runtime_reconcile_total{controller="reading",result="error"}'] == 1
    assert found['controller_runtime_reconcile_errors_total{controller="reading"}'] == 1
    assert found['controller_runtime_terminal_reconcile_errors_total{controller="reading"}'] == 1
    runs = found['controller_runtime_reconcile_total{controller="reading",result="success"}']
    assert runs >= 1
    assert found['controller_runtime_reconcile_time_seconds_count{controller="reading"}'] == runs + 1
    assert found['controller_runtime_max_concurrent_reconciles{controller="reading"}'] == 3
    assert found['controller_runtime_active_workers{controller="reading"}'] == 0
    queue = '{controller="reading",name="reading"}'
    assert found[f"workqueue_adds_total{queue}"] == found[f"workqueue_work_duration_seconds_count{queue}"] == runs + 1
    assert found[f"workqueue_queue_duration_seconds_count{queue}"] == runs + 1
    assert found[f"workqueue_depth{queue}"] == found[f"workqueue_retries_total{queue}"] == 0
    families = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}
    assert {metric.name for metric in METRICS} <= families


async def test_the_log_has_a_line_for_each_run_with_cause_duration_requests_and_result(cluster, operator, caplog):
    caplog.set_level(logging.DEBUG, "operatorkit.runtime")
    async with operator(app_of()) as running:
        await create(cluster, "a", "one")
        await running.idle()
    lines = [it.getMessage() for it in caplog.records if ": reconciled in " in it.getMessage()]
    pattern = rf"Reading {cluster.namespace}/a: reconciled in [\d.]+ ms because of its own change \(ADDED\): \d+ requests?, success"
    assert re.fullmatch(pattern, lines[0]), lines


async def test_requests_are_counted_for_the_run_that_sent_them_and_by_code(controlplane, namespace):
    registry = prometheus_client.CollectorRegistry()
    observe = observer(PrometheusMetrics(registry), "server:6443")
    config_maps = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)

    async with LiveCluster(load_config(controlplane.kubeconfig(namespace=namespace)), observe=observe) as api:

        async def lists(count: int) -> Requests:
            with counted_requests() as requests:
                for _ in range(count):
                    await asyncio.create_task(api.list(config_maps, namespace=namespace))
            return requests

        assert [it.count for it in await asyncio.gather(lists(1), lists(3))] == [1, 3]
    found = values(prometheus_client.generate_latest(registry).decode())
    assert found['rest_client_requests_total{code="200",host="server:6443",method="GET"}'] == 4


def test_a_run_names_one_request_and_many() -> None:
    one, many = Requests(), Requests()
    one.count, many.count = 1, 2
    assert (str(one), str(many), str(Requests())) == ("1 request", "2 requests", "0 requests")
    observer(NoMetrics(), "host")


@pytest.mark.parametrize(
    ("remote", "plain"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.7", False), ("::ffff:10.0.0.7", False)],
)
def test_only_a_loopback_address_reads_metrics_without_a_token(remote: str, plain: bool) -> None:
    assert _is_loopback(remote) is plain
    assert not _is_loopback(None)


@pytest.fixture
def from_elsewhere(monkeypatch):
    """Let clients on this machine count as others."""
    monkeypatch.setattr("operatorkit._runtime.health._is_loopback", lambda _: False)


async def scrape(port: int, token: str | None = None, scheme: str = "Bearer") -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


def rendered() -> tuple[bytes, str]:
    return b"up 1\n", "text/plain"


async def token_of(cluster: Any, name: str) -> str:
    accounts = ApiResource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)
    await cluster.create(accounts, {"metadata": {"name": name}}, namespace=cluster.namespace)
    path = f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return (await cluster.request("POST", path, body=request))["status"]["token"]


async def test_a_client_elsewhere_needs_a_token_that_may_get_the_path(cluster, from_elsewhere):
    reader, stranger = await token_of(cluster, "prometheus"), await token_of(cluster, "stranger")
    rbac, name = "/apis/rbac.authorization.k8s.io/v1", f"metrics-{cluster.namespace}"
    rules = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    await cluster.request("POST", f"{rbac}/clusterroles", body={"metadata": {"name": name}, "rules": rules})
    await cluster.request(
        "POST",
        f"{rbac}/clusterrolebindings",
        body={
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": cluster.namespace}],
        },
    )
    try:
        clock = FakeClock()
        access = MetricsAccess(cluster, clock)
        metrics = Scrape(render=rendered, access=access.status)
        async with serve_health(0, live=dict, ready=dict, metrics=metrics) as port:
            assert await scrape(port) == (401, "a bearer token is required\n")
            assert await scrape(port, reader, scheme="Basic") == (401, "a bearer token is required\n")
            assert await scrape(port, "made-up") == (401, "the token is not valid\n")
            assert await scrape(port, stranger) == (403, "the user may not get /metrics\n")

            async def allowed() -> bool:  # a kube-apiserver learns of a new role a moment later
                await clock.advance(11)
                return await scrape(port, reader) == (200, "up 1\n")

            await eventually(allowed)
            reviews = len(cluster.calls)
            assert await scrape(port, reader) == (200, "up 1\n")
            assert len(cluster.calls) == reviews, "a decision is used again"
            await clock.advance(61)
            assert await scrape(port, reader) == (200, "up 1\n")
            assert len(cluster.calls) == reviews + 2
    finally:
        await cluster.request("DELETE", f"{rbac}/clusterrolebindings/{name}")
        await cluster.request("DELETE", f"{rbac}/clusterroles/{name}")


async def test_metrics_are_plain_on_loopback_and_absent_where_they_are_not_kept():
    async def never(token: str) -> int:
        raise AssertionError(f"{token} is reviewed")

    async with serve_health(0, live=dict, ready=dict, metrics=Scrape(render=rendered, access=never)) as port:
        assert await scrape(port) == (200, "up 1\n")
    async with serve_health(0, live=dict, ready=dict) as port:
        assert (await scrape(port))[0] == 404


async def test_an_api_server_that_is_away_denies_metrics_and_names_the_cause(from_elsewhere):
    async def away(token: str) -> int:
        del token
        raise Unreachable("connection refused")

    async with serve_health(0, live=dict, ready=dict, metrics=Scrape(render=rendered, access=away)) as port:
        assert await scrape(port, "a") == (503, "the token cannot be reviewed: connection refused\n")


async def test_of_many_tokens_only_a_bounded_number_is_remembered():
    class Denying:
        count = 0

        async def request(self, *_: Any, **__: Any) -> Any:
            self.count += 1
            return {"status": {"authenticated": False}}

    api = Denying()
    access = MetricsAccess(api, FakeClock())  # type: ignore[arg-type]
    for number in range(300):
        assert await access.status(str(number)) == 401
    assert await access.status("299") == 401
    assert (api.count, len(access._decisions)) == (300, 100)
