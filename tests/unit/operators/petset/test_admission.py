"""What is rejected before it is stored, with the field at fault."""

from __future__ import annotations

import pytest
from soak.petset_world import petset

from operators.petset.admission import check_change, check_spec
from operators.petset.identity import claim_name, ordinal_of, pod_name
from operators.petset.ordinals import desired_ordinals, parse_range

CLAIM = {"metadata": {"name": "data"}, "spec": {}}


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
    ("name", "replicas", "accepted"), [("w" * 61, 10, True), ("w" * 61, 11, False), ("w" * 63, 1, False)]
)
def test_the_name_must_leave_space_for_the_highest_ordinal(name, replicas, accepted):
    assert (fields(petset(name, replicas=replicas)) == []) is accepted


@pytest.mark.parametrize("name", ["web.db", "Web", "wéb", "-web"])
def test_the_name_must_be_a_hostname(name):
    assert fields(petset(name)) == ["metadata.name"]


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
