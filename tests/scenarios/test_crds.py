"""Custom resources: from the definition to objects that are pruned, defaulted, checked, and printed."""

from __future__ import annotations

import copy
import secrets

import pytest
import pytest_asyncio

from operatorkit.testing import eventually
from operatorkit.testing.user import User

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "x-kubernetes-list-type": "set"},
                "limit": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "maybe": {"type": "string", "nullable": True},
                "replicas": {"type": "integer", "default": 1},
            },
        },
        "status": {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}, "replicas": {"type": "integer"}},
        },
    },
}


class Widgets:
    """A kind of this test's own."""

    def __init__(self, group):
        self.group = group
        self.kind = "Widget"
        self.name = f"widgets.{group}"
        self.plural = f"{group}/v1/widgets"

    def definition(self, **version):
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {
                    "kind": "Widget",
                    "plural": "widgets",
                    "singular": "widget",
                    "listKind": "WidgetList",
                    "shortNames": ["wdg"],
                    "categories": ["all"],
                },
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": copy.deepcopy(SCHEMA)},
                        "subresources": {
                            "status": {},
                            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                        },
                        "additionalPrinterColumns": [
                            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                            {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
                        ],
                        **version,
                    }
                ],
            },
        }

    def object(self, name="w", **spec):
        return {
            "apiVersion": f"{self.group}/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"size": 3, **spec},
        }


@pytest.fixture(scope="module")
def shared(controlplane):
    """One kind for the module: kube-apiserver takes two seconds to serve a new one."""
    kind, admin = Widgets(f"{secrets.token_hex(4)}.example.com"), User.of(controlplane)
    answer = admin.request("POST", CRDS, kind.definition())
    assert answer.status == 201, answer.text
    yield kind
    admin.request("DELETE", f"{CRDS}/{kind.name}")


@pytest_asyncio.fixture
async def widgets(http, shared):
    """The shared kind, served."""
    await served(http, shared)
    return shared


@pytest_asyncio.fixture
async def own(http):
    """A kind of the test's own, served, to be changed."""
    kind = Widgets(f"{secrets.token_hex(4)}.example.com")
    answer = await http.post(CRDS, kind.definition())
    assert answer.status == 201, answer.text
    await served(http, kind)
    yield kind
    await http.delete(f"{CRDS}/{kind.name}")


async def served(http, kind):
    async def established():
        conditions = (await http.get(f"{CRDS}/{kind.name}")).json["status"].get("conditions") or []
        return ("Established", "True") in {(c["type"], c["status"]) for c in conditions}

    await eventually(established)

    async def listed():
        return (await http.get(http.path(kind.plural))).status == 200

    await eventually(listed)


async def test_a_definition_says_what_became_of_it(http, widgets):
    status = (await http.get(f"{CRDS}/{widgets.name}")).json["status"]
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert status["storedVersions"] == ["v1"]
    assert status["acceptedNames"]["kind"] == "Widget"


async def test_a_new_kind_is_discovered(http, widgets):
    async def discovered():
        return (await http.get(f"/apis/{widgets.group}/v1")).json.get("resources")

    resources = {resource["name"]: resource for resource in await eventually(discovered)}
    assert set(resources) == {"widgets", "widgets/status", "widgets/scale"}
    assert resources["widgets"]["shortNames"] == ["wdg"]
    assert resources["widgets"]["categories"] == ["all"]
    assert resources["widgets/scale"]["kind"] == "Scale"

    async def aggregated():
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        items = (await http.get("/apis", headers={"Accept": accept})).json["items"]
        return any(item["metadata"]["name"] == widgets.group for item in items)

    await eventually(aggregated)


async def test_a_new_kind_is_described(http, widgets):
    async def described():
        document = (await http.get(f"/openapi/v3/apis/{widgets.group}/v1")).json
        schemas = document.get("components", {}).get("schemas", {})
        return next((s for name, s in schemas.items() if name.endswith(".Widget")), None)

    schema = await eventually(described)
    assert schema["properties"]["spec"]["properties"]["size"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert schema["x-kubernetes-group-version-kind"] == [{"group": widgets.group, "kind": "Widget", "version": "v1"}]


async def test_defaults_are_filled_in_and_unknown_fields_are_pruned(http, widgets):
    body = widgets.object(free={"any": {"thing": 1}}, unknown="x")
    made = await http.created(widgets.plural, body)
    assert made["spec"] == {"size": 3, "colour": "red", "replicas": 1, "free": {"any": {"thing": 1}}}
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"),
        ({"colour": "blue"}, 'spec.colour: Unsupported value: "blue": supported values: "red", "green"'),
        ({"code": "A"}, "spec.code: Invalid value: \"A\": spec.code in body should match '^[a-z]+$'"),
        ({"code": "abcdef"}, "spec.code: Too long: may not be more than 5 bytes"),
        ({"tags": ["a", "b", "c"]}, "spec.tags: Too many: 3: must have at most 2 items"),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        (
            {"limit": 1.5},
            'spec.limit: Invalid value: "number": spec.limit in body must be of type integer,string: "number"',
        ),
        ({"size": "3"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"colour": 3}, 'spec.colour: Invalid value: "integer": spec.colour in body must be of type string: "integer"'),
        ({"size": 2.5}, 'spec.size: Invalid value: "number": spec.size in body must be of type integer: "number"'),
    ],
)
async def test_a_value_outside_its_schema_is_rejected_in_these_words(http, widgets, spec, message):
    answer = await http.post(http.path(widgets.plural), widgets.object(**spec))
    assert answer.status == 422, answer.text
    reported = answer.json["message"]
    assert reported.startswith("Widget")
    assert message in reported
    assert answer.json["details"]["group"] == widgets.group


async def test_a_missing_field_is_required(http, widgets):
    body = widgets.object()
    del body["spec"]["size"]
    answer = await http.post(http.path(widgets.plural), body)
    assert answer.status == 422
    assert answer.json["message"] == f'Widget.{widgets.group} "w" is invalid: spec.size: Required value'
    assert answer.json["details"] == {
        "name": "w",
        "group": widgets.group,
        "kind": "Widget",
        "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.size"}],
    }


async def test_several_errors_are_reported_together(http, widgets):
    answer = await http.post(http.path(widgets.plural), widgets.object(size=0, colour="blue"))
    fields = [cause["field"] for cause in answer.json["details"]["causes"]]
    assert {"spec.size", "spec.colour"} <= set(fields)
    assert "is invalid: [" in answer.json["message"]


async def test_null_is_dropped_where_a_default_stands_and_kept_where_it_is_allowed(http, widgets):
    made = await http.created(widgets.plural, widgets.object(colour=None, maybe=None))
    assert made["spec"] == {"size": 3, "colour": "red", "maybe": None, "replicas": 1}


@pytest.mark.parametrize("level", ["Strict", "Warn", "Ignore"])
async def test_unknown_fields_are_rejected_reported_or_dropped(http, widgets, level):
    answer = await http.post(http.path(widgets.plural), widgets.object(unknown="x"), query={"fieldValidation": level})
    if level == "Strict":
        assert answer.status == 400
        assert answer.json["message"] == (
            'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.unknown"'
        )
    else:
        assert answer.status == 201
        assert list(answer.warnings) == (['299 - "unknown field \\"spec.unknown\\""'] if level == "Warn" else [])


async def test_the_status_is_a_place_of_its_own(http, widgets):
    made = await http.created(widgets.plural, {**widgets.object(), "status": {"ready": True}})
    assert "status" not in made
    path = http.path(widgets.plural, "w")
    answer = await http.patch(f"{path}/status", {"status": {"ready": True}, "spec": {"size": 9}})
    assert answer.status == 200, answer.text
    assert (answer.json["status"], answer.json["spec"]["size"]) == ({"ready": True}, 3)
    assert answer.json["metadata"]["generation"] == 1
    changed = await http.patch(path, {"spec": {"size": 4}, "status": {"ready": False}})
    assert (changed.json["status"], changed.json["metadata"]["generation"]) == ({"ready": True}, 2)
    rejected = await http.patch(f"{path}/status", {"status": {"ready": "yes"}})
    assert rejected.status == 422
    assert 'status.ready: Invalid value: "string"' in rejected.json["message"]


async def test_the_scale_is_read_and_written(http, widgets):
    await http.created(widgets.plural, widgets.object())
    path = http.path(widgets.plural, "w", sub="scale")
    scale = (await http.get(path)).json
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 0})
    answer = await http.patch(path, {"spec": {"replicas": 4}})
    assert answer.json["spec"] == {"replicas": 4}
    assert (await http.get(http.path(widgets.plural, "w"))).json["spec"]["replicas"] == 4


async def test_what_has_no_replicas_yet_can_be_scaled(http):
    kind = Widgets(f"{secrets.token_hex(4)}.example.com")
    definition = kind.definition()
    version = definition["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"]["default"]
    assert (await http.post(CRDS, definition)).status == 201
    await served(http, kind)
    await http.created(kind.plural, kind.object())
    path = http.path(kind.plural, "w", sub="scale")
    unscaled = await http.get(path)
    assert unscaled.status == 500
    assert unscaled.json["message"] == (
        'Internal error occurred: the spec replicas field ".spec.replicas" does not exist'
    )
    nameless = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": {"replicas": 4}}
    assert (await http.put(path, nameless)).status == 400
    scaled = await http.patch(path, {"spec": {"replicas": 4}})
    assert (scaled.status, scaled.json["spec"]) == (200, {"replicas": 4})
    assert (await http.get(path)).json["spec"] == {"replicas": 4}
    await http.delete(f"{CRDS}/{kind.name}")


async def test_unknown_fields_are_kept_by_schemas_only(http):
    definition = Widgets(f"{secrets.token_hex(4)}.example.com").definition()
    answer = await http.post(CRDS, {**definition, "spec": {**definition["spec"], "preserveUnknownFields": True}})
    assert answer.status == 422
    assert (
        "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields "
        "to true in spec.versions[*].schema instead"
    ) in answer.json["message"]


async def test_a_table_has_the_columns_of_the_definition(http, widgets):
    await http.created(widgets.plural, widgets.object())
    table = (await http.get(http.path(widgets.plural), headers={"Accept": TABLE})).json
    columns = [(column["name"], column["priority"]) for column in table["columnDefinitions"]]
    assert columns == [("Name", 0), ("Size", 0), ("Colour", 1)]
    assert table["rows"][0]["cells"] == ["w", 3, "red"]


async def test_apply_knows_the_lists_of_a_custom_resource(http, widgets):
    path = http.path(widgets.plural, "w")
    first = await http.apply(path, widgets.object(tags=["a"]), "one")
    assert first.status == 201, first.text
    body = widgets.object(tags=["b"])
    second = await http.apply(path, body, "two")
    assert second.status == 200, second.text
    assert second.json["spec"]["tags"] == ["a", "b"]
    rejected = await http.apply(path, widgets.object(size=5), "two")
    assert rejected.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.size'


async def test_strategic_patches_are_not_for_custom_resources(http, widgets):
    await http.created(widgets.plural, widgets.object())
    answer = await http.patch(http.path(widgets.plural, "w"), {"spec": {"size": 4}}, "strategic")
    assert answer.status == 415
    assert answer.json["reason"] == "UnsupportedMediaType"


async def test_a_replace_needs_a_resource_version(http, widgets):
    await http.created(widgets.plural, widgets.object())
    answer = await http.put(http.path(widgets.plural, "w"), widgets.object(size=4))
    assert answer.status == 422
    assert answer.json["message"] == (
        f'widgets.{widgets.group} "w" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an '
        "update"
    )


async def test_objects_go_with_their_definition(http, own):
    await http.created(own.plural, own.object())
    await http.delete(f"{CRDS}/{own.name}")
    await http.gone(f"{CRDS}/{own.name}")

    async def unserved():
        return (await http.get(http.path(own.plural))).status == 404

    await eventually(unserved)
    await http.post(CRDS, own.definition())
    await served(http, own)
    assert (await http.get(http.path(own.plural))).json["items"] == []


async def test_a_changed_schema_holds_from_then_on(http, own):
    definition = (await http.get(f"{CRDS}/{own.name}")).json
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] = {
        "type": "string",
        "default": "here",
    }
    answer = await http.put(f"{CRDS}/{own.name}", definition)
    assert answer.status == 200, answer.text
    assert answer.json["metadata"]["generation"] == 2

    async def holds():
        made = await http.post(http.path(own.plural), own.object(), query={"dryRun": "All"})
        return made.json.get("spec", {}).get("new") == "here"

    await eventually(holds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["metadata"].update(name="wrong"),
            'metadata.name: Invalid value: "wrong": must be spec.names.plural+"."+spec.group',
        ),
        (lambda d: d["spec"]["versions"][0].update(storage=False), "spec.versions: Invalid value: "),
        (
            lambda d: d["spec"].update(scope="Galaxy"),
            'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"',
        ),
        (
            lambda d: d["spec"]["versions"][0].pop("schema"),
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            lambda d: d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].update(
                bad={"description": "no type"}
            ),
            (
                "spec.validation.openAPIV3Schema.properties[spec].properties[bad].type: Required value: must not be "
                "empty for specified object fields"
            ),
        ),
        (
            lambda d: d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].update(
                bad={"type": "string", "default": 3}
            ),
            'spec.validation.openAPIV3Schema.properties[spec].properties[bad].default: Invalid value: "integer"',
        ),
    ],
)
async def test_a_definition_that_cannot_be_is_rejected(http, change, message):
    kind = Widgets(f"{secrets.token_hex(4)}.example.com")
    definition = kind.definition()
    change(definition)
    answer = await http.post(CRDS, definition)
    assert answer.status == 422, answer.text
    assert message in answer.json["message"]


@pytest.mark.parametrize("verb", ["create", "replace"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": None, "apiVersion": None}, "Object 'Kind' is missing in "),
        ({"kind": None}, "Object 'Kind' is missing in "),
        ({"kind": ""}, "Object 'Kind' is missing in "),
        ({"apiVersion": None}, "the API version in the data () does not match the expected API version (GROUP/v1)"),
        ({"apiVersion": "GROUP/v2"}, "the API version in the data (GROUP/v2) does not match the expected API version"),
    ],
)
async def test_a_custom_object_says_itself_what_it_is(http, widgets, verb, changed, message):
    await http.post(http.path(widgets.plural), widgets.object("told"))
    body = {**widgets.object("untold" if verb == "create" else "told"), **changed}
    body = {key: value for key, value in body.items() if value is not None}
    if "GROUP" in body.get("apiVersion", ""):
        body["apiVersion"] = body["apiVersion"].replace("GROUP", widgets.group)
    send, path = (http.post, "") if verb == "create" else (http.put, "told")
    answer = await send(http.path(widgets.plural, *filter(None, [path])), body)
    assert answer.status == 400
    assert message.replace("GROUP", widgets.group) in answer.json["message"]
    assert (await http.get(http.path(widgets.plural, "untold"))).status == 404


@pytest.mark.parametrize("verb", ["create", "patch"])
async def test_a_custom_object_of_another_kind_is_rejected_for_nothing_but_that(http, widgets, verb):
    await http.post(http.path(widgets.plural), widgets.object("told"))
    if verb == "create":
        body = {**widgets.object("other", size=77), "kind": "Other"}
        answer, name = await http.post(http.path(widgets.plural), body), "other"
    else:
        answer, name = await http.patch(http.path(widgets.plural, "told"), {"kind": "Other"}), "told"
    assert answer.status == 422
    assert answer.json["message"] == (
        f'Other.{widgets.group} "{name}" is invalid: kind: Invalid value: "Other": must be Widget'
    )
    [cause] = answer.json["details"]["causes"]
    assert cause["field"] == "kind"


@pytest.mark.parametrize(
    ("patch", "kind"), [({"kind": None}, "merge"), ([{"op": "remove", "path": "/kind"}], "json")], ids=["merge", "json"]
)
async def test_a_patch_cannot_take_the_kind_away(http, widgets, patch, kind):
    await http.post(http.path(widgets.plural), widgets.object("told"))
    answer = await http.patch(http.path(widgets.plural, "told"), patch, kind)
    assert answer.status == 422
    assert answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "{')
    assert "Object 'Kind' is missing in '{\"apiVersion\":" in answer.json["message"]


async def test_a_watch_ends_with_the_definition_of_its_kind(http, own):
    await http.created(own.plural, own.object("w"))
    async with http.watch(http.path(own.plural)) as watch:
        await watch.until("ADDED", "w")
        await http.delete(f"{CRDS}/{own.name}")
        await watch.until("DELETED", "w")
        assert await watch.next() is None
    await http.gone(f"{CRDS}/{own.name}")
    assert (await http.get(http.path(own.plural))).status == 404


async def test_a_watch_ends_when_the_schema_of_its_kind_changes(http, own):
    await http.created(own.plural, own.object("w"))
    async with http.watch(http.path(own.plural)) as watch:
        await watch.until("ADDED", "w")
        labels = {"metadata": {"labels": {"a": "b"}}}
        assert (await http.patch(f"{CRDS}/{own.name}", labels)).status == 200
        await http.created(own.plural, own.object("x"))
        await watch.until("ADDED", "x")  # a change that does not concern the schema ends nothing
        version = [{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/description", "value": "new"}]
        assert (await http.patch(f"{CRDS}/{own.name}", version, "json")).status == 200
        assert await watch.next() is None


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("", "<unknown>"),
        ("null", "<unknown>"),
        ("yesterday", "<invalid>"),
        ("2020-01-01", "<invalid>"),
        ("2020-01-01T00:00:00", "<invalid>"),
        ("20200101T000000Z", "<invalid>"),
        ("2020-01-01 00:00:00Z", "<invalid>"),
        ("2020-01-01t00:00:00z", "<invalid>"),
        ("2020-13-01T00:00:00Z", "<invalid>"),
        ("2020-01-01T24:00:00Z", "<invalid>"),
        ("0000-01-01T00:00:00Z", "292y"),
        ("0001-01-01T00:00:00Z", "<unknown>"),
        ("0001-01-01T00:00:00+14:00", "292y"),
        ("9999-12-31T23:59:59-23:59", "<invalid>"),
        (5, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
async def test_a_column_of_dates_shows_whatever_is_there(http, dated, value, cell):
    obj = {"kind": "Dated", "apiVersion": dated.split("/namespaces/")[0].removeprefix("/apis/")}
    await http.delete(f"{dated}/d")
    made = await http.post(dated, {**obj, "metadata": {"name": "d"}, "spec": {"at": value}})
    assert made.status == 201, made.text
    table = await http.get(f"{dated}/d", headers={"Accept": TABLE})
    assert table.status == 200, table.text
    assert table.json["rows"][0]["cells"] == ["d", cell]


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        (1.5, [1, 1.5, "1.5"]),
        (2**53, [2**53, 2**53, str(2**53)]),
        (1e300, [-(2**63), 1e300, "1e+300"]),
        (None, [None, None, "<no value>"]),
        ("x", [None, None, "x"]),
    ],
)
async def test_a_column_of_numbers_shows_whatever_is_there(http, dated, value, cells):
    path = dated.replace("dateds", "numbereds")
    obj = {"kind": "Numbered", "apiVersion": dated.split("/namespaces/")[0].removeprefix("/apis/")}
    await http.delete(f"{path}/n")
    made = await http.post(path, {**obj, "metadata": {"name": "n"}, "spec": {"value": value}})
    assert made.status == 201, made.text
    table = await http.get(f"{path}/n", headers={"Accept": TABLE})
    assert table.json["rows"][0]["cells"] == ["n", *cells]


def printed(group, kind, columns):
    """Return the definition of a kind that holds anything and has these columns."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural}
    spec = {"group": group, "scope": "Namespaced", "names": names}
    spec["versions"] = [{**version, "additionalPrinterColumns": columns}]
    return {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}


@pytest.fixture(scope="module")
def printing(controlplane):
    """Two kinds for the module, with a column of dates and with columns of numbers."""
    group, admin = f"{secrets.token_hex(4)}.example.com", User.of(controlplane)
    dates = [{"name": "At", "type": "date", "jsonPath": ".spec.at"}]
    numbers = [{"name": it, "type": it, "jsonPath": ".spec.value"} for it in ("integer", "number", "string")]
    for kind, columns in (("Dated", dates), ("Numbered", numbers)):
        answer = admin.request("POST", CRDS, printed(group, kind, columns))
        assert answer.status == 201, answer.text
    yield group
    for kind in ("dateds", "numbereds"):
        admin.request("DELETE", f"{CRDS}/{kind}.{group}")


@pytest_asyncio.fixture
async def dated(http, printing):
    """Return where objects of the kind with a column of dates are; `numbereds` are beside them."""

    async def listed():
        return all([(await http.get(http.path(f"{printing}/v1/{it}"))).status == 200 for it in ("dateds", "numbereds")])

    await eventually(listed)
    return http.path(f"{printing}/v1/dateds")
