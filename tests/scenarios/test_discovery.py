"""What a control plane serves, how it says so, and the tables that kubectl prints."""

from __future__ import annotations

import pytest

from operatorkit.testing import eventually

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_is_reported_in_one_word(http, path):
    answer = await http.get(path)
    assert (answer.status, answer.text) == (200, "ok")


async def test_the_version_is_of_kubernetes(http):
    version = (await http.get("/version")).json
    assert (version["major"], version["minor"]) == ("1", "36")
    assert version["gitVersion"].startswith("v1.36.")


async def test_the_core_group_lists_its_versions_and_resources(http):
    versions = (await http.get("/api")).json
    assert (versions["kind"], versions["versions"]) == ("APIVersions", ["v1"])
    resources = (await http.get("/api/v1")).json
    assert (resources["kind"], resources["groupVersion"]) == ("APIResourceList", "v1")
    by_name = {resource["name"]: resource for resource in resources["resources"]}
    pods = by_name["pods"]
    assert (pods["kind"], pods["singularName"], pods["namespaced"]) == ("Pod", "pod", True)
    assert (pods["shortNames"], pods["categories"]) == (["po"], ["all"])
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    assert pods["verbs"] == verbs
    assert by_name["pods/status"]["verbs"] == ["get", "patch", "update"]
    assert by_name["namespaces"]["namespaced"] is False


async def test_groups_are_listed_with_their_preferred_version(http):
    groups = {group["name"]: group for group in (await http.get("/apis")).json["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert {"apps", "batch", "rbac.authorization.k8s.io", "apiextensions.k8s.io", "coordination.k8s.io"} <= set(groups)
    assert (await http.get("/apis/apps")).json["kind"] == "APIGroup"
    assert {"deployments", "deployments/scale"} <= {
        resource["name"] for resource in (await http.get("/apis/apps/v1")).json["resources"]
    }


@pytest.mark.parametrize(("root", "group", "plural"), [("/api", "", "configmaps"), ("/apis", "apps", "deployments")])
async def test_aggregated_discovery_reports_everything_at_once(http, root, group, plural):
    answer = await http.get(root, headers={"Accept": V2})
    assert answer.status == 200
    assert answer.headers["content-type"] == V2
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    found = next(item for item in answer.json["items"] if item["metadata"].get("name", "") == group)
    resource = next(entry for entry in found["versions"][0]["resources"] if entry["resource"] == plural)
    assert resource["scope"] == "Namespaced"
    assert resource["responseKind"]["kind"]
    assert "watch" in resource["verbs"]


async def test_aggregated_discovery_is_not_sent_twice(http):
    async def notified_of_what_it_knows():  # unless a definition of another test has just come or gone
        tag = (await http.get("/apis", headers={"Accept": V2})).headers["etag"]
        again = await http.get("/apis", headers={"Accept": V2, "If-None-Match": tag})
        assert (again.status, again.text) == (304, "")
        return True

    await eventually(notified_of_what_it_knows)


async def test_openapi_v3_is_found_by_group_and_hash(http):
    index = (await http.get("/openapi/v3")).json["paths"]
    address = index["apis/apps/v1"]["serverRelativeURL"]
    assert address.startswith("/openapi/v3/apis/apps/v1?hash=")
    document = (await http.get(address.split("?")[0], query={"hash": address.split("hash=")[1]})).json
    assert document["openapi"].startswith("3.0")
    deployment = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert "replicas" in document["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]


async def test_openapi_v2_describes_every_kind(http):
    document = (await http.get("/openapi/v2")).json
    assert document["swagger"] == "2.0"
    assert "io.k8s.api.core.v1.Pod" in document["definitions"]
    assert "/api/v1/namespaces/{namespace}/pods/{name}" in document["paths"]


async def test_openapi_v2_is_given_in_protobuf_to_kubectl_which_takes_nothing_else(http):
    kind = "application/com.github.proto-openapi.spec.v2"
    answer = await http.get("/openapi/v2", headers={"Accept": f"{kind}@v1.0+protobuf"})
    assert answer.status == 200
    assert answer.headers["content-type"] == f"{kind}.v1.0+protobuf"
    assert answer.text.startswith("\n\x032.0\x12")  # the fields swagger and info
    both = await http.get("/openapi/v2", headers={"Accept": f"application/json, {kind}@v1.0+protobuf"})
    assert both.json["swagger"] == "2.0"


async def test_a_table_has_the_columns_that_kubectl_prints(http, config_map):
    await http.created("configmaps", config_map("a", {"k": "1", "l": "2"}))
    answer = await http.get(http.path("configmaps", "a"), headers={"Accept": TABLE})
    table = answer.json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    [row] = table["rows"]
    assert row["cells"][:2] == ["a", 2]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "a")


async def test_a_table_may_hold_the_whole_object_or_none(http, config_map):
    await http.created("configmaps", config_map("a", {"k": "1"}))
    path = http.path("configmaps", "a")
    whole = await http.get(path, headers={"Accept": TABLE}, query={"includeObject": "Object"})
    assert whole.json["rows"][0]["object"]["data"] == {"k": "1"}
    none = await http.get(path, headers={"Accept": TABLE}, query={"includeObject": "None"})
    assert none.json["rows"][0]["object"] is None


@pytest.mark.parametrize(
    ("plural", "body", "columns", "cells"),
    [
        (
            "pods",
            {"spec": {"containers": [{"name": "c", "image": "i"}]}},
            ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"],
            ["x", "0/1", "Pending", "0"],
        ),
        ("secrets", {"data": {"a": "eA=="}}, ["Name", "Type", "Data", "Age"], ["x", "Opaque", 1]),
        ("serviceaccounts", {}, ["Name", "Age"], ["x"]),
        (
            "apps/v1/deployments",
            {
                "spec": {
                    "replicas": 0,
                    "paused": True,
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {
                        "metadata": {"labels": {"a": "b"}},
                        "spec": {"containers": [{"name": "c", "image": "i"}]},
                    },
                }
            },
            ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"],
            ["x", "0/0"],
        ),
        (
            "services",
            {"spec": {"ports": [{"port": 80}], "clusterIP": "None"}},
            ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"],
            ["x", "ClusterIP", "None", "<none>", "80/TCP"],
        ),
    ],
)
async def test_tables_of_built_in_kinds(http, plural, body, columns, cells):
    await http.created(plural, {"metadata": {"name": "x"}, **body})
    table = (await http.get(http.path(plural, "x"), headers={"Accept": TABLE})).json
    assert [column["name"] for column in table["columnDefinitions"]] == columns
    assert table["rows"][0]["cells"][: len(cells)] == cells
    await http.delete(http.path(plural, "x"), query={"gracePeriodSeconds": "0"})


async def test_a_watch_of_tables_sends_the_columns_once(http, config_map):
    await http.created("configmaps", config_map("a"))
    url = http.path("configmaps") + "?watch=1&fieldSelector=metadata.name%3Da&timeoutSeconds=1"
    answer = await http.get(url, headers={"Accept": TABLE})
    assert answer.status == 200
    first = answer.text.splitlines()[0]
    assert '"kind":"Table"' in first
    assert '"columnDefinitions":[{' in first
