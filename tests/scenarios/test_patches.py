"""JSON patch, merge patch and strategic merge patch."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("kind", "patch", "data"),
    [
        ("merge", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
        ("merge", {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        ("strategic", {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        ("strategic", {"data": {"$patch": "replace", "b": "2"}}, {"b": "2"}),
        ("json", [{"op": "add", "path": "/data/b", "value": "2"}], {"a": "1", "b": "2"}),
        ("json", [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}], None),
        ("json", [{"op": "move", "from": "/data/a", "path": "/data/b"}], {"b": "1"}),
        ("json", [{"op": "copy", "from": "/data/a", "path": "/data/b"}], {"a": "1", "b": "1"}),
    ],
)
async def test_a_patch_changes_what_it_names(http, config_map, kind, patch, data):
    await http.created("configmaps", config_map("a", {"a": "1"}))
    answer = await http.patch(http.path("configmaps", "a"), patch, kind)
    assert answer.status == 200, answer.text
    assert answer.json.get("data") == data


async def test_a_json_patch_escapes_slashes_in_keys(http, config_map):
    await http.created("configmaps", config_map("a", labels={"x/y": "1"}))
    patch = [{"op": "replace", "path": "/metadata/labels/x~1y", "value": "2"}]
    answer = await http.patch(http.path("configmaps", "a"), patch, "json")
    assert answer.json["metadata"]["labels"] == {"x/y": "2"}


@pytest.mark.parametrize(
    ("patch", "status", "message"),
    [
        (
            [{"op": "test", "path": "/data/a", "value": "2"}],
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            [{"op": "remove", "path": "/data/b"}],
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            [{"op": "replace", "path": "/none/b", "value": 1}],
            422,
            "the server rejected our request due to an error in our request",
        ),
        ({"data": {}}, 400, None),
    ],
)
async def test_a_json_patch_that_does_not_fit_is_rejected_as_a_whole(http, config_map, patch, status, message):
    made = await http.created("configmaps", config_map("a", {"a": "1"}))
    operations = [{"op": "add", "path": "/data/c", "value": "3"}, *patch] if isinstance(patch, list) else patch
    answer = await http.patch(http.path("configmaps", "a"), operations, "json")
    assert answer.status == status, answer.text
    if message:
        assert answer.json["message"] == message
        assert answer.json["reason"] == "Invalid"
    assert (await http.get(http.path("configmaps", "a"))).json == made


async def test_a_strategic_patch_merges_lists_by_their_keys(http):
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]},
    }
    await http.created("pods", pod)
    path = http.path("pods", "p")
    answer = await http.patch(path, {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}, "strategic")
    assert answer.status == 200, answer.text
    images = {container["name"]: container["image"] for container in answer.json["spec"]["containers"]}
    assert images == {"a": "a:1", "b": "b:2"}
    await http.delete(path, query={"gracePeriodSeconds": "0"})


async def test_a_strategic_patch_deletes_an_item_of_a_list(http):
    service = {
        "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
    }
    await http.created("services", service)
    patch = {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}
    answer = await http.patch(http.path("services", "s"), patch, "strategic")
    assert answer.status == 200, answer.text
    assert [port["name"] for port in answer.json["spec"]["ports"]] == ["https"]


async def test_a_patch_may_ask_for_a_resource_version(http, config_map):
    first = await http.created("configmaps", config_map("a", {"a": "1"}))
    path = http.path("configmaps", "a")
    old = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}}
    assert (await http.patch(path, {**old, "data": {"a": "2"}})).status == 200
    answer = await http.patch(path, {**old, "data": {"a": "3"}})
    assert answer.status == 409
    assert answer.json["message"].startswith('Operation cannot be fulfilled on configmaps "a": the object has been mod')


async def test_a_patch_that_changes_nothing_keeps_the_resource_version(http, config_map):
    first = await http.created("configmaps", config_map("a", {"a": "1"}))
    answer = await http.patch(http.path("configmaps", "a"), {"data": {"a": "1"}})
    assert answer.json["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
async def test_a_patch_cannot_change_what_an_object_is(http, config_map, field):
    await http.created("configmaps", config_map())
    other = {"uid": "3a2f9d2e-0000-4000-8000-000000000000"}.get(field, "other")
    answer = await http.patch(http.path("configmaps", "a"), {"metadata": {field: other}})
    expected = {
        "name": (400, "the name of the object (other) does not match the name on the URL (a)"),
        "namespace": (400, "the namespace of the provided object does not match the namespace sent on the request"),
        "uid": (422, f'ConfigMap "a" is invalid: metadata.uid: Invalid value: "{other}": field is immutable'),
    }[field]
    assert answer.status == expected[0], answer.text
    assert answer.json["message"].startswith(expected[1]), answer.text


async def test_a_patch_of_an_unknown_kind_is_an_unsupported_media_type(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), {}, "application/json")
    assert answer.status == 415
    assert answer.json["reason"] == "UnsupportedMediaType"
    assert answer.json["message"] == "415: Unsupported Media Type"


@pytest.mark.parametrize("kind", ["merge", "strategic", "json", "apply"])
async def test_a_patch_that_is_no_json_is_a_bad_request(http, config_map, kind):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), b"{:", kind, query={"fieldManager": "me"})
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


async def test_a_strategic_patch_with_a_value_of_the_wrong_type_is_shown_as_go_prints_it(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), {"data": {"b": "x", "a": 3}}, "strategic")
    assert answer.status == 422, answer.text
    assert answer.json["message"] == (
        ' "" is invalid: patch: Invalid value: "map[data:map[a:3 b:x]]": cannot convert int64 to string'
    )
    assert answer.json["details"]["causes"][0]["field"] == "patch"
