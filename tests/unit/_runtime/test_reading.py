"""A webhook function that asks for a reader gets that of its engine, and the operator stays as it was declared."""

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

    one, two = reading(app, "first"), reading(app, "second")
    for bound in (one, two):
        for webhook in bound.webhooks:
            await webhook.function(None, None, None)
    assert given == ["first", "second"]
    assert [webhook.function for webhook in app.webhooks] == [with_reader, without]
    assert one.webhooks[1] is app.webhooks[1]
