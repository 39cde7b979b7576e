"""Admission webhooks: who is asked about a write, what they are told, and what their answers do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from operatorkit.controlplane._credentials import Authority
from operatorkit.testing import eventually

GROUP = "/apis/admissionregistration.k8s.io/v1"
CREATE = ({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},)
EVERY = (
    {
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": ["configmaps", "deployments", "deployments/*", "pods", "pods/*"],
    },
)
Answer = Callable[[dict[str, Any]], Any]


def allow(_: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def deny(message: str = "", **status: Any) -> Answer:
    return lambda _: {"allowed": False, "status": {**({"message": message} if message else {}), **status}}


def patch(*operations: dict[str, Any]) -> Answer:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda _: {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def label(key: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": f"/metadata/labels/{key}", "value": value}


async def test_a_denial_keeps_code_reason_and_causes(http, webhooks, config_map):
    causes = [{"reason": "FieldValueInvalid", "message": f"no {it}", "field": f"spec.{it}"} for it in "abc"]
    status = {"code": 422, "reason": "Invalid", "details": {"causes": causes}}
    await webhooks.register("validating", webhooks.hook("/v", deny("three faults", **status)))
    answer = await http.post(http.path("configmaps"), config_map())
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"] == 'admission webhook "v.example.org" denied the request: three faults'
    assert answer.json["details"]["causes"] == causes
    assert (await http.get(http.path("configmaps", "a"))).status == 404


@pytest.mark.parametrize(
    ("status", "code", "reported"),
    [
        ({}, 400, 'admission webhook "v.example.org" denied the request without explanation'),
        ({"code": 200}, 400, 'admission webhook "v.example.org" denied the request without explanation'),
        ({"reason": "Forbidden", "code": 403}, 403, 'admission webhook "v.example.org" denied the request: Forbidden'),
    ],
)
async def test_a_denial_says_as_much_as_the_webhook_did(http, webhooks, config_map, status, code, reported):
    await webhooks.register("validating", webhooks.hook("/v", deny(**status)))
    answer = await http.post(http.path("configmaps"), config_map())
    assert (answer.status, answer.json["message"]) == (code, reported)


async def test_a_review_reports_who_wants_what(http, webhooks, config_map):
    rules = [{**EVERY[0], "resources": ["configmaps"]}]
    await webhooks.register("validating", webhooks.hook("/v", allow, rules))
    made = await http.created("configmaps", config_map(data={"k": "v"}))
    await http.patch(http.path("configmaps", "a"), {"data": {"k": "w"}}, query={"fieldManager": "me"})
    await http.delete(http.path("configmaps", "a"))
    created, updated, deleted = webhooks.requests("/v")
    gvk, gvr = (
        {"group": "", "version": "v1", "kind": "ConfigMap"},
        {"group": "", "version": "v1", "resource": "configmaps"},
    )
    for request in created, updated, deleted:
        assert request["kind"] == request["requestKind"] == gvk
        assert request["resource"] == request["requestResource"] == gvr
        assert (request["name"], request["namespace"]) == ("a", http.namespace)
        assert "system:masters" in request["userInfo"]["groups"]
        assert request["dryRun"] is False
    assert [it["operation"] for it in (created, updated, deleted)] == ["CREATE", "UPDATE", "DELETE"]
    assert [it["options"]["kind"] for it in (created, updated, deleted)] == [
        "CreateOptions",
        "UpdateOptions",
        "DeleteOptions",
    ]
    assert updated["options"]["fieldManager"] == "me"
    assert created["oldObject"] is None
    assert deleted["object"] is None
    assert (created["object"]["kind"], created["object"]["apiVersion"]) == ("ConfigMap", "v1")
    assert created["object"]["metadata"]["uid"] == made["metadata"]["uid"]
    assert (updated["oldObject"]["data"], updated["object"]["data"]) == ({"k": "v"}, {"k": "w"})
    assert deleted["oldObject"]["data"] == {"k": "w"}
    assert len({it["uid"] for it in (created, updated, deleted)}) == 3
    assert set(webhooks.queries) == {"timeout=10s"}


async def test_mutations_are_stored_and_the_next_webhook_sees_them(http, webhooks, config_map):
    first = webhooks.hook("/first", patch({"op": "add", "path": "/metadata/labels", "value": {"one": "1"}}))
    second = webhooks.hook("/second", patch(label("two", "2")))
    await webhooks.register("mutating", second, name="b")
    await webhooks.register("mutating", first, name="a")
    await webhooks.register("validating", webhooks.hook("/v", allow))
    made = await http.created("configmaps", config_map())
    assert made["metadata"]["labels"] == {"one": "1", "two": "2"}
    [seen] = webhooks.requests("/second")
    assert seen["object"]["metadata"]["labels"] == {"one": "1"}
    assert "uid" not in seen["object"]["metadata"]
    [seen] = webhooks.requests("/v")
    assert seen["object"]["metadata"]["labels"] == {"one": "1", "two": "2"}


async def test_a_webhook_that_asks_for_it_sees_what_a_later_one_changed(http, webhooks, config_map):
    def count(request: dict[str, Any]) -> dict[str, Any]:
        labels = request["object"]["metadata"].get("labels", {})
        operations = [{"op": "add", "path": "/data", "value": {"labels": str(len(labels))}}]
        return patch(*operations)(request)

    once = webhooks.hook("/once", count)
    again = webhooks.hook("/again", count, reinvocationPolicy="IfNeeded")
    later = webhooks.hook("/later", patch({"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}))
    await webhooks.register("mutating", once, again, later)
    made = await http.created("configmaps", config_map())
    assert made["data"] == {"labels": "1"}
    assert [len(webhooks.requests(it)) for it in ("/once", "/again", "/later")] == [1, 2, 1]


async def test_a_patch_is_validated_like_anything_else(http, webhooks, config_map):
    await webhooks.register("mutating", webhooks.hook("/m", patch({"op": "add", "path": "/data", "value": {"!": ""}})))
    answer = await http.post(http.path("configmaps"), config_map())
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert "data[!]" in answer.json["message"]


async def test_warnings_reach_the_client_with_admission_and_with_denial(http, webhooks, config_map):
    def evaluate(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": request["name"] == "good", "warnings": ["unwise", 'with "quotes"']}

    await webhooks.register("validating", webhooks.hook("/v", evaluate))
    for name, status in ("good", 201), ("bad", 400):
        answer = await http.post(http.path("configmaps"), config_map(name))
        assert answer.status == status
        assert answer.warnings == ('299 - "unwise"', '299 - "with \\"quotes\\""')


async def test_a_warning_that_cannot_be_a_header_is_dropped(http, webhooks, config_map):
    warnings = ["one\r\nX-Two: two", "", "a\tb", "kept"]
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True, "warnings": warnings}))
    answer = await http.post(http.path("configmaps"), config_map())
    assert (answer.status, answer.warnings) == (201, ('299 - "kept"',))
    assert "x-two" not in answer.headers


async def test_each_path_of_a_write_is_asked_about(http, webhooks, config_map, request):
    await webhooks.register("validating", webhooks.hook("/v", allow, EVERY))
    path = http.path("configmaps", "a")
    made = await http.created("configmaps", config_map())
    await http.put(path, made | {"data": {"x": "1"}})
    await http.patch(path, [{"op": "add", "path": "/data/y", "value": "1"}], "json")
    await http.patch(path, {"data": {"y": "2"}}, "strategic")
    await http.apply(path, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"z": "3"}})
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"z": "3"}}
    answer = await http.apply(http.path("configmaps", "b"), applied)
    assert answer.status == 201, answer.text
    await http.delete(path)
    assert (await http.delete(http.path("configmaps"), query={"fieldSelector": "metadata.name=b"})).status == 200
    found = [(it["operation"], it.get("name", "")) for it in webhooks.requests("/v")]
    updates = found.count(("UPDATE", "a"))
    # kube-apiserver tries an update first on the object of its watch cache; where that is behind, it tries again on the
    # stored one, and asks again. Source: k8s.io/apiserver/pkg/storage/etcd3, GuaranteedUpdate
    assert updates == 4 if request.config.getoption("--controlplane") == "embedded" else updates >= 4
    assert found[: updates + 4] == [
        ("CREATE", "a"),
        *(("UPDATE", "a") for _ in range(updates)),
        ("CREATE", "b"),
        ("DELETE", "a"),
        ("DELETE", ""),
    ]
    assert webhooks.requests("/v")[updates + 3]["oldObject"]["metadata"]["name"] == "b"


async def test_a_denied_deletion_leaves_the_object(http, webhooks, config_map):
    rules = [{**CREATE[0], "operations": ["DELETE"]}]
    await webhooks.register("validating", webhooks.hook("/v", deny("keep it", code=403), rules))
    await http.created("configmaps", config_map())
    for path in http.path("configmaps", "a"), http.path("configmaps"):
        answer = await http.delete(path, query={"fieldSelector": "metadata.name=a"} if path.endswith("s") else None)
        assert answer.status == 403
        assert answer.json["message"] == 'admission webhook "v.example.org" denied the request: keep it'
    assert (await http.get(http.path("configmaps", "a"))).status == 200
    webhooks.answers["/v"] = allow


def deployment() -> dict[str, Any]:
    labels = {"app": "a"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {"metadata": {"name": "d"}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}}


async def test_status_and_scale_are_asked_about_as_what_they_are(http, webhooks):
    rules = [{**EVERY[0], "operations": ["UPDATE"], "resources": ["deployments/status", "deployments/scale"]}]
    rules[0]["apiGroups"] = ["apps"]
    await http.created("apps/v1/deployments", deployment())
    await webhooks.register("validating", webhooks.hook("/v", allow, rules))
    path = http.path("apps/v1/deployments", "d", sub="scale")
    answer = await http.patch(path, {"spec": {"replicas": 2}}, query={"fieldManager": "test-scale"})
    assert answer.status == 200, answer.text
    request = next(it for it in webhooks.requests("/v") if it["subResource"] == "scale")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["resource"] == {"group": "apps", "version": "v1", "resource": "deployments"}
    assert request["object"]["spec"] == {"replicas": 2}
    assert "replicas" not in request["oldObject"]["spec"]
    path = http.path("apps/v1/deployments", "d", sub="status")
    await http.patch(path, {"status": {"observedGeneration": 7}}, query={"fieldManager": "test-status"})
    mine = [it for it in webhooks.requests("/v") if it["options"].get("fieldManager") == "test-status"]
    assert {(it["kind"]["kind"], it["requestSubResource"]) for it in mine} == {("Deployment", "status")}


async def test_a_scale_can_be_mutated(http, webhooks):
    rules = [{**EVERY[0], "operations": ["UPDATE"], "resources": ["deployments/scale"], "apiGroups": ["apps"]}]
    await http.created("apps/v1/deployments", deployment())
    change = patch({"op": "replace", "path": "/spec/replicas", "value": 1})
    await webhooks.register("mutating", webhooks.hook("/m", change, rules))
    path = http.path("apps/v1/deployments", "d")
    before = (await http.get(path)).json["metadata"]["generation"]
    answer = await http.patch(http.path("apps/v1/deployments", "d", sub="scale"), {"spec": {"replicas": 100}})
    assert answer.json["spec"]["replicas"] == 1
    after = (await http.get(path)).json
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (1, before + 1)


async def test_selectors_and_operations_choose_what_a_webhook_is_asked_about(http, webhooks, config_map):
    selector = {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}
    await webhooks.register(
        "validating",
        webhooks.hook("/labelled", deny("labelled"), objectSelector=selector),
        webhooks.hook("/elsewhere", deny("elsewhere"), namespaceSelector={"matchLabels": {"not": "here"}}),
        webhooks.hook("/updates", deny("updates"), [{**CREATE[0], "operations": ["UPDATE"]}]),
        webhooks.hook("/cluster", deny("cluster"), [{**CREATE[0], "scope": "Cluster"}]),
    )
    assert (await http.post(http.path("configmaps"), config_map("free"))).status == 201
    answer = await http.post(http.path("configmaps"), config_map("bound", labels={"team": "a"}))
    assert "labelled" in answer.json["message"]
    answer = await http.patch(http.path("configmaps", "free"), {"data": {"a": "b"}})
    assert "updates" in answer.json["message"]
    assert not webhooks.requests("/elsewhere") + webhooks.requests("/cluster")


async def test_an_equivalent_resource_is_shown_in_the_version_of_the_rule(http, webhooks):
    rules = [{**CREATE[0], "apiGroups": ["events.k8s.io"], "resources": ["events"]}]
    exact = webhooks.hook("/exact", deny("exact"), rules, matchPolicy="Exact")
    await webhooks.register("validating", webhooks.hook("/v", allow, rules), exact)
    involved = {"kind": "Pod", "namespace": http.namespace, "name": "p"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "message": "m", "type": "Normal"}
    await http.created("events", event)
    [request] = webhooks.requests("/v")
    assert request["requestKind"] == {"group": "", "version": "v1", "kind": "Event"}
    assert request["kind"] == {"group": "events.k8s.io", "version": "v1", "kind": "Event"}
    assert request["resource"]["group"] == "events.k8s.io"
    assert (request["object"]["apiVersion"], request["object"]["note"]) == ("events.k8s.io/v1", "m")
    assert not webhooks.requests("/exact")


async def test_a_dry_run_asks_only_webhooks_without_side_effects(http, webhooks, config_map):
    await webhooks.register("validating", webhooks.hook("/v", allow, sideEffects="NoneOnDryRun"))
    answer = await http.post(http.path("configmaps"), config_map(), query={"dryRun": "All"})
    assert answer.status == 201
    [request] = webhooks.requests("/v")
    assert request["dryRun"] is True
    assert request["options"]["dryRun"] == ["All"]
    assert (await http.get(http.path("configmaps", "a"))).status == 404


FAILURES = {
    "500": (lambda _: web.Response(status=500, text="boom"), 'an error on the server ("boom") has prevented the request'),
    "404": (lambda _: web.Response(status=404), "the server could not find the requested resource"),
    "nonsense": (lambda _: web.Response(text="hello"), ""),
    "uid": (lambda _: {"uid": "other", "allowed": True}, "received invalid webhook response: expected response.uid="),
    "absent": (
        lambda it: web.json_response({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}),
        "received invalid webhook response: webhook response was absent",
    ),
    "patched": (
        patch(label("a", "b")),
        "received invalid webhook response: validating webhook may not return response.patch",
    ),
    "list": (lambda _: web.json_response([1]), ""),
}  # fmt: skip


@pytest.mark.parametrize("error_found", FAILURES)
async def test_an_answer_that_is_none_fails_the_request_or_is_passed_over(http, webhooks, config_map, error_found):
    answer, reported = FAILURES[error_found]
    await webhooks.register("validating", webhooks.hook("/open", answer, failurePolicy="Ignore"))
    assert (await http.post(http.path("configmaps"), config_map())).status == 201
    await webhooks.register("validating", webhooks.hook("/shut", answer), name="b")
    rejected = await http.post(http.path("configmaps"), config_map("b"))
    assert (rejected.status, rejected.json["reason"]) == (500, "InternalError")
    text = 'Internal error occurred: failed calling webhook "shut.example.org": '
    assert rejected.json["message"].startswith(text)
    assert reported in rejected.json["message"]
    assert (await http.get(http.path("configmaps", "b"))).status == 404


async def test_a_webhook_that_is_down_is_named_with_its_address(http, webhooks, config_map):
    hook = webhooks.hook("/v", None)
    hook["clientConfig"]["url"] = "https://127.0.0.1:1/v"
    await webhooks.register("validating", hook)
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.json["message"] == (
        'Internal error occurred: failed calling webhook "v.example.org": failed to call webhook: Post '
        '"https://127.0.0.1:1/v?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )


async def test_a_webhook_at_a_port_that_cannot_be_is_passed_over_or_fails(http, webhooks, config_map):
    hook = webhooks.hook("/v", None, failurePolicy="Ignore")
    hook["clientConfig"]["url"] = "https://127.0.0.1:99999/v"
    await webhooks.register("validating", hook)
    assert (await http.post(http.path("configmaps"), config_map())).status == 201
    await webhooks.register("validating", hook | {"failurePolicy": "Fail"}, name="b")
    answer = await http.post(http.path("configmaps"), config_map("b"))
    assert answer.json["message"] == (
        'Internal error occurred: failed calling webhook "v.example.org": failed to call webhook: Post '
        '"https://127.0.0.1:99999/v?timeout=10s": dial tcp: address 99999: invalid port'
    )


async def test_a_webhook_behind_a_service_that_is_not_there_is_named(http, webhooks, config_map):
    hook = webhooks.hook("/v", None)
    hook["clientConfig"] = {"service": {"name": "nobody", "namespace": http.namespace, "path": "/v"}}
    await webhooks.register("validating", hook)
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.json["message"] == (
        'Internal error occurred: failed calling webhook "v.example.org": failed to call webhook: Post '
        f'"https://nobody.{http.namespace}.svc:443/v?timeout=10s": service "nobody" not found'
    )


async def test_a_slow_webhook_is_waited_for_as_long_as_it_may_take(http, webhooks, config_map):
    async def slow() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {"allowed": True}

    await webhooks.register("validating", webhooks.hook("/v", lambda _: slow(), timeoutSeconds=1))
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.json["message"].endswith('/v?timeout=1s": context deadline exceeded')
    assert answer.status == 500


async def test_a_webhook_with_a_certificate_of_another_owner_is_not_believed(http, webhooks, config_map):
    hook = webhooks.hook("/v", allow)
    hook["clientConfig"]["caBundle"] = base64.b64encode(Authority.create("another").cert_pem).decode()
    await webhooks.register("validating", hook)
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.status == 500
    assert "tls: failed to verify certificate: x509: certificate signed by unknown authority" in answer.json["message"]
    assert not webhooks.requests("/v")


async def test_configurations_of_webhooks_are_shown_to_no_webhook(http, webhooks):
    rules = [{**CREATE[0], "operations": ["*"], "apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"]}]
    hook = webhooks.hook("/v", deny("never"), rules, namespaceSelector={})
    await webhooks.register("validating", hook)
    path = webhooks.registered[0]
    assert (await http.patch(path, {"metadata": {"labels": {"a": "b"}}})).status == 200
    assert not webhooks.requests("/v")


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"name": "short"}, 'webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots'),
        ({"sideEffects": "Some"}, 'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
        ({"sideEffects": None}, "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        ({"admissionReviewVersions": ["v2"]}, 'webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1'),
        ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"),
        ({"failurePolicy": "Maybe"}, 'webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"'),
        ({"clientConfig": {"url": "http://127.0.0.1/"}}, "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"),
        ({"clientConfig": {}}, "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        ({"rules": [{**CREATE[0], "operations": ["LOOK"]}]}, 'webhooks[0].rules[0].operations[0]: Unsupported value: "LOOK": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"'),
        ({"rules": [{**CREATE[0], "resources": ["*", "pods"]}]}, "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources"),
    ],
)  # fmt: skip
async def test_a_faulty_configuration_is_rejected(http, webhooks, change, reported):
    hook = {name: it for name, it in (webhooks.hook("/v", allow) | change).items() if it is not None}
    body = {"metadata": {"name": f"{http.namespace}-bad"}, "webhooks": [hook]}
    answer = await http.post(f"{GROUP}/validatingwebhookconfigurations", body)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    name = f'"{http.namespace}-bad"'
    kind = "ValidatingWebhookConfiguration.admissionregistration.k8s.io"
    assert answer.json["message"] == f"{kind} {name} is invalid: {reported}"


async def test_conditions_that_are_not_evaluated_are_warned_of(http, webhooks, is_real):
    condition = {"name": "never", "expression": "false"}
    body = {"metadata": {"name": f"{http.namespace}-c"}, "webhooks": [webhooks.hook("/v", allow)]}
    body["webhooks"][0]["matchConditions"] = [condition]
    answer = await http.post(f"{GROUP}/validatingwebhookconfigurations", body, query={"dryRun": "All"})
    assert answer.status == 201
    assert bool(answer.warnings) is not is_real


async def test_a_custom_object_is_pruned_and_defaulted_after_a_patch_too(http, webhooks, establish):
    spec = {"type": "object", "properties": {"size": {"type": "integer"}, "mode": {"type": "string", "default": "m"}}}
    path = await establish("Thing", {"type": "object", "properties": {"spec": spec}})
    group = f"{http.namespace}.example.org"
    rules = [{**CREATE[0], "apiGroups": [group], "apiVersions": ["v2"], "resources": ["things"]}]
    change = patch({"op": "add", "path": "/spec", "value": {"size": 2, "unknown": True}})
    await webhooks.register("mutating", webhooks.hook("/m", change, rules))
    answer = await http.post(path, {"kind": "Thing", "apiVersion": f"{group}/v1", "metadata": {"name": "t"}})
    assert answer.status == 201, answer.text
    assert (answer.json["apiVersion"], answer.json["spec"]) == (f"{group}/v1", {"size": 2, "mode": "m"})
    [request] = webhooks.requests("/m")
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v2", "v1")
    assert request["object"]["apiVersion"] == f"{group}/v2"


async def test_an_eviction_is_shown_as_an_eviction(http, webhooks):
    rules = [{**CREATE[0], "operations": ["*"], "resources": ["pods", "pods/eviction"]}]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}

    async def made() -> bool:  # once the namespace has its service account
        return (await http.post(http.path("pods"), pod)).status in {201, 409}

    await eventually(made)
    await webhooks.register("validating", webhooks.hook("/v", deny("stay", code=403), rules))
    body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p", "namespace": http.namespace}}
    answer = await http.post(http.path("pods", "p", sub="eviction"), body)
    assert (answer.status, answer.json["message"]) == (
        403,
        'admission webhook "v.example.org" denied the request: stay',
    )
    request = webhooks.requests("/v")[0]
    assert (request["operation"], request["subResource"]) == ("CREATE", "eviction")
    assert request["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert request["resource"]["resource"] == "pods"
    webhooks.answers["/v"] = allow
    assert (await http.post(http.path("pods", "p", sub="eviction"), body)).status == 201


async def test_a_generated_name_is_not_yet_there_for_mutating_webhooks(http, webhooks):
    await webhooks.register("mutating", webhooks.hook("/m", patch({"op": "add", "path": "/data", "value": {"a": "b"}})))
    await webhooks.register("validating", webhooks.hook("/v", allow))
    made = await http.created("configmaps", {"metadata": {"generateName": "g-"}})
    assert made["data"] == {"a": "b"}
    [mutated], [validated] = webhooks.requests("/m"), webhooks.requests("/v")
    assert "name" not in mutated["object"]["metadata"]
    assert "name" not in mutated
    assert validated["object"]["metadata"]["name"] == made["metadata"]["name"]


async def test_what_the_server_allocates_is_not_yet_there_for_mutating_webhooks(http, webhooks):
    rules = [{**CREATE[0], "resources": ["services"]}]
    await webhooks.register("mutating", webhooks.hook("/m", patch(label("b", "2")), rules))
    service = {"metadata": {"name": "s", "labels": {"a": "1"}}, "spec": {"ports": [{"port": 80}]}}
    made = await http.created("services", service)
    assert (made["metadata"]["labels"], bool(made["spec"]["clusterIP"])) == ({"a": "1", "b": "2"}, True)
    [request] = webhooks.requests("/m")
    assert "clusterIP" not in request["object"]["spec"]
    assert "f:clusterIP" not in made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
