"""What is rejected before it is stored, with the field at fault."""

from __future__ import annotations

import pytest
from soak.petset_world import petset

from operators.petset.admission import check_change, check_spec
from operators.petset.identity import claim_name, ordinal_of, pod_name
from operators.petset.ordinals import desired_ordinals, parse_range

CLAIM = {"metadata": {"name": "data"}, "spec": {}}


def labelled(labels):
    containers = [{"name": "app", "image": "web:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {"selector": {"matchLabels": labels}, "template": template}


def gates(*given):
    return {"disruption": {"gates": [{"name": "gate", **each} for each in given]}}


def fields(pets):
    return [cause.field for cause in check_spec(pets)]


def test_an_ordinary_set_is_accepted():
    assert fields(petset(serviceName="web", volumeClaimTemplates=[CLAIM], reserveOrdinals=["2-5"])) == []


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"selector": {}}, "spec.selector", "is empty"),
        ({"selector": {"matchLabels": {"app": "x"}}}, "spec.template.metadata.labels", "does not match spec.selector"),
        ({"reserveOrdinals": ["5-2"]}, "spec.reserveOrdinals[0]", 'write "2-5"'),
        ({"reserveOrdinals": [1, "x"]}, "spec.reserveOrdinals[1]", "is not an ordinal"),
        ({"overrides": [{"ordinals": ["a"], "template": {}}]}, "spec.overrides[0].ordinals[0]", "is not an ordinal"),
        (
            {"overrides": [{"ordinals": ["0-2"], "template": {}}, {"ordinals": [2], "template": {}}]},
            "spec.overrides[1].ordinals[0]",
            "overlaps spec.overrides[0].ordinals[0]",
        ),
        ({"volumeClaimTemplates": [CLAIM, CLAIM]}, "spec.volumeClaimTemplates[1].metadata.name", "two templates"),
        ({"volumeClaimTemplates": [{"spec": {}}]}, "spec.volumeClaimTemplates[0].metadata.name", "by its name"),
        (
            {"volumeClaimTemplates": [{"metadata": {"name": "Data"}, "spec": {}}]},
            "spec.volumeClaimTemplates[0].metadata.name",
            "lower case",
        ),
        ({"serviceName": "Web"}, "spec.serviceName", "lower case"),
        ({"serviceName": "bücher"}, "spec.serviceName", "lower case"),
        ({"reserveOrdinals": ["\u0661"]}, "spec.reserveOrdinals[0]", "is not an ordinal"),
        (
            {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "many"}}},
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "neither a number",
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "at least 1",
        ),
        ({"disruption": {"budget": "x%"}}, "spec.disruption.budget", "neither a number"),
        (gates({"cel": "true"}, {"cel": "true"}), "spec.disruption.gates[1].name", "two gates"),
        (gates({}), "spec.disruption.gates[0]", "exactly one"),
        (gates({"cel": "true", "httpGet": {"port": 80}}), "spec.disruption.gates[0]", "exactly one"),
        (gates({"cel": "pod.size() >"}), "spec.disruption.gates[0].cel", "1:13: Syntax error"),
        (gates({"cel": "nothing == 1"}), "spec.disruption.gates[0].cel", "undeclared reference to 'nothing'"),
        (gates({"cel": "1 + 1"}), "spec.disruption.gates[0].cel", "is of type INT, and must be true or false"),
        (gates({"httpGet": {"port": 0}}), "spec.disruption.gates[0].httpGet.port", "from 1 to 65535"),
        (gates({"httpGet": {"port": "admin"}}), "spec.disruption.gates[0].httpGet.port", "no port of a container"),
        (
            {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
            "spec.template.spec.containers",
            "at least one container",
        ),
    ],
)
def test_what_cannot_work_is_named(spec, field, said):
    causes = check_spec(petset(**spec))
    assert [cause.field for cause in causes] == [field]
    assert said in causes[0].message


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("w" * 52, 0, None),
        ("w" * 53, 0, "its revisions have 64 characters and are labels, which have at most 63: shorten the name by 1"),
        ("w" * 52, 2_147_483_640, None),
        ("w" * 53, 2_147_483_640, "has 64 characters and is a label and a hostname"),
        ("w" * 63, 0, "shorten the name by 11"),
        ("w" * 64, 0, "must be no more than 63 characters"),
    ],
)
def test_the_name_must_leave_space_for_revisions_and_for_the_highest_ordinal(name, start, said):
    causes = check_spec(petset(name, replicas=1, ordinals={"start": start}, **labelled({"app": "web"})))
    assert [cause.field for cause in causes] == (["metadata.name"] if said else [])
    assert said is None or said in causes[0].message


@pytest.mark.parametrize(
    ("length", "field"),
    [
        (63, None),
        (64, "spec.volumeClaimTemplates[0].metadata.name"),
        (253, "spec.volumeClaimTemplates[0].metadata.name"),
    ],
)
def test_the_name_of_a_claim_template_is_that_of_a_volume(length, field):
    template = {"metadata": {"name": "d" * length}, "spec": {}}
    assert fields(petset("w" * 52, volumeClaimTemplates=[template])) == ([field] if field else [])


@pytest.mark.parametrize(
    ("labels", "suffix"),
    [
        ({"app": "w" * 63}, None),
        ({"app": ""}, None),
        ({f"{'d.' * 126}d/{'n' * 63}": "web"}, None),
        ({"app": "w" * 64}, "[app]"),
        ({"app": "wéb"}, "[app]"),
        ({"app": "-web"}, "[app]"),
        ({"äpp": "web"}, ""),
        ({f"{'d' * 254}/app": "web"}, ""),
        ({"/app": "web"}, ""),
    ],
)
def test_labels_that_no_pod_can_have_are_named(labels, suffix):
    paths = ["spec.selector.matchLabels", "spec.template.metadata.labels"]
    assert fields(petset(**labelled(labels))) == ([f"{path}{suffix}" for path in paths] if suffix is not None else [])


@pytest.mark.parametrize("name", ["web.db", "Web", "wéb", "-web"])
def test_the_name_must_be_a_hostname(name):
    assert fields(petset(name, **labelled({"app": "web"}))) == ["metadata.name"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"serviceName": "other"}, "spec.serviceName"),
        ({"podManagementPolicy": "Parallel"}, "spec.podManagementPolicy"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector"),
    ],
)
def test_what_is_immutable_is_named(change, field):
    assert [cause.field for cause in check_change(petset().spec, petset(**change).spec)] == [field]


@pytest.mark.parametrize(
    ("pod", "ordinal"),
    [("web-0", 0), ("web-12", 12), ("web-01", None), ("web-", None), ("web", None), ("a-web-1", None)],
)
def test_only_the_exact_form_of_a_name_is_a_member(pod, ordinal):
    assert ordinal_of(pod, "web") == ordinal


def test_names_are_those_of_a_statefulset():
    assert (pod_name("web", 3), claim_name("data", "web", 3)) == ("web-3", "data-web-3")


def test_reserved_ordinals_are_passed_over_from_the_start_on():
    reserved = [parse_range("2-4"), parse_range(6)]
    assert desired_ordinals(4, start=1, reserved=reserved) == [1, 5, 7, 8]


@pytest.mark.parametrize("value", ["-1", "1-", "a", "", "5-2", "99999999999", "\u0661"])
def test_a_range_that_is_none_is_rejected(value):
    with pytest.raises(ValueError, match=r"ordinal|before"):
        parse_range(value)


def claims(storage="1Gi", **spec):
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, **spec}
    return petset(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": body}]).spec


def test_a_larger_request_in_a_claim_template_is_accepted():
    assert check_change(claims("1Gi"), claims("1.5Gi")) == []
    assert check_change(claims("1Gi"), claims("1024Mi")) == []


@pytest.mark.parametrize(
    ("new", "field", "said"),
    [
        (claims("512Mi"), "spec.volumeClaimTemplates[0].spec.resources.requests.storage", "cannot shrink"),
        (claims(storageClassName="fast"), "spec.volumeClaimTemplates[0].spec.storageClassName", "cannot change"),
        (claims(accessModes=["ReadWriteMany"]), "spec.volumeClaimTemplates[0].spec.accessModes", "cannot change"),
    ],
)
def test_a_change_that_claims_cannot_follow_is_rejected(new, field, said):
    [cause] = check_change(claims("1Gi"), new)
    assert cause.field == field
    assert said in cause.message


def test_a_claim_template_may_be_added():
    both = petset(volumeClaimTemplates=[CLAIM, {"metadata": {"name": "logs"}, "spec": {}}]).spec
    assert check_change(petset(volumeClaimTemplates=[CLAIM]).spec, both) == []


SMALLER = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
LARGER = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}


def test_a_smaller_request_is_rejected_unless_claims_may_be_recreated():
    old, new = (petset(volumeClaimTemplates=[each]).spec for each in (LARGER, SMALLER))
    [cause] = check_change(old, new)
    assert cause.field == "spec.volumeClaimTemplates[0].spec.resources.requests.storage"
    assert "set volumeUpdate to Recreate, which deletes the claims with their data" in cause.message
    assert check_change(old, petset(volumeClaimTemplates=[SMALLER], volumeUpdate="Recreate").spec) == []
