"""A webhook function gets what it has arguments for, of its engine, and the operator stays as it was declared."""

from __future__ import annotations

from kubernetes.client.models import V1ConfigMap, V1Pod

from operatorkit import Allowed, Operator
from operatorkit._runtime.reading import reading


async def test_a_reader_is_bound_to_the_functions_that_take_one():
    app, given = Operator("pods"), []

    @app.validate(V1Pod)
    async def with_reader(new, old, request, *, reader):
        given.append(reader)
        return Allowed()

    @app.validate(V1ConfigMap)
    async def without(new, old, request):
        return Allowed()

    one, two = (reading(app, name, events=None, api=None) for name in ("first", "second"))
    for bound in (one, two):
        for webhook in bound.webhooks:
            await webhook.function(None, None, None)
    assert given == ["first", "second"]
    assert [webhook.function for webhook in app.webhooks] == [with_reader, without]
    assert one.webhooks[1] is app.webhooks[1]


async def test_the_recorder_and_the_cluster_are_bound_to_the_functions_that_take_them():
    app, given = Operator("pods"), []

    @app.validate(V1Pod, side_effects="NoneOnDryRun")
    async def recording(new, old, request, *, reader, events, api):
        given.append((reader, events, api))
        return Allowed()

    @app.mutate(V1ConfigMap, subresources=["x"])
    async def reading_too(obj, request, *, reader):
        given.append(reader)
        return Allowed()

    recorder, mutator = reading(app, "reader", events="events", api="api").webhooks
    await recorder.function(None, None, None)
    await mutator.function(None, None)
    assert given == [("reader", "events", "api"), "reader"]
    assert mutator.subresources == ("x",)
