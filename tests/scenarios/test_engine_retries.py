"""How long a key waits after its run has failed, by what it failed for."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from operatorkit import BackOff, Context, Model, Operator, Resource, Settings
from operatorkit.errors import ClusterError, Forbidden, Throttled, Timeout, Unreachable
from operatorkit.resource import NoStatus, ObjectMeta
from operatorkit.testing import eventually


class SiteSpec(Model):
    title: str = "untitled"


class Site(Resource[SiteSpec, NoStatus], group="retries.example.io", version="v1"):
    """A web site."""


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kind behind."""
    return partial(operator, namespace=namespace)


async def create(cluster):
    obj = Site(metadata=ObjectMeta(name="a")).write()
    await cluster.create(Site.api_resource(), obj, namespace=cluster.namespace)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Throttled("slow down", code=429, retry_after_seconds=7.0), 7.0),
        (Forbidden("not allowed", code=403, retry_after_seconds=7.0), 7.0),
        (RuntimeError("not yet"), 0.005),
    ],
    ids=["429", "403", "without"],
)
async def test_a_key_waits_for_as_long_as_the_server_asks(cluster, operator, clock, error, seconds):
    app = Operator("asked", settings=Settings(back_off=BackOff(jitter=0.0)))

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        raise error

    async with operator(app, clock=clock) as running:
        await create(cluster)
        assert await first_delay(running) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unreachable("connection refused"), 10),
        (Timeout("no answer", code=0), 10),
        (Throttled("slow down", code=429), 10),
        (ClusterError("etcd is not well", code=503), 10),
        (Forbidden("not allowed", code=403), 300),
        (RuntimeError("not yet"), 300),
    ],
    ids=["refused", "timeout", "429", "503", "403", "other"],
)
async def test_what_passes_when_the_server_is_back_is_retried_within_ten_seconds(
    cluster, operator, clock, error, seconds
):
    back_off = BackOff(base=timedelta(seconds=300), limit=timedelta(seconds=300), jitter=0.0)
    app = Operator("away", settings=Settings(back_off=back_off))

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        raise error

    async with operator(app, clock=clock) as running:
        await create(cluster)
        assert await first_delay(running) == timedelta(seconds=seconds)


async def first_delay(running):
    """Return for how long the first key that has failed waits; the clock stands still."""
    queue = running.engine.controllers[0].queue
    await eventually(queue.delayed)
    return next(iter(queue.delayed().values()))
