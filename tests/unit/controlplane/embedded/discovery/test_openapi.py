from __future__ import annotations

import json

import pytest

from operatorkit.controlplane.embedded.discovery.openapi import Documents, etag

CRD = {
    "spec": {
        "group": "shop.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Cart", "plural": "carts", "listKind": "CartList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "What somebody is about to buy.",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "nullable": True, "default": 3},
                                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]},
                                    # A property that is called like a keyword.
                                    "default": {"type": "string"},
                                },
                            }
                        },
                    }
                },
                "subresources": {"status": {}, "scale": {}},
            },
            {"name": "v1beta1", "served": False},
        ],
    }
}


@pytest.fixture(scope="module")
def documents():
    return Documents([CRD])


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for it in value.values():
            yield from references(it)
    elif isinstance(value, list):
        for it in value:
            yield from references(it)


def test_every_reference_of_every_document_leads_somewhere(documents):
    whole = json.loads(documents.v2)
    assert {it.removeprefix("#/definitions/") for it in references(whole)} <= set(whole["definitions"])
    for path in json.loads(documents.v3_index)["paths"]:
        part = json.loads(documents.v3(path))
        schemas = set(part["components"]["schemas"])
        assert {it.removeprefix("#/components/schemas/") for it in references(part)} <= schemas, path


def test_the_index_names_each_document_with_its_hash(documents):
    entry = json.loads(documents.v3_index)["paths"]["apis/apps/v1"]["serverRelativeURL"]
    assert entry == f"/openapi/v3/apis/apps/v1?hash={etag(documents.v3('apis/apps/v1'))}"
    assert documents.v3("apis/shop.example.com/v1beta1") is None


def test_kubectl_finds_that_the_server_validates_fields(documents):
    item = json.loads(documents.v3("apis/apps/v1"))["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert {"fieldValidation", "dryRun", "force"} <= {it["name"] for it in item["patch"]["parameters"]}
    assert item["patch"]["operationId"] == "patchAppsV1NamespacedDeployment"


def test_lists_keep_merge_keys_and_defaults_where_kubectl_looks_for_them(documents):
    schemas = json.loads(documents.v3("api/v1"))["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}
    assert schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"
    resources = schemas["io.k8s.api.core.v1.Container"]["properties"]["resources"]
    assert resources["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ResourceRequirements"}]


def test_a_custom_kind_is_described_in_both_versions(documents):
    cart = json.loads(documents.v3("apis/shop.example.com/v1"))["components"]["schemas"]["com.example.shop.v1.Cart"]
    assert cart["description"] == "What somebody is about to buy."
    assert cart["properties"]["spec"]["properties"]["size"] == {"type": "integer", "nullable": True, "default": 3}
    assert cart["x-kubernetes-group-version-kind"] == [{"group": "shop.example.com", "version": "v1", "kind": "Cart"}]
    old = json.loads(documents.v2)["definitions"]["com.example.shop.v1.Cart"]["properties"]["spec"]["properties"]
    assert old == {
        "size": {"type": "integer"},
        "port": {"x-kubernetes-int-or-string": True},
        "default": {"type": "string"},
    }


def test_a_custom_kind_takes_no_strategic_merge_patch(documents):
    paths = json.loads(documents.v3("apis/shop.example.com/v1"))["paths"]
    content = paths["/apis/shop.example.com/v1/namespaces/{namespace}/carts/{name}"]["patch"]["requestBody"]["content"]
    assert "application/apply-patch+yaml" in content
    assert "application/strategic-merge-patch+json" not in content
    scale = paths["/apis/shop.example.com/v1/namespaces/{namespace}/carts/{name}/scale"]["get"]
    assert scale["x-kubernetes-group-version-kind"]["kind"] == "Scale"


def test_without_custom_kinds_the_documents_are_built_once(documents):
    assert Documents().v3("apis/apps/v1") is Documents().v3("apis/apps/v1")
    assert "apis/shop.example.com/v1" not in json.loads(Documents().v3_index)["paths"]
