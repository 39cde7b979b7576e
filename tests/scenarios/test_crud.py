"""Creating, reading, replacing: what is kept, what is added, and the words of each refusal."""

from __future__ import annotations

import re

import pytest

from operatorkit.clock import parse_time


async def test_create_fills_in_what_the_server_knows(http, config_map):
    made = await http.created("configmaps", config_map("a", {"k": "v"}))
    meta = made["metadata"]
    assert meta["name"] == "a"
    assert meta["namespace"] == http.namespace
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", meta["uid"])
    assert int(meta["resourceVersion"]) > 0
    assert parse_time(meta["creationTimestamp"])
    assert "generation" not in meta  # a ConfigMap has no spec
    assert (await http.get(http.path("configmaps", "a"))).json == made


async def test_create_of_what_exists_is_rejected(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.post(http.path("configmaps"), config_map())
    assert answer.status == 409
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 409,
    }


async def test_what_is_not_there_is_not_found(http):
    answer = await http.get(http.path("apps/v1/deployments", "web"))
    assert answer.status == 404
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_writing_what_is_not_there_is_not_found(http, config_map, method):
    body = {"PUT": config_map("gone", resourceVersion="1"), "PATCH": {"data": {}}, "DELETE": None}[method]
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    path = http.path("configmaps", "gone")
    if method == "PUT":
        body["metadata"]["uid"] = "3a2f9d2e-0000-4000-8000-000000000000"
    answer = await http.request(method, path, body, headers=headers)
    if method == "PUT":
        assert answer.status in {404, 409}, answer.text
    else:
        assert (answer.status, answer.json["message"]) == (404, 'configmaps "gone" not found')


async def test_an_unknown_resource_is_a_page_not_found(http):
    answer = await http.get(http.path("widgets"))
    assert answer.status == 404
    assert answer.json["message"] == "the server could not find the requested resource"
    assert answer.json["reason"] == "NotFound"
    answer = await http.get("/nothing/here")
    assert answer.status == 404


async def test_put_creates_what_may_be_created_by_put(http):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": {}}
    answer = await http.put(http.path("coordination.k8s.io/v1/leases", "leader"), lease)
    assert answer.status == 201, answer.text


async def test_generate_name_adds_five_letters_and_never_collides(http, config_map):
    names = set()
    for _ in range(5):
        body = config_map()
        body["metadata"] = {"generateName": "app-"}
        made = await http.created("configmaps", body)
        assert re.fullmatch(r"app-[bcdfghjklmnpqrstvwxz2456789]{5}", made["metadata"]["name"])
        assert made["metadata"]["generateName"] == "app-"
        names.add(made["metadata"]["name"])
    assert len(names) == 5


async def test_an_object_without_a_name_is_rejected(http, config_map):
    body = config_map()
    body["metadata"] = {}
    answer = await http.post(http.path("configmaps"), body)
    assert answer.status == 422
    assert answer.json["reason"] == "Invalid"
    assert answer.json["message"] == (
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
    )
    assert answer.json["details"]["causes"] == [
        {
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }
    ]


async def test_a_bad_name_is_rejected_with_the_rule_it_breaks(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map("Not_A_Name"))
    assert answer.status == 422
    assert answer.json["message"] == (
        'ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain '
        "must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
        "character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    assert answer.json["details"]["causes"][0]["reason"] == "FieldValueInvalid"
    assert answer.json["details"]["causes"][0]["field"] == "metadata.name"


async def test_a_bad_label_is_rejected(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(labels={"a": "no spaces"}))
    assert answer.status == 422
    assert answer.json["message"] == (
        'ConfigMap "a" is invalid: metadata.labels: Invalid value: "no spaces": a valid label must be an empty string '
        "or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
        "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )


async def test_replace_with_an_old_resource_version_is_a_conflict(http, config_map):
    first = await http.created("configmaps", config_map())
    path = http.path("configmaps", "a")
    second = await http.put(path, {**first, "data": {"k": "2"}})
    assert second.status == 200, second.text
    assert int(second.json["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    answer = await http.put(path, {**first, "data": {"k": "3"}})
    assert answer.status == 409
    assert answer.json["reason"] == "Conflict"
    assert answer.json["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    assert answer.json["details"] == {"name": "a", "kind": "configmaps"}


async def test_replace_without_a_resource_version_wins_and_cannot_change_what_the_server_owns(http, config_map):
    made = await http.created("configmaps", config_map("a", {"k": "1"}))
    answer = await http.put(http.path("configmaps", "a"), config_map("a", {"k": "2"}))
    assert answer.status == 200, answer.text
    assert answer.json["data"] == {"k": "2"}
    for field in ("uid", "creationTimestamp"):
        assert answer.json["metadata"][field] == made["metadata"][field]


async def test_replace_that_changes_nothing_keeps_the_resource_version(http, config_map):
    made = await http.created("configmaps", config_map("a", {"k": "1"}))
    answer = await http.put(http.path("configmaps", "a"), made)
    assert answer.json["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_replace_of_another_uid_is_a_conflict(http, config_map):
    made = await http.created("configmaps", config_map())
    made["metadata"]["uid"] = "3a2f9d2e-0000-4000-8000-000000000000"
    answer = await http.put(http.path("configmaps", "a"), made)
    assert answer.status == 409
    assert (
        "Precondition failed: UID in precondition: 3a2f9d2e-0000-4000-8000-000000000000, UID in object meta:"
        in (answer.json["message"])
    )


async def test_the_name_in_the_body_must_be_the_one_of_the_url(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.put(http.path("configmaps", "a"), config_map("b"))
    assert answer.status == 400
    assert answer.json["reason"] == "BadRequest"
    assert answer.json["message"] == "the name of the object (b) does not match the name on the URL (a)"


async def test_the_namespace_in_the_body_must_be_the_one_of_the_url(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(namespace="kube-system"))
    assert answer.status == 400
    assert (
        answer.json["message"]
        == "the namespace of the provided object does not match the namespace sent on the request"
    )


async def test_the_kind_in_the_body_must_be_the_one_of_the_url(http):
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    answer = await http.post(http.path("configmaps"), body)
    assert answer.status == 400
    assert answer.json["message"] == (
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion'
    )


async def test_a_resource_version_must_not_be_set_on_create(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(resourceVersion="5"))
    assert answer.status == 500
    assert answer.json["message"] == "resourceVersion should not be set on objects to be created"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"", 400), (b"[]", 400), (b'"text"', 400), (b"\xff\xfe", 400), (b"{}{}", 400)],
)
async def test_a_body_that_is_no_object_is_a_bad_request(http, body, status):
    answer = await http.post(http.path("configmaps"), body)
    assert (answer.status, answer.json["status"], answer.json["reason"]) == (status, "Failure", "BadRequest")
    assert "Traceback" not in answer.text


async def test_an_unknown_content_type_is_rejected(http):
    answer = await http.request("POST", http.path("configmaps"), b"x", headers={"Content-Type": "text/csv"})
    assert answer.status == 415
    assert answer.json["reason"] == "UnsupportedMediaType"
    assert answer.json["message"].startswith(
        "the body of the request was in an unknown format - accepted media types include: application/json"
    )


async def test_an_accept_that_cannot_be_served_is_rejected(http):
    answer = await http.get(http.path("configmaps"), headers={"Accept": "text/csv"})
    assert answer.status == 406
    assert answer.json["reason"] == "NotAcceptable"
    assert answer.json["message"].startswith("406: Not Acceptable\n\nAvailable representations: application/json, ")


async def test_yaml_is_understood(http):
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
    answer = await http.request("POST", http.path("configmaps"), body, headers={"Content-Type": "application/yaml"})
    assert answer.status == 201, answer.text
    assert answer.json["data"] == {"k": "v"}


async def test_a_verb_that_a_resource_has_not_is_not_allowed(http):
    answer = await http.request("PUT", http.path("configmaps"), {})
    assert answer.status == 405
    assert answer.json["reason"] == "MethodNotAllowed"
    assert answer.json["message"] == "the server does not allow this method on the requested resource"


async def test_dry_run_answers_and_changes_nothing(http, config_map):
    path = http.path("configmaps")
    answer = await http.post(path, config_map(), query={"dryRun": "All"})
    assert answer.status == 201
    assert answer.json["metadata"]["uid"]
    assert (await http.get(http.path("configmaps", "a"))).status == 404
    made = await http.created("configmaps", config_map("a", {"k": "1"}))
    answer = await http.patch(http.path("configmaps", "a"), {"data": {"k": "2"}}, query={"dryRun": "All"})
    assert answer.json["data"] == {"k": "2"}
    await http.delete(http.path("configmaps", "a"), query={"dryRun": "All"})
    assert (await http.get(http.path("configmaps", "a"))).json == made


async def test_dry_run_takes_no_other_word(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(), query={"dryRun": "Some"})
    assert answer.status == 422
    assert answer.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'
    )


@pytest.mark.parametrize("level", ["Warn", "Strict", "Ignore"])
async def test_unknown_and_repeated_fields_are_rejected_reported_or_dropped(http, level):
    body = (
        b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "lables": {}}, "data": {"k": "1"}, '
        b'"data": {"k": "2"}, "colour": "red"}'
    )
    answer = await http.post(http.path("configmaps"), body, query={"fieldValidation": level})
    faults = ['unknown field "colour"', 'unknown field "metadata.lables"', 'duplicate field "data"']
    if level == "Strict":
        assert answer.status == 400
        assert answer.json["reason"] == "BadRequest"
        assert answer.json["message"].startswith(
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        )
        assert all(error_found in answer.json["message"] for error_found in faults)
        return
    assert answer.status == 201, answer.text
    assert "colour" not in answer.json
    assert answer.json["data"] == {"k": "2"}
    assert sorted(answer.warnings) == (
        sorted(f'299 - "{_escaped(error_found)}"' for error_found in faults) if level == "Warn" else []
    )


def _escaped(text: str) -> str:
    return text.replace('"', '\\"')


async def test_a_value_of_the_wrong_type_is_a_bad_request(http):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": 1}}
    answer = await http.post(http.path("configmaps"), body)
    assert answer.status == 400
    assert answer.json["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field '
        "ConfigMap.data of type string"
    )


async def test_generation_counts_changes_of_the_spec_only(http):
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }
    made = await http.created("apps/v1/deployments", deployment)
    assert made["metadata"]["generation"] == 1
    path = http.path("apps/v1/deployments", "web")
    labelled = await http.patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert labelled.json["metadata"]["generation"] == 1
    paused = await http.patch(path, {"spec": {"paused": True}})
    assert paused.json["metadata"]["generation"] == 2


async def test_the_status_is_written_through_its_own_path_only(http):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    pod["status"] = {"phase": "Running", "message": "mine"}
    made = await http.created("pods", pod)
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    patched = await http.patch(http.path("pods", "p"), {"status": {"message": "no"}})
    assert "message" not in patched.json["status"]
    patched = await http.patch(
        http.path("pods", "p", sub="status"), {"status": {"message": "yes"}, "metadata": {"labels": {"x": "y"}}}
    )
    assert patched.status == 200, patched.text
    assert patched.json["status"]["message"] == "yes"
    got = (await http.get(http.path("pods", "p"))).json
    assert got["status"]["message"] == "yes"
    await http.delete(http.path("pods", "p"), query={"gracePeriodSeconds": "0"})


async def test_defaults_of_built_in_kinds_are_filled_in(http):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    spec = (await http.created("services", service))["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["sessionAffinity"] == "None"
    assert spec["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]
    secret = await http.created("secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    assert (secret["type"], secret["data"]) == ("Opaque", {"k": "dg=="})
    assert "stringData" not in secret


async def test_node_ports_are_given_kept_and_taken_back(http):
    ports = [{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}, {"name": "web", "port": 80}]
    made = await http.created("services", {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}})
    given = [port["nodePort"] for port in made["spec"]["ports"]]
    assert given[0] == given[1] != given[2]
    assert all(30_000 <= number <= 32_767 for number in given)
    assert "f:nodePort" not in str(made["metadata"]["managedFields"])
    again = await http.put(http.path("services", "s"), {**made, "spec": {"type": "NodePort", "ports": ports}})
    assert again.status == 200, again.text
    assert [port["nodePort"] for port in again.json["spec"]["ports"]] == given
    inside = (await http.patch(http.path("services", "s"), {"spec": {"type": "ClusterIP"}})).json["spec"]
    assert not any("nodePort" in port for port in inside["ports"])
    assert "externalTrafficPolicy" not in inside


async def test_an_immutable_config_map_cannot_change(http, config_map):
    await http.created("configmaps", {**config_map("a", {"k": "1"}), "immutable": True})
    answer = await http.patch(http.path("configmaps", "a"), {"data": {"k": "2"}})
    assert answer.status == 422
    assert answer.json["message"] == (
        'ConfigMap "a" is invalid: data: Forbidden: field is immutable when `immutable` is set'
    )


async def test_a_body_above_three_megabytes_is_too_large(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map("a", {"k": "x" * (3 * 1024 * 1024)}))
    assert answer.status == 413
    assert answer.json["reason"] == "RequestEntityTooLarge"
    assert answer.json["message"] == "Request entity too large: limit is 3145728"


async def test_a_config_map_above_one_megabyte_is_rejected(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map("a", {"k": "x" * (1024 * 1024 + 1)}))
    assert answer.status == 422
    assert answer.json["message"] == ('ConfigMap "a" is invalid: []: Too long: may not be more than 1048576 bytes')
