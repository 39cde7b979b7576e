"""What webhooks may answer, and what becomes of it: the same words, codes and objects on every control plane."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from aiohttp import web


def patched(*operations: Any, **more: Any) -> Any:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda _: {"allowed": True, "patchType": "JSONPatch", "patch": encoded, **more}


def added(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


SPEC = {"type": "object", "properties": {"size": {"type": "integer"}}}
THING = {"type": "object", "properties": {"spec": SPEC}}

MISMATCHES = {
    "allowed": ({"allowed": "true"}, "cannot unmarshal string into Go struct field AdmissionResponse.response.allowed of type bool"),
    "status": ({"status": []}, "cannot unmarshal array into Go struct field AdmissionResponse.response.status of type v1.Status"),
    "message": ({"status": {"message": 5}}, "cannot unmarshal number into Go struct field Status.response.status.message of type string"),
    "code": ({"status": {"code": "403"}}, "cannot unmarshal string into Go struct field Status.response.status.code of type int32"),
    "fraction": ({"status": {"code": 403.5}}, "cannot unmarshal number 403.5 into Go struct field Status.response.status.code of type int32"),
    "details": ({"status": {"details": []}}, "cannot unmarshal array into Go struct field Status.response.status.details of type v1.StatusDetails"),
    "warnings": ({"warnings": "x"}, "cannot unmarshal string into Go struct field AdmissionResponse.response.warnings of type []string"),
    "warning": ({"warnings": [1]}, "cannot unmarshal number into Go struct field AdmissionResponse.response.warnings of type string"),
    "annotation": ({"auditAnnotations": {"a": 1}}, "cannot unmarshal number into Go struct field AdmissionResponse.response.auditAnnotations of type string"),
    "patch": ({"patch": 5}, "cannot unmarshal number into Go struct field AdmissionResponse.response.patch of type []uint8"),
}  # fmt: skip


@pytest.mark.parametrize("field", MISMATCHES)
async def test_a_field_of_another_type_is_no_answer(http, webhooks, config_map, field):
    response, reported = MISMATCHES[field]
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True, **response}))
    answer = await http.post(http.path("configmaps"), config_map())
    text = f'failed calling webhook "v.example.org": failed to call webhook: json: {reported}'
    assert (answer.status, answer.json["message"]) == (500, f"Internal error occurred: {text}")


FAILURE = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "told so", "code": 409}
REPLIES = {
    "failure": (lambda: web.json_response(FAILURE, status=409), "failed to call webhook: told so"),
    "status": (lambda: web.json_response(FAILURE), "failed to call webhook: converting (v1.Status) to (v1.AdmissionReview): unknown conversion"),
    "v1beta1": (lambda: web.json_response({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1", "response": {}}), "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion"),
    "empty": (lambda: web.Response(body=b"", content_type="application/json"), "failed to call webhook: 0-length response with status code: 200 and content type: application/json"),
    "cut": (lambda: web.Response(body=b'{"kind"', content_type="application/json"), "failed to call webhook: couldn't get version/kind; json parse error: unexpected end of JSON input"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLIES)
async def test_a_reply_that_is_no_review_is_no_answer(http, webhooks, config_map, case):
    reply, reported = REPLIES[case]
    await webhooks.register("validating", webhooks.hook("/v", lambda _: reply()))
    answer = await http.post(http.path("configmaps"), config_map())
    text = f'Internal error occurred: failed calling webhook "v.example.org": {reported}'
    assert (answer.status, answer.json["message"]) == (500, text)


async def test_a_denial_is_reported_as_the_webhook_gave_it_without_what_a_status_has_not(http, webhooks, config_map):
    details = {"name": "n", "kind": "k", "retryAfterSeconds": 7, "extra": 1, "causes": [{"field": "f", "extra": 1}]}
    status = {"code": 429, "reason": "TooManyRequests", "message": "", "metadata": {"resourceVersion": "7"}, "x": 1}
    evaluate = {"allowed": False, "status": {**status, "status": "Success", "details": details}}
    await webhooks.register("validating", webhooks.hook("/v", lambda _: evaluate))
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.headers["retry-after"] == "7"
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7"},
        "status": "Failure",
        "message": 'admission webhook "v.example.org" denied the request: TooManyRequests',
        "reason": "TooManyRequests",
        "details": {"name": "n", "kind": "k", "causes": [{"field": "f"}], "retryAfterSeconds": 7},
        "code": 429,
    }


FAULTS = {
    "add": (added("/a/b", 1), 'add operation does not apply: doc is missing path: "/a/b": missing value'),
    "add to all": (added("", {}), 'add operation does not apply: doc is missing path: "": missing value'),
    "add without path": ({"op": "add"}, "add operation failed to decode path: missing value"),
    "add beyond": (added("/metadata/finalizers/7", "x"), "error in add for path: '/metadata/finalizers/7': Unable to access invalid index: 7: invalid index referenced"),
    "remove": ({"op": "remove", "path": "/a"}, "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value"),
    "remove all": ({"op": "remove", "path": ""}, 'remove operation does not apply: doc is missing path: "": missing value'),
    "replace": ({"op": "replace", "path": "/a/b"}, "replace operation does not apply: doc is missing path: /a/b: missing value"),
    "move": ({"op": "move", "from": "/a/b", "path": "/c"}, "move operation does not apply: doc is missing from path: /a/b: missing value"),
    "copy": ({"op": "copy", "from": "/data", "path": "/a/b"}, "copy operation does not apply: doc is missing destination path: /a/b: missing value"),
    "test": ({"op": "test", "path": "/metadata/name", "value": "b"}, "testing value /metadata/name failed: test failed"),
    "unknown": ({"op": "bogus", "path": "/a"}, "Unexpected kind: bogus"),
    "kind": ({"op": "replace", "path": "/kind", "value": "Other"}, 'no kind "Other" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"'),
    "type": (added("/data", {"a": 1}), "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
async def test_a_patch_that_cannot_be_applied_fails_the_request(http, webhooks, config_map, case):
    operation, reported = FAULTS[case]
    await webhooks.register("mutating", webhooks.hook("/m", patched(operation)))
    answer = await http.post(http.path("configmaps"), config_map(finalizers=["example.org/x"]))
    assert (answer.status, answer.json["message"]) == (500, f"Internal error occurred: {reported}")
    assert (await http.get(http.path("configmaps", "a"))).status == 404


async def test_mutating_webhooks_see_what_is_asked_for_and_nothing_that_storing_adds(http, webhooks):
    rules = [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods", "deployments"]}]
    await webhooks.register("mutating", webhooks.hook("/m", lambda _: {"allowed": True}, rules))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await http.created("apps/v1/deployments", {"metadata": {"name": "d"}, "spec": deployment})
    assert made["metadata"]["generation"] == 1
    pod = {"metadata": {"name": "p"}, "spec": template["spec"], "status": {"phase": "Failed"}}
    assert (await http.created("pods", pod))["status"]["phase"] == "Pending"
    shown = {it["kind"]["kind"]: it["object"] for it in webhooks.requests("/m")}
    assert "generation" not in shown["Deployment"]["metadata"]
    assert shown["Pod"]["status"]["phase"] == "Failed"
    found = {name: shown["Pod"]["spec"][name] for name in ("serviceAccountName", "priority", "preemptionPolicy")}
    assert found == {"serviceAccountName": "default", "priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
    assert len(shown["Pod"]["spec"]["tolerations"]) == 2


async def test_an_update_is_shown_as_it_is_asked_for_and_then_as_it_would_be_stored(http, webhooks, config_map):
    made = await http.created("configmaps", config_map())
    rules = [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]
    await webhooks.register("mutating", webhooks.hook("/m", lambda _: {"allowed": True}, rules))
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True}, rules))
    answer = await http.put(http.path("configmaps", "a"), config_map(data={"a": "b"}))
    assert answer.status == 200, answer.text
    [asked], [due] = webhooks.requests("/m"), webhooks.requests("/v")
    assert {"uid", "resourceVersion", "creationTimestamp"}.isdisjoint(asked["object"]["metadata"])
    assert asked["object"]["metadata"]["namespace"] == http.namespace
    kept = ("uid", "resourceVersion", "creationTimestamp")
    assert {name: due["object"]["metadata"][name] for name in kept} == {name: made["metadata"][name] for name in kept}


async def test_a_review_names_an_object_by_its_generated_name_once_it_has_one(http, webhooks):
    await webhooks.register("mutating", webhooks.hook("/m", lambda _: {"allowed": True}))
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True}))
    made = await http.created("configmaps", {"metadata": {"generateName": "g-"}})
    assert "name" not in webhooks.requests("/m")[0]
    assert webhooks.requests("/v")[0]["name"] == made["metadata"]["name"]


async def test_a_custom_object_is_shown_with_fields_that_its_schema_has_not_and_stored_without(
    http, webhooks, establish
):
    path, group = await establish("Thing", THING), f"{http.namespace}.example.org"
    rules = [{"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": ["things"]}]
    again = webhooks.hook("/again", lambda _: {"allowed": True}, rules, reinvocationPolicy="IfNeeded")
    await webhooks.register("mutating", again, webhooks.hook("/m", patched(added("/spec/unknown", 1)), rules))
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True}, rules))
    thing = {"kind": "Thing", "apiVersion": f"{group}/v1", "metadata": {"name": "t"}, "spec": {"size": 1}}
    answer = await http.post(path, thing)
    assert (answer.status, answer.json["spec"]) == (201, {"size": 1})
    assert (await http.get(f"{path}/t")).json["spec"] == {"size": 1}
    assert [it["object"]["spec"] for it in webhooks.requests("/again")] == [{"size": 1}, {"size": 1, "unknown": 1}]
    [shown] = webhooks.requests("/v")
    assert shown["object"]["spec"] == {"size": 1, "unknown": 1}


async def test_a_patch_may_not_take_the_kind_of_a_custom_object(http, webhooks, establish):
    path, group = await establish("Thing", THING), f"{http.namespace}.example.org"
    rules = [{"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": ["things"]}]
    await webhooks.register("mutating", webhooks.hook("/m", patched({"op": "remove", "path": "/kind"}), rules))
    answer = await http.post(path, {"kind": "Thing", "apiVersion": f"{group}/v1", "metadata": {"name": "t"}})
    assert answer.status == 500
    assert answer.json["message"].startswith("Internal error occurred: Object 'Kind' is missing in '{\"apiVersion\":")


async def test_many_warnings_are_cut_so_that_an_answer_can_still_be_read(http, webhooks, config_map):
    texts = [f"{it:02}" + "x" * 298 for it in range(40)]
    await webhooks.register("validating", webhooks.hook("/v", lambda _: {"allowed": True, "warnings": texts}))
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.status == 201
    assert answer.warnings == tuple(f'299 - "{it[:256]}"' for it in texts[:16])


async def test_metadata_of_another_type_fails_the_request_for_a_custom_object(http, webhooks, establish):
    path, group = await establish("Thing", THING), f"{http.namespace}.example.org"
    rules = [{"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": ["things"]}]
    await webhooks.register("mutating", webhooks.hook("/m", patched(added("/metadata/labels", {"a": 1})), rules))
    answer = await http.post(path, {"kind": "Thing", "apiVersion": f"{group}/v1", "metadata": {"name": "t"}})
    reported = "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
    assert (answer.status, answer.json["message"]) == (500, reported)


async def test_a_new_object_is_given_no_version_by_a_webhook(http, webhooks, config_map):
    await webhooks.register("mutating", webhooks.hook("/m", patched(added("/metadata/resourceVersion", "1"))))
    answer = await http.post(http.path("configmaps"), config_map())
    assert (answer.status, answer.json["message"]) == (
        500,
        "resourceVersion should not be set on objects to be created",
    )
