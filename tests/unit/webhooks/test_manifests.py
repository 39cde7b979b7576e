"""What is told an API server about the webhooks of an operator."""

from __future__ import annotations

import pytest
from kubernetes.client.models import V1Namespace, V1Pod

from operatorkit import Allowed, DefinitionError, Operator, Resource
from operatorkit.resource import NoSpec, NoStatus
from operatorkit.webhooks.manifests import ServiceReference, configurations


class External(Resource[NoSpec, NoStatus], group="example.org", version="v1", external=True):
    """A kind that somebody else defines."""


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


SERVICE = ServiceReference(namespace="system", name="things-webhook")
DECLARED = {"matchLabels": {"tier": "prod"}, "matchExpressions": [{"key": "env", "operator": "Exists"}]}


SYSTEM = ("kube-system", "kube-node-lease")


def label(operator, *namespaces):
    return {"key": "kubernetes.io/metadata.name", "operator": operator, "values": list(namespaces)}


@pytest.mark.parametrize(
    ("kind", "at", "namespace", "added"),
    [
        ("Thing", SERVICE, None, []),
        ("Thing", SERVICE, "team", [label("In", "team")]),
        ("Thing", "https://127.0.0.1:9443", "team", [label("In", "team")]),
        ("Pod", SERVICE, None, [label("NotIn", "system", *SYSTEM)]),
        ("External", SERVICE, None, [label("NotIn", "system", *SYSTEM)]),
        ("Pod", SERVICE, "team", [label("In", "team"), label("NotIn", "system")]),
        ("Pod", SERVICE, "system", [label("In", "system"), label("NotIn", "system")]),
        ("Pod", "https://127.0.0.1:9443", None, [label("NotIn", *SYSTEM)]),
        ("Pod", "https://127.0.0.1:9443", "team", [label("In", "team")]),
        ("Namespace", SERVICE, "team", []),
    ],
)
@pytest.mark.parametrize("declared", [None, DECLARED])
def test_a_webhook_is_asked_where_its_operator_works_and_never_about_its_own_pod(
    reviews, kind, at, namespace, added, declared
):
    """Asked about its own Pod with nobody to answer, it would never start."""
    app = Operator("things")
    classes = {"Thing": reviews.Thing, "Pod": V1Pod, "Namespace": V1Namespace, "External": External}
    app.validate(classes[kind], namespace_selector=declared)(allow)
    ((entry,),) = (found["webhooks"] for found in registered(app, at=at, namespace=namespace))
    selector = entry["namespaceSelector"]
    assert selector.get("matchExpressions", []) == [*(declared or {}).get("matchExpressions", []), *added]
    assert selector.get("matchLabels") == (declared or {}).get("matchLabels")
    assert len(DECLARED["matchExpressions"]) == 1, "what was declared is not changed"


@pytest.mark.parametrize(
    "declared",
    [{"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, {"matchExpressions": [label("NotIn", "a")]}],
)
def test_an_author_who_names_namespaces_has_decided_about_those_of_the_system_too(declared):
    app = Operator("things")
    app.validate(V1Pod, namespace_selector=declared)(allow)
    ((entry,),) = (found["webhooks"] for found in registered(app, at=SERVICE))
    added = entry["namespaceSelector"]["matchExpressions"][len(declared.get("matchExpressions", [])) :]
    assert added == [label("NotIn", "system")]


@pytest.mark.parametrize(
    ("namespace", "name"),
    [(None, "things.operatorkit.dev"), ("team", "things.team.operatorkit.dev")],
)
def test_a_webhook_configuration_by_url_is_named_after_the_operator_and_its_namespace(reviews, namespace, name):
    app = Operator("things")
    app.validate(reviews.Thing)(allow)
    (found,) = registered(app, namespace=namespace)
    assert found["metadata"]["name"] == name


def test_a_webhook_configuration_behind_a_service_is_named_after_that_wherever_its_operator_works(reviews):
    app = Operator("things")
    app.validate(reviews.Thing)(allow)
    for namespace in (None, "team"):
        (found,) = registered(app, at=SERVICE, namespace=namespace)
        assert found["metadata"]["name"] == "things-webhook.system.operatorkit.dev"


def test_the_service_of_a_long_name_is_one_that_kubernetes_takes():
    assert len(ServiceReference.of("x" * 63, namespace="system").name) <= 63


def test_two_versions_of_a_kind_are_evaluated_by_one_webhook(reviews):
    class Newer(Resource[NoSpec, NoStatus], group="example.io", version="v2", plural="things"):
        """A thing of tomorrow."""

    app = Operator("things")
    app.validate(reviews.Thing)(allow)
    with pytest.raises(DefinitionError, match=r"things\.example\.io has validate functions for two of its versions"):
        app.validate(Newer)(allow)
