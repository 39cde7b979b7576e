"""Which requests a policy grants, and what a denial offers instead."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operatorkit.resource import ObjectMeta
from operators.pki.api import CertificatePolicy, CertificatePolicySpec, CertificateSpec
from operators.pki.policy import _distance, check_policy, decide, nearest_name, selects
from operators.pki.request import read_request


def request(**fields):
    fields = {"secretName": "web", "issuerRef": {"name": "ca"}, **fields}
    found, faults = read_request(CertificateSpec.model_validate(fields))
    assert found is not None, faults
    return found


def policy(name: str = "team", **fields) -> CertificatePolicy:
    fields = {"allowedNames": ["app1", "app1.{{namespace}}", "*.{{namespace}}.svc", "10.0.0.0/8"], **fields}
    return CertificatePolicy(metadata=ObjectMeta(name=name), spec=CertificatePolicySpec.model_validate(fields))


@pytest.mark.parametrize(
    "names",
    [
        {"dnsNames": ["app1"]},
        {"dnsNames": ["app1.team-a"]},
        {"dnsNames": ["anything.team-a.svc"]},
        {"dnsNames": ["*.team-a.svc"]},
        {"ipAddresses": ["10.9.8.7"]},
        {"commonName": "app1", "dnsNames": ["app1"]},
    ],
)
def test_an_allowed_name_is_granted(names):
    assert decide(request(**names), "team-a", [policy()]) is None


@pytest.mark.parametrize(
    "names",
    [
        {"dnsNames": ["app2"]},
        {"dnsNames": ["app1.team-b"]},
        {"dnsNames": ["web.team-b.svc"]},
        {"dnsNames": ["a.b.team-a.svc"]},
        {"dnsNames": ["app1", "app2"]},
        {"ipAddresses": ["11.0.0.1"]},
        {"ipAddresses": ["::1"]},
        {"uris": ["spiffe://x/web"]},
        {"emailAddresses": ["x.team-a.svc@evil.example"]},
    ],
)
def test_any_other_name_is_denied(names):
    assert decide(request(**names), "team-a", [policy()]) is not None


def test_a_dot_in_a_namespace_or_a_pattern_is_a_dot():
    assert decide(request(dnsNames=["app1xteam-a"]), "team-a", [policy(allowedNames=["app1.team-a"])]) is not None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("app2", "app1"),
        ("app1.team-b", "app1.team-a"),
        ("web.team-b.svc", "web.team-a.svc"),
        ("zzzzzz", None),
    ],
)
def test_a_denial_offers_the_nearest_allowed_name(name, near):
    patterns = policy().spec.allowed_names
    assert nearest_name(name, patterns, "team-a") == near
    denial = decide(request(dnsNames=[name]), "team-a", [policy()])
    assert denial is not None
    assert denial.message.startswith(f"Did you mean {near}?" if near else "Ask for an allowed name")


def test_one_policy_must_allow_all_of_a_request():
    halves = [policy("a", allowedNames=["a1"]), policy("b", allowedNames=["b1"])]
    assert decide(request(dnsNames=["a1", "b1"]), "team-a", halves) is not None
    assert decide(request(dnsNames=["b1"]), "team-a", halves) is None


def test_the_denial_speaks_of_the_policy_that_came_closest():
    far = policy("a", allowedNames=["zzz"], allowedUsages=[], allowedKeyAlgorithms=[])
    denial = decide(request(dnsNames=["app2"]), "team-a", [far, policy("b")])
    assert denial is not None
    assert "CertificatePolicy b allows" in denial.message


def test_the_policy_that_was_meant_is_told_by_names_before_all_else():
    roots = policy("roots", allowedNames=["*"], allowCA=True)
    services = policy(
        "services", allowedNames=["*.{{namespace}}.svc"], allowedKeyAlgorithms=["ECDSA"], maxDuration="1h"
    )
    asked = request(dnsNames=["web.team-b.svc"], privateKey={"algorithm": "RSA"})
    denial = decide(asked, "team-a", [roots, services])
    assert denial is not None
    assert denial.message.startswith("Did you mean web.team-a.svc? (spec.dnsNames[0] is 'web.team-b.svc'")
    for told in (
        "Use a key of kind ECDSA",
        "Ask for at most 1h",
        "CertificatePolicy services allows *.team-a.svc here",
    ):
        assert told in denial.message


def test_a_denial_says_whether_any_policy_speaks_of_the_namespace():
    nobody, somebody = (decide(request(dnsNames=["app2"]), "team-a", found) for found in ([], [policy()]))
    assert nobody is not None
    assert somebody is not None
    assert (nobody.absent, somebody.absent) == (True, False)


def test_a_policy_speaks_of_its_namespaces_only():
    assert decide(request(dnsNames=["app1"]), "team-a", [policy(namespaces=["team-b"])]) is not None
    assert selects(policy(namespaces=["team-*"]).spec, "team-a")
    assert not selects(policy(namespaces=["team-*"]).spec, "my-team-a")


@pytest.mark.parametrize(
    ("allowed", "asked", "path"),
    [
        ({"allowedKeyAlgorithms": ["ECDSA"]}, {"privateKey": {"algorithm": "RSA"}}, "spec.privateKey.algorithm"),
        ({"allowedUsages": ["server auth"]}, {"usages": ["client auth"]}, "spec.usages"),
        ({"maxDuration": "24h"}, {"duration": "25h"}, "spec.duration"),
        ({}, {"isCA": True, "commonName": "app1"}, "spec.isCA"),
    ],
)
def test_what_else_a_policy_can_forbid(allowed, asked, path):
    denial = decide(request(dnsNames=["app1"], **asked), "team-a", [policy(**allowed)])
    assert denial is not None
    assert path in denial.message


def test_a_policy_that_is_not_understood_allows_nothing():
    broken = policy(allowedNames=["app1", "{{serviceAccount}}"])
    assert [fault.field for fault in check_policy(broken.spec)] == ["spec.allowedNames[1]"]
    assert decide(request(dnsNames=["app1"]), "team-a", [broken]) is not None
    assert check_policy(policy(maxDuration="9d").spec)[0].field == "spec.maxDuration"


@given(st.text("ab.-*", max_size=12), st.lists(st.text("ab.-*{}", min_size=1, max_size=12), min_size=1, max_size=4))
@example("", ["a", "{{}}"])
def test_what_is_offered_is_allowed(name, patterns):
    allowed = policy(allowedNames=patterns)
    near = nearest_name(name, patterns, "team-a")
    understood = not check_policy(allowed.spec)  # one that is not allows nothing, and so offers nothing
    if understood and near is not None and "*" not in near:
        asked, faults = read_request(
            CertificateSpec.model_validate({"secretName": "w", "issuerRef": {"name": "c"}, "dnsNames": [near]})
        )
        if asked is not None and not faults:
            assert decide(asked, "team-a", [allowed]) is None


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_distance_of_names_is_a_metric(a, b, c):
    assert (_distance(a, b) == 0) == (a == b)
    assert _distance(a, b) == _distance(b, a)
    assert _distance(a, c) <= _distance(a, b) + _distance(b, c)
