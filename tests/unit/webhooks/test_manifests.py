"""What is told an API server about the webhooks of an operator."""

from __future__ import annotations

import pytest

from operatorkit import Allowed, Operator
from operatorkit.webhooks.manifests import ServiceReference, configurations


async def allow(*_):
    return Allowed()


def registered(app, **options):
    return configurations(app.name, app.webhooks, **{"at": "https://127.0.0.1:9443", **options})


@pytest.mark.parametrize(("reinvocation", "policy"), [(True, "IfNeeded"), (False, "Never")])
def test_a_mutating_webhook_is_asked_again_only_where_it_says_so(reviews, reinvocation, policy):
    app = Operator("things")
    app.mutate(reviews.Thing, reinvocation=reinvocation)(allow)
    ((entry,),) = (found["webhooks"] for found in registered(app))
    assert entry["reinvocationPolicy"] == policy


def test_each_verb_has_a_configuration_of_its_own_and_the_mutating_one_comes_first(reviews):
    app = Operator("things")
    app.validate(reviews.Thing)(allow)
    app.mutate(reviews.Thing)(allow)
    found = registered(app)
    assert [one["kind"] for one in found] == ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
    assert "reinvocationPolicy" not in found[1]["webhooks"][0]


def test_a_service_is_known_by_all_the_names_that_a_cluster_resolves():
    service = ServiceReference.of("things", namespace="system")
    assert service.hosts == (
        "things-webhook.system.svc",
        "things-webhook.system.svc.cluster.local",
        "things-webhook.system",
    )
