"""Lists and watches: resource versions, selectors, pages, bookmarks, and what is too old."""

from __future__ import annotations

import pytest


async def names(http, path, **query):
    answer = await http.get(path, query=query)
    assert answer.status == 200, answer.text
    return [item["metadata"]["name"] for item in answer.json["items"]]


async def test_a_list_has_a_kind_a_resource_version_and_its_items_in_order_of_name(http, config_map):
    for name in ("b", "a", "c"):
        await http.created("configmaps", config_map(name))
    answer = await http.get(http.path("configmaps"), query={"fieldSelector": "metadata.name!=kube-root-ca.crt"})
    body = answer.json
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert [item["metadata"]["name"] for item in body["items"]] == ["a", "b", "c"]
    assert int(body["metadata"]["resourceVersion"]) >= max(
        int(item["metadata"]["resourceVersion"]) for item in body["items"]
    )
    assert "kind" not in body["items"][0]


async def test_an_empty_list_is_a_list(http):
    body = (await http.get(http.path("secrets"))).json
    assert (body["kind"], body["items"]) == ("SecretList", [])


async def test_a_list_over_all_namespaces_finds_those_of_each(http, config_map):
    await http.created("configmaps", config_map("a", labels={"test": http.namespace}))
    answer = await http.get("/api/v1/configmaps", query={"labelSelector": f"test={http.namespace}"})
    assert [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in answer.json["items"]] == [
        (http.namespace, "a")
    ]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("tier=web", ["a"]),
        ("tier==web", ["a"]),
        ("tier!=web", ["b", "c"]),
        ("tier in (web, db)", ["a", "b"]),
        ("tier notin (web)", ["b", "c"]),
        ("tier", ["a", "b"]),
        ("!tier", ["c"]),
        ("tier=db,env=prod", ["b"]),
        ("env=", []),
        ("tier=none", []),
        ("rank>1", ["b"]),
        ("rank<2", ["a"]),
    ],
)
async def test_a_label_selector_selects(http, selector, found):
    labels = {"a": {"tier": "web", "rank": "1"}, "b": {"tier": "db", "env": "prod", "rank": "2"}, "c": {"other": "x"}}
    for name, own in labels.items():
        await http.created("secrets", {"metadata": {"name": name, "labels": own}})
    assert await names(http, http.path("secrets"), labelSelector=selector) == found


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"labelSelector": "a in b"}, "unable to parse requirement: found 'b' expected: '('"),
        ({"labelSelector": "a b"}, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (
            {"fieldSelector": "spec.colour=red"},
            '"spec.colour" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
    ],
)
async def test_a_selector_that_makes_no_sense_is_a_bad_request(http, query, message):
    answer = await http.get(http.path("configmaps"), query=query)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert message in answer.json["message"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("metadata.name=a", ["a"]),
        ("metadata.name!=a", ["b"]),
        ("type=Opaque", ["a"]),
        ("type!=Opaque,metadata.name=b", ["b"]),
    ],
)
async def test_a_field_selector_selects(http, selector, found):
    await http.created("secrets", {"metadata": {"name": "a"}})
    await http.created("secrets", {"metadata": {"name": "b"}, "type": "example.com/special"})
    assert await names(http, http.path("secrets"), fieldSelector=selector) == found


async def test_pods_can_be_selected_by_node_and_phase(http):
    for name, node in (("a", "n1"), ("b", "n2")):
        pod = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}
        await http.created("pods", pod)
    assert await names(http, http.path("pods"), fieldSelector="spec.nodeName=n1") == ["a"]
    assert await names(http, http.path("pods"), fieldSelector="status.phase=Pending,spec.nodeName!=n1") == ["b"]
    await http.delete(http.path("pods"), query={"gracePeriodSeconds": "0"})


async def test_pages_show_one_moment(http):
    for index in range(5):
        await http.created("secrets", {"metadata": {"name": f"s{index}"}})
    path = http.path("secrets")
    first = (await http.get(path, query={"limit": "2"})).json
    assert [item["metadata"]["name"] for item in first["items"]] == ["s0", "s1"]
    assert first["metadata"]["remainingItemCount"] == 3
    await http.created("secrets", {"metadata": {"name": "s25"}})  # after the moment, and so not shown
    second = (await http.get(path, query={"limit": "2", "continue": first["metadata"]["continue"]})).json
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 1
    third = (await http.get(path, query={"limit": "2", "continue": second["metadata"]["continue"]})).json
    found = [item["metadata"]["name"] for item in second["items"] + third["items"]]
    assert found == ["s2", "s3", "s4"]
    assert "continue" not in third["metadata"]
    assert "remainingItemCount" not in third["metadata"]


async def test_a_continue_token_that_is_none_is_rejected(http):
    answer = await http.get(http.path("secrets"), query={"limit": "2", "continue": "nonsense"})
    assert answer.status == 400
    assert answer.json["message"].startswith("invalid continue token: continue key is not valid")


async def test_a_resource_version_that_is_no_number_is_rejected(http):
    answer = await http.get(http.path("secrets"), query={"resourceVersion": "x"})
    assert answer.status == 400, answer.text
    assert 'Invalid value: "x"' in answer.json["message"]


async def test_a_resource_version_of_the_future_is_recognised(http):
    current = (await http.get(http.path("secrets"))).json["metadata"]["resourceVersion"]
    future = int(current) + 10_000_000
    answer = await http.get(http.path("secrets"), query={"resourceVersion": str(future)})
    assert (answer.status, answer.json["reason"]) == (504, "Timeout")
    assert answer.json["message"].startswith(f"Timeout: Too large resource version: {future}, current: ")
    assert answer.json["details"]["retryAfterSeconds"] == 1
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_watch_delivers_each_change_after_its_resource_version(http, config_map):
    start = (await http.get(http.path("configmaps"))).json["metadata"]["resourceVersion"]
    path = http.path("configmaps", "w")
    async with http.watch(http.path("configmaps"), resourceVersion=start, fieldSelector="metadata.name=w") as watch:
        made = await http.created("configmaps", config_map("w"))
        changed = (await http.patch(path, {"data": {"k": "v"}})).json
        await http.delete(path)
        frames = [await watch.next() for _ in range(3)]
    assert [frame["type"] for frame in frames] == ["ADDED", "MODIFIED", "DELETED"]
    assert frames[0]["object"] == made
    assert frames[1]["object"] == changed
    last = frames[2]["object"]
    assert last["data"] == {"k": "v"}
    assert int(last["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_resumes_where_another_ended(http, config_map):
    versions = [
        (await http.created("configmaps", config_map(name)))["metadata"]["resourceVersion"] for name in ("a", "b", "c")
    ]
    async with http.watch(http.path("configmaps"), resourceVersion=versions[0]) as watch:
        frames = [await watch.next() for _ in range(2)]
    assert [frame["object"]["metadata"]["resourceVersion"] for frame in frames] == versions[1:]


async def test_a_watch_without_a_resource_version_begins_with_what_is_there(http, config_map):
    await http.created("configmaps", config_map("a"))
    async with http.watch(http.path("configmaps"), fieldSelector="metadata.name=a") as watch:
        frame = await watch.next()
        assert (frame["type"], frame["object"]["metadata"]["name"]) == ("ADDED", "a")
        await watch.quiet()


async def test_what_leaves_a_selector_is_deleted_and_what_enters_it_is_added(http, config_map):
    made = await http.created("configmaps", config_map("a", labels={"in": "yes"}))
    path = http.path("configmaps", "a")
    async with http.watch(
        http.path("configmaps"), resourceVersion=made["metadata"]["resourceVersion"], labelSelector="in=yes"
    ) as watch:
        await http.patch(path, {"metadata": {"labels": {"in": "no"}}})
        await http.patch(path, {"data": {"unseen": "1"}})
        await http.patch(path, {"metadata": {"labels": {"in": "yes"}}})
        frames = [await watch.next() for _ in range(2)]
    assert [frame["type"] for frame in frames] == ["DELETED", "ADDED"]
    assert frames[0]["object"]["metadata"]["labels"] == {"in": "yes"}
    assert frames[1]["object"]["data"] == {"unseen": "1"}


async def test_a_watch_ends_after_its_timeout(http, config_map):
    made = await http.created("configmaps", config_map("a"))
    async with http.watch(
        http.path("configmaps"),
        resourceVersion=made["metadata"]["resourceVersion"],
        fieldSelector="metadata.name=a",
        timeoutSeconds="1",
    ) as watch:
        assert await watch.next() is None


async def test_a_list_as_a_watch_marks_the_end_of_what_is_there(http, config_map):
    await http.created("configmaps", config_map("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "fieldSelector": "metadata.name=a",
    }
    async with http.watch(http.path("configmaps"), **query) as watch:
        first, second = await watch.next(), await watch.next()
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["kind"] == "ConfigMap"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(second["object"]["metadata"]["resourceVersion"]) > 0


async def test_a_list_as_a_watch_needs_its_match(http):
    answer = await http.get(http.path("configmaps"), query={"watch": "1", "sendInitialEvents": "true"})
    assert answer.status == 422
    assert (
        "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        in (answer.json["message"])
    )


async def test_a_watch_from_a_version_long_gone_is_reported_so(http, is_real):
    async with http.watch(http.path("configmaps"), resourceVersion="1") as watch:
        frame = await watch.next()
    if is_real and frame["type"] == "ADDED":
        pytest.skip("a kube-apiserver that began with an empty etcd minutes ago remembers all of it")
    assert frame["type"] == "ERROR"
    status = frame["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


async def test_metadata_only_lists_hold_nothing_else(http, config_map):
    await http.created("configmaps", config_map("a", {"k": "v"}))
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    answer = await http.get(
        http.path("configmaps"), headers={"Accept": accept}, query={"fieldSelector": "metadata.name=a"}
    )
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    [item] = answer.json["items"]
    assert item["metadata"]["name"] == "a"
    assert "data" not in item


async def test_delete_of_a_collection_deletes_what_is_selected(http):
    for name, tier in (("a", "web"), ("b", "web"), ("c", "db")):
        await http.created("secrets", {"metadata": {"name": name, "labels": {"tier": tier}}})
    answer = await http.delete(http.path("secrets"), query={"labelSelector": "tier=web"})
    assert answer.status == 200
    assert await names(http, http.path("secrets")) == ["c"]
