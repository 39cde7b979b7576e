from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.registry.table import version_order
from operatorkit.errors import Invalid, NoKindMatch, NotFound
from operatorkit.names import ApiResource
from tests.unit.controlplane.embedded.conftest import CRDS, SCHEMA, crd

WIDGETS = ApiResource("example.com", "v1", "Widget", "widgets", namespaced=True)
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget"}


def _version(**parts: Any) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    return {"versions": [version | parts]}


async def _turn() -> None:
    """Let what the commit of a CRD has set off happen: one turn of the loop for each step of it."""
    for _ in range(5):
        await asyncio.sleep(0)


def _conditions(obj: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {it["type"]: (it["status"], it["reason"]) for it in obj["status"]["conditions"]}


async def test_a_crd_is_named_established_and_served(local: LocalCluster) -> None:
    await local.create(CRDS, crd())
    await _turn()
    found = await local.get(CRDS, "widgets.example.com")
    assert _conditions(found) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert found["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
    }
    assert found["status"]["storedVersions"] == ["v1"]
    assert await local.resolve("example.com", "Widget") == WIDGETS


async def test_a_name_that_is_taken_is_not_accepted_until_it_is_free(local: LocalCluster) -> None:
    await local.create(CRDS, crd())
    await _turn()
    await local.create(CRDS, crd("gadgets", "Widget"))
    await _turn()
    second = await local.get(CRDS, "gadgets.example.com")
    assert _conditions(second)["NamesAccepted"] == ("False", "ListKindConflict")
    assert _conditions(second)["Established"] == ("False", "NotAccepted")
    await local.delete(CRDS, "widgets.example.com")
    await _turn()
    assert _conditions(await local.get(CRDS, "gadgets.example.com"))["Established"][0] == "True"


async def test_deleting_a_crd_waits_for_its_objects_and_their_finalizers(local: LocalCluster) -> None:
    await local.create(CRDS, crd())
    await _turn()
    body = {**WIDGET, "metadata": {"name": "w", "finalizers": ["example.com/wait"]}}
    await local.create(WIDGETS, body, namespace="default")
    await local.create(WIDGETS, {**WIDGET, "metadata": {"name": "x"}}, namespace="default")
    await local.delete(CRDS, "widgets.example.com")
    await _turn()
    assert _conditions(await local.get(CRDS, "widgets.example.com"))["Terminating"][0] == "True"
    with pytest.raises(NotFound):
        await local.get(WIDGETS, "x", namespace="default")
    patch = {"metadata": {"finalizers": None}}
    await local.patch(WIDGETS, "w", patch, patch_type=PatchType.MERGE, namespace="default")
    await _turn()
    with pytest.raises(NotFound):
        await local.get(CRDS, "widgets.example.com")
    with pytest.raises(NoKindMatch):
        await local.resolve("example.com", "Widget")


async def test_spec_and_status_are_written_apart_and_only_the_spec_counts(local: LocalCluster) -> None:
    await local.create(CRDS, crd())
    await _turn()
    made = await local.create(
        WIDGETS, {**WIDGET, "metadata": {"name": "w"}, "spec": {}, "status": {"size": 1}}, namespace="default"
    )
    assert (made["spec"], made.get("status"), made["metadata"]["generation"]) == ({"size": 3}, None, 1)
    reported = made | {"spec": {"size": 5}, "status": {"size": 4}}
    reported = await local.replace(WIDGETS, "w", reported, namespace="default", subresource="status")
    assert (reported["spec"], reported["status"], reported["metadata"]["generation"]) == ({"size": 3}, {"size": 4}, 1)
    wanted = await local.replace(WIDGETS, "w", reported | {"spec": {"size": 5}, "status": {}}, namespace="default")
    assert (wanted["spec"], wanted["status"], wanted["metadata"]["generation"]) == ({"size": 5}, {"size": 4}, 2)


async def test_a_new_schema_holds_from_then_on(local: LocalCluster) -> None:
    made = await local.create(CRDS, crd())
    await _turn()
    made = await local.get(CRDS, "widgets.example.com")
    made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 4
    await local.replace(CRDS, "widgets.example.com", made)
    await _turn()
    with pytest.raises(Invalid, match="should be less than or equal to 4"):
        await local.create(WIDGETS, {**WIDGET, "metadata": {"name": "w"}, "spec": {"size": 5}}, namespace="default")


async def test_what_is_stored_takes_the_shape_of_a_new_schema_when_it_is_read(local: LocalCluster) -> None:
    await local.create(CRDS, crd())
    await _turn()
    await local.create(WIDGETS, {**WIDGET, "metadata": {"name": "w"}}, namespace="default")
    definition = await local.get(CRDS, "widgets.example.com")
    schema = {"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {}}}}
    schema["properties"]["spec"]["properties"] = {"colour": {"type": "string", "default": "red"}}
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    await local.replace(CRDS, "widgets.example.com", definition)
    await _turn()
    found = await local.get(WIDGETS, "w", namespace="default")
    listed = await local.list(WIDGETS, namespace="default")
    assert found["spec"] == {"colour": "red"}
    assert listed.items == [found]


async def test_versions_share_their_objects(local: LocalCluster) -> None:
    definition = crd()
    first = definition["spec"]["versions"][0]
    definition["spec"]["versions"] = [first | {"name": "v1beta1", "storage": False}, first]
    await local.create(CRDS, definition)
    await _turn()
    await local.create(WIDGETS, {**WIDGET, "metadata": {"name": "w"}}, namespace="default")
    beta = ApiResource("example.com", "v1beta1", "Widget", "widgets", namespaced=True)
    assert (await local.get(beta, "w", namespace="default"))["apiVersion"] == "example.com/v1beta1"
    group = await local.request("GET", "/apis/example.com")
    assert [it["version"] for it in group["versions"]] == ["v1", "v1beta1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope": "Galactic"}, 'spec.scope: Unsupported value: "Galactic": supported values: "Cluster", "Namespaced"'),
        ({"group": "nodots"}, "should be a domain with at least one dot"),
        ({"versions": []}, "must have exactly one version marked as storage version"),
        (
            {"names": {"plural": "widgets", "kind": "Widget", "listKind": "Widget"}},
            "kind and listKind may not be the same",
        ),
        ({"names": {"plural": "things", "kind": "Widget"}}, r"must be spec.names.plural\+"),
        (
            {"versions": [{"name": "v1", "served": True, "storage": True}]},
            "spec.versions.0..schema.openAPIV3Schema: Required value: schemas are required",
        ),
        ({"group": "x.k8s.io"}, "protected groups must have approval annotation"),
        (
            _version(additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": "x"}]),
            (
                r"spec.additionalPrinterColumns.0..type: Invalid value: \"text\": must be one of boolean,date,integer,number,"
                r"string, spec.additionalPrinterColumns.0..JSONPath: Invalid value: \"x\": must be a simple json path starting"
            ),
        ),
        (
            _version(subresources={"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}}),
            r"spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
        ),
        (_version(selectableFields=[{"jsonPath": ".spec.list[0]"}]), "is an invalid path"),
    ],
)
async def test_a_crd_that_cannot_be_is_rejected(local: LocalCluster, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        await local.create(CRDS, crd(**change))


async def test_a_column_whose_path_is_none_falls_back_to_the_default(local: LocalCluster) -> None:
    broken = [{"name": "A", "type": "string", "jsonPath": ".spec["}]
    await local.create(CRDS, crd(**_version(additionalPrinterColumns=broken)))
    await _turn()
    headers = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    table = await local.request("GET", "/apis/example.com/v1/widgets", headers=headers)
    assert [it["name"] for it in table["columnDefinitions"]] == ["Name", "Created At"]


def test_versions_are_ordered_by_how_stable_they_are() -> None:
    versions = ["v1alpha1", "v10", "foo", "v2beta2", "v2", "v2beta10", "v1", "bar"]
    assert sorted(versions, key=version_order) == ["v10", "v2", "v1", "v2beta10", "v2beta2", "v1alpha1", "bar", "foo"]
