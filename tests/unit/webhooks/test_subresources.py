"""A webhook judges the subresources that it names, and no others."""

from __future__ import annotations

import json

import pytest
from kubernetes.client.models import V1Pod

from operatorkit import Allowed, Operator
from operatorkit.webhooks import configurations
from operatorkit.webhooks.dispatch import Dispatcher


@pytest.fixture
def app():
    app = Operator("pods")

    @app.validate(V1Pod, subresources=["ephemeralcontainers"])
    async def validate(new, old, request):
        return Allowed()

    return app


def review(subresource):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}
    request = {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"resource": "pods"},
        "subResource": subresource, "operation": "UPDATE", "name": "a", "namespace": "b", "object": pod, "oldObject": pod,
    }  # fmt: skip
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_they_are_in_the_rule_of_the_webhook(app):
    (manifest,) = configurations("pods", app.webhooks, at="https://127.0.0.1:9443")
    assert manifest["webhooks"][0]["rules"][0]["resources"] == ["pods", "pods/ephemeralcontainers"]


@pytest.mark.parametrize(("subresource", "allowed"), [("", True), ("ephemeralcontainers", True), ("resize", False)])
async def test_a_review_of_another_is_an_error(app, subresource, allowed):
    answer = await Dispatcher(app.webhooks).answer(app.webhooks[0], review(subresource), seconds=5)
    assert answer.body["response"]["allowed"] is allowed
