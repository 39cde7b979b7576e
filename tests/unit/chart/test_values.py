"""values.yaml and its schema come from one table, so they agree; odd values are refused with the place."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
import yaml

from operatorkit.chart.values import crd_values, operator_values, schema_text, values_text

OPERATOR = operator_values("registry.example.io/keys", grace_seconds=30)


def check(values):
    jsonschema.Draft202012Validator(json.loads(schema_text(OPERATOR))).validate(values)


@pytest.mark.parametrize("schema", [OPERATOR, crd_values()], ids=["operator", "crds"])
def test_the_values_file_holds_the_defaults_of_the_schema_which_takes_them(schema):
    values = yaml.safe_load(values_text(schema))
    assert values == schema["default"]
    text = json.loads(schema_text(schema))
    jsonschema.Draft202012Validator.check_schema(text)
    jsonschema.Draft202012Validator(text).validate(values)


def test_every_value_is_described_where_it_is_set():
    lines = values_text(OPERATOR).splitlines()
    keys = [n for n, line in enumerate(lines) if ":" in line and not line.strip().startswith("#")]
    plain = {"cpu", "memory"}  # amounts within what is described
    undescribed = [
        lines[n]
        for n in keys
        if not lines[n - 1].strip().startswith("#") and lines[n].split(":")[0].strip() not in plain
    ]
    assert undescribed == []


@pytest.mark.parametrize(
    ("path", "odd", "where"),
    [
        (("replicas",), -1, "replicas"),
        (("replicas",), "1", "replicas"),
        (("replica",), 1, "replica"),
        (("image", "repository"), "", "repository"),
        (("image", "digest"), "sha256:abc", "digest"),
        (("image", "pullPolicy"), "Sometimes", "pullPolicy"),
        (("image", "pullpolicy"), "Always", "pullpolicy"),
        (("watchNamespace",), "Team_A", "watchNamespace"),
        (("verbose",), "yes", "verbose"),
        (("resources", "limits"), {"memory": "lots"}, "memory"),
        (("podLabels",), {"tier": 1}, "tier"),
        (("imagePullSecrets",), ["mine"], "imagePullSecrets"),
        (("terminationGracePeriodSeconds",), 0, "terminationGracePeriodSeconds"),
        (("image", "repository"), "a b", "repository"),
        (("image", "repository"), "a:1", "repository"),
        (("image", "tag"), "-x", "tag"),
        (("image", "tag"), 1.10, "tag"),
        (("serviceAccount", "name"), "Bad_Name", "name"),
        (("priorityClassName",), "High Prio", "priorityClassName"),
        (("nodeSelector",), {"a b": "c"}, "nodeSelector"),
        (("nodeSelector",), {"a": "b c"}, "nodeSelector"),
        (("podLabels",), {"-a": "b"}, "podLabels"),
        (("podLabels",), {"a": "x" * 64}, "podLabels"),
        (("tolerations",), [{"effect": "Never"}], "effect"),
        (("tolerations",), [{"keys": "a"}], "keys"),
        (("affinity",), {"nodeAfinity": {}}, "nodeAfinity"),
        (("resources", "limits"), {"memory": "1GB"}, "memory"),
        (("resources", "limits"), {"ram": "1Gi"}, "ram"),
        (("imagePullSecrets",), [{"name": "A B"}], "imagePullSecrets"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_an_odd_value_is_rejected_and_named(path, odd, where):
    values = copy.deepcopy(OPERATOR["default"])
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = odd
    with pytest.raises(jsonschema.ValidationError) as rejected:
        check(values)
    assert where in f"{list(rejected.value.absolute_path)} {rejected.value.message}"


def test_what_people_do_set_is_taken():
    values = copy.deepcopy(OPERATOR["default"])
    values |= {"global": {"any": "thing"}, "watchNamespace": "team-a", "tolerations": [{"operator": "Exists"}]}
    values["resources"] = {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    values["resources"]["limits"] |= {"ephemeral-storage": "1e9", "example.com/gpu": 1, "hugepages-2Mi": "1.5Mi"}
    values["image"] |= {"digest": "sha256:" + "a" * 64, "repository": "localhost:5000/a/b", "tag": "1.10"}
    values["podLabels"] = {"app.kubernetes.io/part-of": "x", "empty": ""}
    values["podAnnotations"] = {"example.com/text": "{{ anything }} at all"}
    values["affinity"] = {"podAntiAffinity": {}}
    values["serviceAccount"]["name"] = "a.b"
    values["tolerations"].append({"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 5})
    check(values)
