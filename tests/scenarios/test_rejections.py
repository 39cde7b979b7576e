"""What cannot be understood, or is not allowed, and the words in which that is said.

Each line of the tables was recorded from kube-apiserver.
"""

from __future__ import annotations

import pytest

from operatorkit.testing.user import Answer

NAMELESS = "the name of the object (a based on URL) was undeterminable: name must be provided"
GO_TYPE_META = (
    'Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


def reported(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.json.get("reason", ""), answer.json["message"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", 400, "couldn't get version/kind; json parse error: unexpected end of JSON input ({)"),
        (b"", 400, "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (b"{} x", 400, "json parse error: invalid character 'x' after top-level value ({} x)"),
        (b"a: b", 400, "json parse error: invalid character 'a' looking for beginning of value (613a2062)"),
        (b'{"a": NaN}', 400, "json parse error: invalid character 'N' looking for beginning of value ({\"a\": NaN})"),
        (b"null", 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
    ],
)
async def test_a_body_that_is_no_object_is_described_as_go_does(http, body, code, message):
    answer = await http.post(http.path("configmaps"), body)
    assert answer.status == code
    assert answer.json["message"].endswith(message)


@pytest.mark.parametrize("media", ["text/plain", "*/*", "application/xml"])
async def test_a_body_of_another_media_type_is_not_read(http, config_map, media):
    answer = await http.post(http.path("configmaps"), config_map(), headers={"Content-Type": media})
    assert answer.status == 415


async def test_text_that_is_no_utf8_is_mended(http):
    body = b'{"metadata": {"name": "a"}, "data": {"k": "\xff"}}'
    answer = await http.post(http.path("configmaps"), body)
    assert (answer.status, answer.json["data"]) == (201, {"k": "\ufffd"})


async def test_the_first_of_several_documents_counts(http):
    body = b"metadata: {name: a}\n---\nmetadata: {name: b}\n"
    answer = await http.post(http.path("configmaps"), body, headers={"Content-Type": "application/yaml"})
    assert (answer.status, answer.json["metadata"]["name"]) == (201, "a")


async def test_every_write_to_a_url_says_the_name(http, config_map):
    path, nameless = http.path("configmaps", "a"), {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "1"}}
    assert reported(await http.apply(path, nameless)) == (400, "BadRequest", NAMELESS)
    assert (await http.get(path)).status == 404
    await http.created("configmaps", config_map())
    assert reported(await http.put(path, nameless)) == (400, "BadRequest", NAMELESS)
    assert reported(await http.patch(path, {"metadata": {"name": None}})) == (400, "BadRequest", NAMELESS)
    assert reported(await http.patch(path, {"metadata": None})) == (400, "BadRequest", NAMELESS)
    remove = [{"op": "remove", "path": "/metadata/name"}]
    assert reported(await http.patch(path, remove, "json")) == (400, "BadRequest", NAMELESS)


@pytest.mark.parametrize(
    ("kind", "body", "code", "message"),
    [
        ("merge", b"{", 400, "error decoding patch: unexpected end of JSON input"),
        ("merge", b"null", 400, "Invalid JSON Patch"),
        ("json", b"", 400, "error decoding patch: unexpected end of JSON input"),
        ("strategic", b"x", 400, "invalid character 'x' looking for beginning of value"),
        ("apply", b"null", 400, "invalid object type: /, Kind="),
        (
            "apply",
            b"[]",
            400,
            (
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go "
                "value of type map[string]interface {}"
            ),
        ),
        ("merge", b'{"metadata": {"resourceVersion": "x"}}', 500, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("application/foo", b"{}", 415, "415: Unsupported Media Type"),
    ],
)
async def test_a_patch_that_is_none_is_rejected(http, config_map, kind, body, code, message):
    await http.created("configmaps", config_map())
    query = {"fieldManager": "me"} if kind == "apply" else None
    answer = await http.patch(http.path("configmaps", "a"), body, kind, query=query)
    assert (answer.status, answer.json["message"]) == (code, message)


@pytest.mark.parametrize("kind", ["json", "strategic"])
async def test_null_is_a_patch_without_changes(http, config_map, kind):
    made = await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), b"null", kind)
    assert (answer.status, answer.json) == (200, made)


@pytest.mark.parametrize(
    ("kind", "patch", "why"),
    [
        (
            "merge",
            {"data": {"k": 1}},
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "json",
            [{"op": "add", "path": "/data/k", "value": True}],
            "json: cannot unmarshal bool into Go struct field ConfigMap.data of type string",
        ),
        ("merge", {"kind": "Pod"}, "converting (v1.Pod) to (core.ConfigMap): unknown conversion"),
        (
            "merge",
            {"apiVersion": "v2"},
            'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"',
        ),
    ],
)
async def test_a_patch_that_leaves_no_object_of_the_kind_is_shown_with_the_object(http, config_map, kind, patch, why):
    await http.created("configmaps", config_map("a", {"x": "1"}))
    answer = await http.patch(http.path("configmaps", "a"), patch, kind)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"v')
    assert answer.json["message"].endswith(f": {why}")
    assert answer.json["details"]["causes"][0]["field"] == "patch"


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"colour": "red"}),
        ("strategic", {"colour": "red"}),
        ("json", [{"op": "add", "path": "/colour", "value": "red"}]),
    ],
)
async def test_a_strict_patch_with_an_unknown_field_is_rejected(http, config_map, kind, patch):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), patch, kind, query={"fieldValidation": "Strict"})
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "')
    assert answer.json["message"].endswith('": strict decoding error: unknown field "colour"')


@pytest.mark.parametrize("kind", ["merge", "strategic"])
async def test_a_patch_with_what_is_no_base64_is_rejected(http, kind):
    await http.created("secrets", {"metadata": {"name": "s"}})
    answer = await http.patch(http.path("secrets", "s"), {"data": {"a": "!"}}, kind)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"].endswith("illegal base64 data at input byte 0")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", f"couldn't get version/kind; json parse error: json: cannot unmarshal array into {GO_TYPE_META}"),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            'no kind "Pod" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            {"gracePeriodSeconds": "x"},
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
    ],
)
async def test_a_deletion_with_other_options_deletes_nothing(http, config_map, body, message):
    await http.created("configmaps", config_map())
    answer = await http.delete(http.path("configmaps", "a"), body)
    assert (answer.status, answer.json["message"]) == (400, message)
    assert (await http.get(http.path("configmaps", "a"))).status == 200


async def test_nothing_is_created_in_or_deleted_from_all_namespaces(http, config_map):
    await http.created("configmaps", config_map())
    assert (await http.post("/api/v1/configmaps", config_map())).status == 405
    assert (await http.delete("/api/v1/configmaps", query={"labelSelector": "none"})).status == 405
    answer = await http.get("/api/v1/configmaps/a")
    assert reported(answer) == (404, "NotFound", "the server could not find the requested resource")


async def test_a_name_is_free_when_its_object_is_gone_and_not_before(http, config_map):
    await http.created("configmaps", config_map("a", finalizers=["example.com/f"]))
    await http.delete(http.path("configmaps", "a"))
    answer = await http.post(http.path("configmaps"), config_map())
    assert reported(answer) == (409, "AlreadyExists", 'object is being deleted: configmaps "a" already exists')
    await http.patch(http.path("configmaps", "a"), {"metadata": {"finalizers": None}})


async def test_no_client_can_set_when_an_object_was_deleted(http, config_map):
    await http.created("configmaps", config_map())
    body = config_map("a", deletionTimestamp="2020-01-01T00:00:00Z")
    answer = await http.put(http.path("configmaps", "a"), body)
    assert answer.status == 422
    assert "metadata.deletionTimestamp: Invalid value: " in answer.json["message"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"annotations": {"A b": ""}}, 'metadata.annotations: Invalid value: "A b": name part must consist of'),
        ({"labels": {"a/b/c": ""}}, 'metadata.labels: Invalid value: "a/b/c": a valid label key must consist of'),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]},
            (
                'metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: '
                "/v1, Kind=Event is disallowed from being an owner"
            ),
        ),
    ],
)
async def test_metadata_that_is_wrong_is_shown_as_it_was_written(http, config_map, metadata, message):
    answer = await http.post(http.path("configmaps"), config_map("a", **metadata))
    assert answer.status == 422
    assert message in answer.json["message"]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"labelSelector": "=x"}, 400, "found '=', expected: !, identifier, or 'end of string'"),
        ({"labelSelector": "a===x"}, 400, "unable to parse requirement: found '=', expected: identifier"),
        ({"labelSelector": "a=x y"}, 400, "found 'y', expected: ',' or 'end of string'"),
        ({"labelSelector": "a=x,,b"}, 400, "found ',', expected: identifier after ','"),
        ({"labelSelector": "!"}, 400, "unable to parse requirement: found '', expected: identifier"),
        ({"labelSelector": "a in (x"}, 400, "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            {"labelSelector": "a>x"},
            400,
            (
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must "
                "be an integer"
            ),
        ),
        ({"fieldSelector": "metadata.name=a=b"}, 400, "invalid field selector: unescaped character in value: 61"),
        ({"fieldSelector": "metadata.name=\\x"}, 400, "invalid field selector: invalid escape sequence: \\x"),
        (
            {"resourceVersion": "x"},
            400,
            (
                'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid '
                "syntax"
            ),
        ),
        (
            {"resourceVersion": "x", "watch": "1"},
            500,
            'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax',
        ),
        (
            {"limit": "9999999999999999999999"},
            400,
            'strconv.ParseInt: parsing "9999999999999999999999": value out of range',
        ),
    ],
)
async def test_a_list_that_makes_no_sense_is_rejected(http, query, code, message):
    answer = await http.get(http.path("configmaps"), query=query)
    assert (answer.status, answer.json["message"]) == (code, message)


MANY = "9" * 400
MORE = "9" * 5_000  # digits: more than Python makes a number of without being told to


@pytest.mark.parametrize("option", ["limit", "timeoutSeconds", "gracePeriodSeconds"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (MANY, "value out of range"),
        (MORE, "value out of range"),
        ("9223372036854775808", "value out of range"),
        ("-9223372036854775809", "value out of range"),
        ("\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}", "invalid syntax"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "invalid syntax"),
        ("1_0", "invalid syntax"),
        (" 1", "invalid syntax"),
        ("1\n", None),
        ("1.0", "invalid syntax"),
        ("0x1", "invalid syntax"),
        ("", "invalid syntax"),
    ],
    ids=lambda it: it and it[:20],
)
async def test_an_option_that_is_no_number_is_rejected_in_whatever_digits_it_is_written(http, option, value, why):
    method, name = ("DELETE", "nobody") if option == "gracePeriodSeconds" else ("GET", None)
    answer = await http.request(method, http.path("configmaps", name), query={option: value})
    assert answer.status == 400, answer.text
    if why is not None:
        assert answer.json["message"] == f'strconv.ParseInt: parsing "{value}": {why}'


@pytest.mark.parametrize("value", ["9223372036854775807", "+5", "007"])
async def test_an_option_may_be_any_number_of_64_bits(http, value):
    answer = await http.get(http.path("configmaps"), query={"limit": value})
    assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (MANY, "invalid duration"),
        (f"{MANY}s", "invalid duration"),
        (f"{MORE}s", "invalid duration"),
        ("293y", 'unknown unit "y" in duration'),
        ("2562048h", "invalid duration"),
        ("5", "missing unit in duration"),
        ("1h2", "missing unit in duration"),
        ("-", "invalid duration"),
        (".s", "invalid duration"),
    ],
    ids=lambda it: it[:10],
)
async def test_a_timeout_that_is_no_duration_is_rejected(http, value, why):
    answer = await http.get("/api", query={"timeout": value})
    assert answer.status == 400, answer.text
    begin = answer.json["message"].partition(" - ")[0]
    assert begin == "invalid timeout specified in the request URL"
    assert answer.json["message"].removeprefix(f"{begin} - ") == (f'time: {why} "{value}"')


@pytest.mark.parametrize("value", ["", "0", "1m", "1h0.5m", "2562047h", "900000000us", ".5h", "5.m"])
async def test_a_timeout_is_a_duration(http, value):
    assert (await http.get("/api", query={"timeout": value})).status == 200
    watched = {"watch": "1", "timeoutSeconds": "1", "timeout": "nonsense"}  # a watch has no such end
    assert (await http.get(http.path("configmaps"), query=watched)).status == 200


@pytest.mark.parametrize("value", [MANY, MORE, "18446744073709551616"], ids=lambda it: it[:20])
async def test_a_resource_version_of_more_than_64_bits_is_rejected(http, value):
    why = f'resourceVersion: Invalid value: "{value}": strconv.ParseUint: parsing "{value}": value out of range'
    listed = await http.get(http.path("configmaps"), query={"resourceVersion": value})
    assert (listed.status, listed.json["message"]) == (400, f"invalid resource version: {why}")
    read = await http.get(http.path("configmaps", "a"), query={"resourceVersion": value})
    assert (read.status, read.json["message"]) == (500, why)


@pytest.mark.parametrize("digits", [400, 5_000])
async def test_a_number_beyond_all_floats_is_rejected(http, digits):
    number = "9" * digits
    body = f'{{"metadata": {{"name": "a", "generation": {number}}}}}'.encode()
    answer = await http.post(http.path("configmaps"), body)
    assert answer.status == 400, answer.text
    assert answer.json["message"].startswith(
        f'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number {number} into Go '
    )


@pytest.mark.parametrize("value", [2**63, 10**30, 1.5, True, "1"], ids=lambda it: str(it)[:20])
async def test_a_grace_period_is_an_integer_of_64_bits(http, value):
    answer = await http.delete(http.path("pods", "p"), {"gracePeriodSeconds": value})
    assert answer.status == 400, answer.text
    assert answer.json["message"].startswith("json: cannot unmarshal ")
    assert answer.json["message"].endswith(" into Go struct field DeleteOptions.gracePeriodSeconds of type int64")


@pytest.mark.parametrize("seconds", [10**10, 2**63 - 1])
async def test_a_grace_period_may_be_longer_than_any_calendar(http, seconds):
    spec = {"nodeName": "nowhere", "containers": [{"name": "c", "image": "i"}]}
    await http.created("pods", {"metadata": {"name": "p"}, "spec": spec})
    answer = await http.delete(http.path("pods", "p"), {"gracePeriodSeconds": seconds})
    assert answer.status == 200, answer.text
    assert answer.json["metadata"]["deletionGracePeriodSeconds"] == seconds
    assert answer.json["metadata"]["deletionTimestamp"]
    assert (await http.delete(http.path("pods", "p"), {"gracePeriodSeconds": 0})).status == 200


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/v1/nodes/nobody", {}),
        ("PUT", "/api/v1/nodes", {}),
        ("GET", "/api/v1/nodes", {"Accept": "text/csv"}),
        ("POST", "/api/v1/nodes", {"Content-Type": "image/png"}),
        ("GET", "/api/v1/nodes?limit=x", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/apis/nowhere/v1", {}),
        ("GET", "/healthz", {}),
        ("GET", "/version", {}),
        ("GET", "/api/v1/nodes", {}),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
async def test_no_answer_is_kept_by_a_cache_nor_is_text_taken_for_a_page(http, method, path, headers):
    answer = await http.request(method, path, headers=headers)
    assert answer.headers["cache-control"] == "no-cache, private"
    is_text = answer.headers["content-type"].startswith("text/plain")
    assert answer.headers.get("x-content-type-options") == ("nosniff" if is_text else None)


async def test_a_page_of_what_may_be_old_is_the_whole(http, config_map):
    for name in "abc":
        await http.created("configmaps", config_map(name, labels={"page": "1"}))
    query = {"labelSelector": "page", "limit": "1", "resourceVersion": "0"}
    listed = (await http.get(http.path("configmaps"), query=query)).json
    assert [it["metadata"]["name"] for it in listed["items"]] == ["a", "b", "c"]
    assert "continue" not in listed["metadata"]


async def test_one_object_is_read_and_not_watched(http, config_map):
    made = await http.created("configmaps", config_map())
    answer = await http.get(http.path("configmaps", "a"), query={"watch": "1"})
    assert (answer.status, answer.json) == (200, made)


async def test_a_field_manager_is_printable(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(), query={"fieldManager": "a\tb"})
    assert answer.status == 422
    assert answer.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\tb": invalid character U+0009 (at '
        "position 1)"
    )


async def test_what_the_server_adds_is_nobodys(http):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    [entry] = (await http.created("pods", pod))["metadata"]["managedFields"]
    owned = entry["fieldsV1"]["f:spec"].keys()
    assert not owned & {"f:priority", "f:preemptionPolicy", "f:serviceAccountName", "f:tolerations", "f:nodeName"}
    await http.delete(http.path("pods", "p"), query={"gracePeriodSeconds": "0"})


async def test_what_put_creates_has_a_manager(http):
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    path = http.path("coordination.k8s.io/v1/leases", "l")
    [entry] = (await http.put(path, lease, query={"fieldManager": "me"})).json["metadata"]["managedFields"]
    assert (entry["manager"], entry["fieldsV1"]) == ("me", {"f:spec": {"f:holderIdentity": {}}})


async def test_a_secret_may_have_empty_values(http):
    answer = await http.post(http.path("secrets"), {"metadata": {"name": "s"}, "data": {"a": None}})
    assert answer.status == 201, answer.text


async def test_a_node_port_in_use_is_rejected(http):
    spec = {"type": "NodePort", "ports": [{"port": 80}]}
    taken = (await http.created("services", {"metadata": {"name": "a"}, "spec": spec}))["spec"]["ports"][0]["nodePort"]
    for port, why in [
        (80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (taken, "provided port is already allocated"),
    ]:
        spec["ports"][0]["nodePort"] = port
        answer = await http.post(http.path("services"), {"metadata": {"name": "b"}, "spec": spec})
        text = f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {why}'
        assert reported(answer) == (422, "Invalid", text)


@pytest.mark.parametrize("path", ["/nothing", "/apis/nothing.example.com/v1/things"])
async def test_where_no_api_is_there_is_a_page_not_found(http, path):
    answer = await http.get(path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")


async def test_the_root_says_what_there_is(http):
    paths = (await http.get("/")).json["paths"]
    assert {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3", "/version"} <= set(
        paths
    )
    assert paths == sorted(paths)


@pytest.mark.parametrize("name", ["readyz", "livez"])
async def test_health_is_reported_in_detail(http, name):
    text = (await http.get(f"/{name}", query={"verbose": "true"})).text
    assert text.startswith("[+]ping ok\n")
    assert text.endswith(f"{name} check passed\n")


async def test_impersonating_no_user_is_a_bad_request(http):
    answer = await http.get("/api", headers={"Impersonate-Group": "x"})
    assert reported(answer)[2] == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, Extra:map[string][]string(nil)} without '
        "impersonating a user name"
    )
