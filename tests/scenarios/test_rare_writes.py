"""Writes that few clients send: each line was found by random sequences, which a server of ours answered otherwise.

What belongs here: single requests and their answers. What does not: the sequences (`tests/real/test_random_writes`).
"""

from __future__ import annotations

import secrets

import pytest
import pytest_asyncio

from operatorkit.testing import eventually
from operatorkit.testing.user import User

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POD = {
    "metadata": {"name": "a"},
    "spec": {
        "schedulerName": "none",
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i"}],
    },
}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}
DEPLOYMENT = {
    "metadata": {"name": "a"},
    "spec": {"paused": True, "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}
SERVICE = {"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}}


class Boxes:
    """A kind with a scale."""

    def __init__(self, group):
        self.group, self.plural = group, f"{group}/v1/boxes"
        self.place = f"{CRDS}/boxes.{group}"

    def definition(self):
        number, text = {"type": "integer"}, {"type": "string"}
        spec = {"replicas": number, "ratio": {"type": "number"}, "on": {"type": "boolean"}, "text": text}
        status = {"replicas": number, "phase": text}
        parts = {"spec": spec, "status": status}
        properties = {name: {"type": "object", "properties": it} for name, it in parts.items()}
        scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
            "subresources": {"status": {}, "scale": scale},
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"boxes.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"kind": "Box", "plural": "boxes", "singular": "box", "listKind": "BoxList"},
                "versions": [version],
            },
        }

    def box(self, metadata=None, **spec):
        metadata = {"name": "a", **(metadata or {})}
        return {"apiVersion": f"{self.group}/v1", "kind": "Box", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def defined(controlplane):
    kind, admin = Boxes(f"{secrets.token_hex(4)}.example.com"), User.of(controlplane)
    answer = admin.request("POST", CRDS, kind.definition())
    assert answer.status == 201, answer.text
    yield kind
    admin.request("DELETE", kind.place)


@pytest_asyncio.fixture
async def boxes(http, defined):
    async def listed():
        return (await http.get(http.path(defined.plural))).status == 200

    await eventually(listed)
    return defined


def causes(answer):
    """What is said of which field, each once: kube-apiserver repeats itself in updates."""
    return {(it["field"], it["message"]) for it in answer.json["details"]["causes"]}


def managers(obj, field="f:spec"):
    """Who owns a part of an object, and what of it."""
    entries = obj["metadata"].get("managedFields", ())
    return {it["manager"]: it["fieldsV1"][field] for it in entries if field in it["fieldsV1"]}


# ----------------------------------------------------------------------------------------------------- custom resources


@pytest.mark.parametrize("empty", [None, {}])
async def test_empty_metadata_of_a_custom_resource_is_left_out(http, boxes, empty):
    metadata = {"annotations": empty, "labels": empty, "finalizers": None}
    made = await http.apply(http.path(boxes.plural, "a"), boxes.box(metadata))
    assert made.status == 201, made.text
    assert not {"annotations", "labels", "finalizers"} & set(made.json["metadata"])


@pytest.mark.parametrize("how", ["create", "apply"])
async def test_a_null_among_the_annotations_of_a_custom_resource_is_an_empty_text(http, boxes, how):
    box = boxes.box({"annotations": {"x": None}, "labels": {"y": None}})
    answer = await (
        http.post(http.path(boxes.plural), box) if how == "create" else http.apply(http.path(boxes.plural, "a"), box)
    )
    assert answer.status == 201, answer.text
    assert (answer.json["metadata"]["annotations"], answer.json["metadata"]["labels"]) == ({"x": ""}, {"y": ""})


async def test_taking_away_an_annotation_that_is_not_there_changes_nothing(http, boxes):
    made = await http.created(boxes.plural, boxes.box())
    answer = await http.patch(http.path(boxes.plural, "a"), {"metadata": {"annotations": {"x": None}}})
    assert answer.json == made


@pytest.mark.parametrize(("sent", "stored"), [("1.0", "1"), ("-0.0", "0"), ("2.50", "2.5"), ("1e3", "1000")])
async def test_a_number_is_written_as_go_does(http, boxes, sent, stored):
    body = b'{"apiVersion":"%b/v1","kind":"Box","metadata":{"name":"a"},"spec":{"ratio":%b}}'
    answer = await http.post(http.path(boxes.plural), body % (boxes.group.encode(), sent.encode()))
    assert answer.status == 201, answer.text
    assert f'"ratio":{stored}}}' in answer.text


async def test_a_number_beyond_all_bounds_is_rejected(http, boxes):
    body = b'{"apiVersion":"%b/v1","kind":"Box","metadata":{"name":"a"},"spec":{"ratio":1e999}}' % boxes.group.encode()
    answer = await http.post(http.path(boxes.plural), body)
    assert answer.status == 400
    assert "json: cannot unmarshal number 1e999 into Go value of type float64" in answer.json["message"]


async def test_a_status_that_is_not_there_need_not_be_right(http, boxes):
    made = await http.created(boxes.plural, boxes.box())
    answer = await http.patch(http.path(boxes.plural, "a", sub="status"), {})
    assert (answer.status, answer.json) == (200, made)


async def test_replicas_that_cannot_be_are_named_by_the_path_of_the_scale(http, boxes):
    answer = await http.post(http.path(boxes.plural), boxes.box(replicas=-1, on="yes"))
    text = 'Invalid value: "string": spec.on in body must be of type boolean: "string"'
    minus = (".spec.replicas", "Invalid value: -1: should be a non-negative integer")
    assert (answer.status, causes(answer)) == (422, {("spec.on", text), minus})
    answer = await http.post(http.path(boxes.plural), boxes.box(replicas="x"))
    text = 'Invalid value: "string": spec.replicas in body must be of type integer: "string"'
    other = (
        ".spec.replicas",
        "Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
    )
    assert causes(answer) == {("spec.replicas", text), other}


async def test_a_scale_cannot_stay_without_replicas(http, boxes):
    await http.created(boxes.plural, boxes.box())
    path = http.path(boxes.plural, "a", sub="scale")
    answer = await http.patch(path, {})
    assert (answer.status, answer.json["message"]) == (400, 'the spec replicas field ".spec.replicas" cannot be empty')
    assert (await http.patch(path, {"spec": {"replicas": 2}})).json["spec"] == {"replicas": 2}


async def test_a_uid_that_is_another_is_a_conflict_with_what_is_stored(http, boxes):
    made = (await http.created(boxes.plural, boxes.box()))["metadata"]
    answer = await http.put(http.path(boxes.plural, "a"), boxes.box(made | {"uid": "other"}))
    key = f"/registry/{boxes.group}/boxes/{http.namespace}/a"
    assert (answer.status, answer.json["message"]) == (
        409,
        (
            f'Operation cannot be fulfilled on boxes.{boxes.group} "a": StorageError: invalid object, Code: 4, Key: {key}, '
            "ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: "
            f"{made['uid']}"
        ),
    )


async def test_what_is_applied_with_a_uid_must_be_there(http, boxes):
    answer = await http.apply(http.path(boxes.plural, "a"), boxes.box({"uid": "u"}))
    why = "uid mismatch: the provided object specified uid u, and no existing object was found"
    assert (answer.status, answer.json["message"].partition(": ")[2]) == (409, why)


# -------------------------------------------------------------------------------------------------------- built-in kinds


async def test_nothing_in_a_list_of_rules_is_a_rule_without_anything(http):
    role = {"metadata": {"name": "a"}, "rules": [None]}
    answer = await http.post(http.path("rbac.authorization.k8s.io/v1/roles"), role)
    assert (answer.status, {field for field, _ in causes(answer)}) == (
        422,
        {"rules[0].apiGroups", "rules[0].resources", "rules[0].verbs"},
    )


async def test_an_empty_list_of_rules_is_stored_as_none_and_yet_owned(http):
    roles = "rbac.authorization.k8s.io/v1/roles"
    made = await http.created(roles, {"metadata": {"name": "a"}, "rules": []})
    assert made["rules"] is None
    assert [it["fieldsV1"] for it in made["metadata"]["managedFields"]] == [{"f:rules": {}}]


async def test_text_given_to_a_secret_is_owned_as_data(http):
    made = await http.created("secrets", {"metadata": {"name": "a"}, "stringData": {"k": "v"}})
    assert managers(made, "f:data") == {next(iter(managers(made, "f:data"))): {".": {}, "f:k": {}}}
    answer = await http.patch(http.path("secrets", "a"), {"stringData": {"l": "w"}}, query={"fieldManager": "other"})
    assert managers(answer.json, "f:data")["other"] == {"f:l": {}}
    assert answer.json["data"] == {"k": "dg==", "l": "dw=="}


async def test_a_null_in_data_is_nothing_at_all_but_there(http):
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": None}}
    assert (await http.apply(http.path("secrets", "a"), body)).json["data"] == {"k": ""}


async def test_who_leaves_out_an_address_owns_it_no_more(http):
    service = {"apiVersion": "v1", "kind": "Service", **SERVICE}
    made = (await http.apply(http.path("services", "a"), service, "alice")).json
    assert "f:clusterIP" in managers(made)["alice"]
    made["spec"]["clusterIP"] = None
    answer = await http.put(http.path("services", "a"), made)
    assert answer.json["spec"]["clusterIP"] == "None"
    assert "f:clusterIP" not in managers(answer.json)["alice"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (
            {"ipFamilyPolicy": "x"},
            "spec.ipFamilyPolicy",
            'Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"',
        ),
        (
            {"internalTrafficPolicy": "x"},
            "spec.internalTrafficPolicy",
            'Unsupported value: "x": supported values: "Cluster", "Local"',
        ),
        (
            {"externalIPs": ["x"]},
            "spec.externalIPs[0]",
            'Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        ),
        (
            {"type": "ExternalName", "externalName": "a.b"},
            "spec.clusterIPs",
            "Forbidden: may not be set for ExternalName services",
        ),
        ({"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]", 'Invalid value: "IPv6": not configured on this cluster'),
    ],
    ids=lambda it: it if isinstance(it, str) and it.startswith("spec") else "",
)
async def test_a_service_that_cannot_be_is_rejected(http, spec, field, message):
    answer = await http.post(http.path("services"), {**SERVICE, "spec": {**SERVICE["spec"], **spec}})
    assert (answer.status, causes(answer)) == (422, {(field, message)})


async def test_a_headless_service_may_name_another_port_of_its_pods(http):
    ports = [{"port": 80, "targetPort": 8080}]
    answer = await http.post(http.path("services"), {**SERVICE, "spec": {**SERVICE["spec"], "ports": ports}})
    assert answer.status == 201, answer.text


async def test_what_a_service_does_not_heed_is_warned_of_but_not_with_its_status(http):
    ignored = {"externalIPs": ["1.2.3.4"], "sessionAffinity": "ClientIP", "externalName": "a.b"}
    answer = await http.post(http.path("services"), {**SERVICE, "spec": {**SERVICE["spec"], **ignored}})
    assert [it.split(" ", 2)[2] for it in answer.warnings] == [
        '"spec.externalIPs is ignored for headless services"',
        '"spec.SessionAffinity is ignored for headless services"',
        '"spec.externalName is ignored when spec.type is not \\"ExternalName\\""',
    ]
    assert (await http.patch(http.path("services", "a", sub="status"), {})).warnings == ()


async def test_a_status_must_add_up(http):
    await http.created("apps/v1/deployments", DEPLOYMENT)
    path = http.path("apps/v1/deployments", "a", sub="status")
    answer = await http.patch(path, {"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2}})
    assert (answer.status, causes(answer)) == (
        422,
        {
            ("status.availableReplicas", "Invalid value: 2: cannot be greater than status.replicas"),
            ("status.availableReplicas", "Invalid value: 2: cannot be greater than readyReplicas"),
        },
    )
    await http.created("services", SERVICE)
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    answer = await http.patch(http.path("services", "a", sub="status"), status)
    why = "Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    assert causes(answer) == {("status.loadBalancer.ingress", why)}


async def test_a_template_of_a_deployment_has_no_deadline(http):
    template = {**TEMPLATE, "spec": {**POD["spec"], "activeDeadlineSeconds": 5}}
    spec = {**DEPLOYMENT["spec"], "template": template}
    answer = await http.post(http.path("apps/v1/deployments"), {**DEPLOYMENT, "spec": spec})
    why = "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"
    assert (answer.status, causes(answer)) == (422, {("spec.template.spec.activeDeadlineSeconds", why)})


async def test_a_uid_in_a_scale_is_a_precondition(http):
    made = await http.created("apps/v1/deployments", DEPLOYMENT)
    answer = await http.patch(http.path("apps/v1/deployments", "a", sub="scale"), {"metadata": {"uid": "other"}})
    assert (answer.status, answer.json["message"]) == (
        409,
        (
            'Operation cannot be fulfilled on deployments/scale.apps "a": Precondition failed: UID in precondition: other, '
            f"UID in object meta: {made['metadata']['uid']}"
        ),
    )


async def test_an_unknown_field_is_warned_of_also_when_the_rest_is_rejected(http, config_map):
    body = {**config_map(data={"bad key": "x"}), "unknown": 1}
    answer = await http.post(http.path("configmaps"), body)
    assert (answer.status, answer.warnings) == (422, ('299 - "unknown field \\"unknown\\""',))
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), {"data": {"bad key": "x"}, "unknown": 1})
    assert (answer.status, answer.warnings) == (422, ('299 - "unknown field \\"unknown\\""',))


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"immutable": "x"}, '"map[immutable:x]": unrecognized type: bool'),
        ({"data": []}, '"map[data:[]]": cannot restore map from slice'),
        ({"data": {"a": 1}}, '"map[data:map[a:1]]": cannot convert int64 to string'),
        ({"data": {"a": True}}, '"map[data:map[a:true]]": unrecognized type: string'),
        ({"metadata": {"labels": "s"}}, '"map[metadata:map[labels:s]]": cannot restore map from string'),
    ],
    ids=str,
)
async def test_a_strategic_patch_that_cannot_be_converted_says_so(http, config_map, patch, why):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), patch, "strategic")
    assert (answer.status, causes(answer)) == (422, {("patch", f"Invalid value: {why}")})


async def test_an_apply_that_cannot_be_read_says_so(http):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "binaryData": {"k": "!"}}
    answer = await http.apply(http.path("configmaps", "a"), body)
    kind = "/v1, Kind=ConfigMap"
    assert (answer.status, answer.json["message"]) == (
        500,
        (
            f"failed to convert new object (/a; {kind}) to proper version: unable to convert unstructured object to {kind}: "
            "error decoding from json: illegal base64 data at input byte 0"
        ),
    )


async def test_copies_of_copies_come_to_an_end(http, config_map):
    await http.created("configmaps", config_map(data={"a": "b"}))
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/x{it}"} for it in range(40)]
    answer = await http.patch(http.path("configmaps", "a"), doubling, "json")
    assert (answer.status, answer.json["message"]) == (
        422,
        "the server rejected our request due to an error in our request",
    )


# ------------------------------------------------------------------------------------------------------ pods and deletion


async def test_a_pod_needs_its_account(http):
    answer = await http.post(http.path("pods"), {**POD, "spec": {**POD["spec"], "serviceAccountName": "nope"}})
    why = f'error looking up service account {http.namespace}/nope: serviceaccount "nope" not found'
    assert (answer.status, answer.json["message"]) == (403, f'pods "a" is forbidden: {why}')


@pytest_asyncio.fixture
async def pod(http):
    async def account():
        return (await http.get(http.path("serviceaccounts", "default"))).status == 200

    await eventually(account)
    return await http.created("pods", POD)


async def test_what_is_given_to_each_pod_stays_when_an_update_leaves_it_out(http, pod):
    path, toleration = http.path("pods", "a"), {"key": "k", "operator": "Exists"}
    pod["spec"]["tolerations"] = [toleration, *pod["spec"]["tolerations"]]
    pod["spec"] |= {"priority": None, "preemptionPolicy": None}
    answer = await http.put(path, pod)
    assert answer.status == 200, answer.text
    assert answer.json["spec"]["priority"] == 0
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"tolerations": [toleration]}}
    answer = await http.apply(path, applied, force=True)
    assert answer.status == 200, answer.text
    assert [it["key"].rpartition("/")[2] for it in answer.json["spec"]["tolerations"]] == [
        "k",
        "not-ready",
        "unreachable",
    ]


async def test_a_pod_is_marked_before_it_goes(http, pod):
    async with http.watch(http.path("pods"), resourceVersion=pod["metadata"]["resourceVersion"]) as watch:
        answer = await http.delete(http.path("pods", "a"))
        marked, gone = await watch.next(), await watch.next()
    assert (marked["type"], gone["type"]) == ("MODIFIED", "DELETED")
    for obj in (answer.json, marked["object"], gone["object"]):
        metadata = obj["metadata"]
        assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (
            0,
            pod["metadata"]["generation"] + 1,
        )
    assert gone["object"]["metadata"]["resourceVersion"] == answer.json["metadata"]["resourceVersion"]


async def test_the_last_finalizer_goes_with_the_object(http, config_map):
    await http.created("configmaps", config_map(finalizers=["example.com/f"]))
    path = http.path("configmaps", "a")
    marked = (await http.delete(path)).json["metadata"]
    async with http.watch(http.path("configmaps"), resourceVersion=marked["resourceVersion"]) as watch:
        answer = await http.patch(path, {"metadata": {"finalizers": None}})
        frame = await watch.next()
    assert answer.json["metadata"]["resourceVersion"] == marked["resourceVersion"]
    assert "finalizers" not in answer.json["metadata"]
    assert (frame["type"], frame["object"]["metadata"]["finalizers"]) == ("DELETED", ["example.com/f"])
    assert frame["object"]["metadata"]["resourceVersion"] != marked["resourceVersion"]


async def test_what_is_deleted_is_shown_as_of_its_deletion(http):
    made = await http.created("serviceaccounts", {"metadata": {"name": "a"}})
    async with http.watch(http.path("serviceaccounts"), resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        answer = await http.delete(http.path("serviceaccounts", "a"))
        frame = await watch.until("DELETED", "a")
    assert answer.json["metadata"]["resourceVersion"] == frame["metadata"]["resourceVersion"]
    assert frame["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


async def test_events_own_nothing_and_are_deleted_at_once(http):
    event = {
        "metadata": {"name": "a"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": http.namespace},
        "reason": "Tested",
    }
    await http.created("events", event)
    answer = await http.delete(http.path("events", "a"), {"propagationPolicy": "Foreground"})
    assert answer.json["status"] == "Success"
    assert (await http.get(http.path("events", "a"))).status == 404


async def test_a_deletion_with_options_in_its_body_reads_none_in_the_url(http, config_map):
    await http.created("configmaps", config_map())
    path = http.path("configmaps", "a")
    await http.delete(path, {"propagationPolicy": "Background", "dryRun": ["All"]})
    assert (await http.get(path)).status == 200
    await http.delete(path, {"propagationPolicy": "Background"}, query={"dryRun": "All"})
    assert (await http.get(path)).status == 404
