"""Server-side apply: who manages which field, and what happens when two want the same one."""

from __future__ import annotations

from operatorkit.testing import eventually


def managers(obj):
    return {
        (entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])
    }


async def test_apply_creates_what_is_not_there(http, config_map):
    answer = await http.apply(http.path("configmaps", "a"), config_map("a", {"k": "1"}))
    assert answer.status == 201, answer.text
    [entry] = answer.json["metadata"]["managedFields"]
    assert entry.pop("time") == answer.json["metadata"]["creationTimestamp"]
    assert entry == {
        "manager": "me",
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:k": {}}},
    }


async def test_apply_again_changes_nothing(http, config_map):
    path = http.path("configmaps", "a")
    first = await http.apply(path, config_map("a", {"k": "1"}))
    second = await http.apply(path, config_map("a", {"k": "1"}))
    assert second.status == 200
    assert second.json == first.json


async def test_what_is_no_longer_applied_is_removed(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "2"}, labels={"x": "y"}))
    answer = await http.apply(path, config_map("a", {"k": "1"}))
    assert answer.json["data"] == {"k": "1"}
    assert "labels" not in answer.json["metadata"]


async def test_what_another_manager_owns_too_stays(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "2"}), "one")
    await http.apply(path, config_map("a", {"l": "2"}), "two")
    answer = await http.apply(path, config_map("a", {"k": "1"}), "one")
    assert answer.json["data"] == {"k": "1", "l": "2"}
    assert managers(answer.json) == {
        ("one", "Apply"): {"f:data": {"f:k": {}}},
        ("two", "Apply"): {"f:data": {"f:l": {}}},
    }


async def test_a_conflict_names_the_manager_and_the_field(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "1"}), "one")
    answer = await http.apply(path, config_map("a", {"k": "2", "l": "1"}), "two")
    assert answer.status == 409
    assert answer.json["reason"] == "Conflict"
    assert answer.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert answer.json["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.k"}]
    }


async def test_conflicts_are_counted_and_grouped_by_manager(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "1"}), "one")
    answer = await http.apply(path, config_map("a", {"k": "2", "l": "2"}), "two")
    assert answer.json["message"] == ('Apply failed with 2 conflicts: conflicts with "one":\n- .data.k\n- .data.l')


async def test_force_takes_the_field_over(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "1"}), "one")
    answer = await http.apply(path, config_map("a", {"k": "2"}), "two", force=True)
    assert answer.status == 200, answer.text
    assert answer.json["data"] == {"k": "2", "l": "1"}
    assert managers(answer.json) == {
        ("one", "Apply"): {"f:data": {"f:l": {}}},
        ("two", "Apply"): {"f:data": {"f:k": {}}},
    }


async def test_an_update_makes_its_manager_own_what_it_changed(http, config_map):
    path = http.path("configmaps", "a")
    await http.apply(path, config_map("a", {"k": "1", "l": "1"}), "one")
    answer = await http.patch(path, {"data": {"k": "2"}}, query={"fieldManager": "hand"})
    assert managers(answer.json) == {
        ("one", "Apply"): {"f:data": {"f:l": {}}},
        ("hand", "Update"): {"f:data": {"f:k": {}}},
    }
    rejected = await http.apply(path, config_map("a", {"k": "1", "l": "1"}), "one")
    assert rejected.json["message"] == 'Apply failed with 1 conflict: conflict with "hand" using v1: .data.k'


async def test_a_field_that_was_never_applied_has_its_creator_as_manager(http, config_map):
    made = await http.post(http.path("configmaps"), config_map("a", {"k": "1"}), query={"fieldManager": "maker"})
    assert managers(made.json) == {("maker", "Update"): {"f:data": {".": {}, "f:k": {}}}}


async def test_the_manager_is_taken_from_the_user_agent_when_none_is_named(http, config_map):
    made = await http.post(http.path("configmaps"), config_map("a", {"k": "1"}), headers={"User-Agent": "tool/1.2 (x)"})
    assert managers(made.json) == {("tool", "Update"): {"f:data": {".": {}, "f:k": {}}}}


async def test_items_of_a_list_are_owned_by_their_keys(http):
    path = http.path("services", "s")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    first = {**service, "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}
    second = {**service, "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}}
    await http.apply(path, first, "one")
    answer = await http.apply(path, second, "two")
    assert answer.status == 200, answer.text
    assert [port["port"] for port in answer.json["spec"]["ports"]] == [80, 443]
    key = 'k:{"port":80,"protocol":"TCP"}'
    assert managers(answer.json)["one", "Apply"]["f:spec"]["f:ports"] == {
        key: {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}
    }
    without = await http.apply(path, {**service, "spec": {"ports": []}}, "two")
    assert [port["port"] for port in without.json["spec"]["ports"]] == [80]


async def test_apply_without_a_manager_is_rejected(http, config_map):
    answer = await http.patch(http.path("configmaps", "a"), config_map(), "apply")
    assert answer.status == 422, answer.text
    assert answer.json["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


async def test_apply_with_managed_fields_is_rejected(http, config_map):
    answer = await http.apply(http.path("configmaps", "a"), config_map(managedFields=[{"manager": "x"}]))
    assert answer.status == 400
    assert answer.json["message"] == "metadata.managedFields must be nil"


async def test_force_is_for_apply_only(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.patch(http.path("configmaps", "a"), {}, query={"force": "true"})
    assert answer.status == 422
    assert answer.json["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
    )


async def test_an_unknown_field_in_an_apply_is_rejected(http, config_map):
    answer = await http.apply(http.path("configmaps", "a"), {**config_map(), "colour": "red"})
    assert answer.status == 500, answer.text
    assert answer.json["message"] == (
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .colour: field not declared in schema"
    )


async def test_the_status_has_managers_of_its_own(http):
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "paused": True,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "w", "image": "w"}]}},
        },
    }
    await http.apply(http.path("apps/v1/deployments", "web"), deployment, "one")
    status = {"apiVersion": "apps/v1", "kind": "Deployment", "status": {"observedGeneration": 0, "collisionCount": 7}}
    answer = await http.apply(http.path("apps/v1/deployments", "web", sub="status"), status, "one", force=True)
    assert answer.status == 200, answer.text
    entries = [entry for entry in answer.json["metadata"]["managedFields"] if entry["manager"] == "one"]
    assert {entry.get("subresource", ""): set(entry["fieldsV1"]) for entry in entries} == {
        "": {"f:spec"},
        "status": {"f:status"},
    }


async def test_managed_fields_can_be_cleared(http, config_map):
    await http.apply(http.path("configmaps", "a"), config_map("a", {"k": "1"}))
    answer = await http.patch(http.path("configmaps", "a"), {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in answer.json["metadata"]


async def test_what_is_applied_in_another_version_than_before_takes_back_what_it_leaves_out(http, establish):
    fields = {"size": {"type": "integer"}, "names": {"type": "array", "items": {"type": "string"}}}
    spec = {"type": "object", "properties": fields}
    first = await establish("Thing", {"type": "object", "properties": {"spec": spec}})
    group = f"{http.namespace}.example.org"
    head = {"kind": "Thing", "metadata": {"name": "t"}}
    thing = {**head, "apiVersion": f"{group}/v1", "spec": {"size": 1, "names": ["a"]}}
    assert (await http.apply(f"{first}/t", thing)).status == 201
    second = http.path(f"{group}/v2/things", "t")
    answer = await http.apply(second, thing | {"apiVersion": f"{group}/v2", "spec": {"size": 2}})
    assert answer.status == 200, answer.text
    assert (answer.json["apiVersion"], answer.json["spec"]) == (f"{group}/v2", {"size": 2})
    [entry] = answer.json["metadata"]["managedFields"]
    assert (entry["apiVersion"], entry["fieldsV1"]) == (f"{group}/v2", {"f:spec": {"f:size": {}}})


async def test_a_field_that_the_schema_has_lost_is_no_obstacle(http, establish):
    text, free = {"type": "string"}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    fields = {"size": {"type": "integer"}, "code": text, "free": free, "maybe": text}
    spec = {"type": "object", "properties": fields}
    path = await establish("Thing", {"type": "object", "properties": {"spec": spec}})
    group = f"{http.namespace}.example.org"

    def thing(name, **spec):
        return {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec}

    made = thing("w", size=3, code="abc", free={"x": 1})
    assert (await http.post(path, made, query={"fieldManager": "creator"})).status == 201
    assert (await http.apply(f"{path}/v", thing("v", size=3, code="abc", maybe="m"), manager="one")).status == 201
    crd = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}"
    definition = (await http.get(crd)).json
    for version in definition["spec"]["versions"]:
        known = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del known["code"], known["free"]
    assert (await http.put(crd, definition)).status == 200

    async def lost():
        return "code" not in (await http.get(f"{path}/w")).json["spec"]

    await eventually(lost)
    conflict = await http.apply(f"{path}/w", thing("w", size=4), manager="two")
    assert (conflict.status, conflict.json["message"]) == (
        409,
        f'Apply failed with 1 conflict: conflict with "creator" using {group}/v1: .spec.size',
    )
    taken = await http.apply(f"{path}/w", thing("w", size=4), manager="two", force=True)
    assert (taken.status, taken.json["spec"]) == (200, {"size": 4})
    left = await http.apply(f"{path}/v", thing("v", size=5), manager="one")
    assert (left.status, left.json["spec"]) == (200, {"size": 5})
