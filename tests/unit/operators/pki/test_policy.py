"""Which requests a policy grants, and what a denial offers instead."""

from __future__ import annotations

import pytest

from operatorkit.resource import ObjectMeta
from operators.pki.api import CertificatePolicy, CertificatePolicySpec, CertificateSpec
from operators.pki.policy import Application, Denial, Grant, decide, denied_names, is_costly
from operators.pki.policy_check import check_policy, notes_on
from operators.pki.request import read_request
from operators.pki.rules import IssuerFacts, _compiled, selects


def request(**fields):
    fields = {"secretName": "web", "issuerRef": {"name": "ca"}, **fields}
    found, spec_errors = read_request(CertificateSpec.model_validate(fields))
    assert found is not None, spec_errors
    return found


ALLOW = {"dnsNames": ["app1", "app1.{{namespace}}", "*.{{namespace}}.svc"], "ipAddresses": ["10.0.0.0/8"]}


def evaluated(asked, policies, *, namespace="team-a", **facts):
    return decide(asked, Application(namespace=namespace, **facts), policies)


def policy(name: str = "team", **fields) -> CertificatePolicy:
    names = {} if "allowedNames" in fields else {"allow": ALLOW, "services": []}
    fields = {**names, **fields}
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
    assert isinstance(evaluated(request(**names), [policy()]), Grant)


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
    assert isinstance(evaluated(request(**names), [policy()]), Denial)


def test_a_dot_in_a_namespace_or_a_pattern_is_a_dot():
    assert isinstance(evaluated(request(dnsNames=["app1xteam-a"]), [policy(allowedNames=["app1.team-a"])]), Denial)


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
    denial = evaluated(request(dnsNames=[name]), [policy()])
    assert isinstance(denial, Denial)
    assert denial.message.startswith(f"Did you mean {near}?" if near else "Request an allowed DNS name")


def test_one_policy_must_allow_all_of_a_request():
    halves = [policy("a", allowedNames=["a1"]), policy("b", allowedNames=["b1"])]
    assert isinstance(evaluated(request(dnsNames=["a1", "b1"]), halves), Denial)
    assert isinstance(evaluated(request(dnsNames=["b1"]), halves), Grant)


def test_the_denial_speaks_of_the_policy_that_came_closest():
    far = policy("a", allowedNames=["zzz"], allowedUsages=[], allowedKeyAlgorithms=[])
    denial = evaluated(request(dnsNames=["app2"]), [far, policy("b")])
    assert isinstance(denial, Denial)
    assert "CertificatePolicy b allows" in denial.message


def test_the_policy_that_was_meant_is_reported_by_names_before_all_else():
    roots = policy("roots", allowedNames=["*"], allowCA=True)
    services = policy(
        "services", allowedNames=["*.{{namespace}}.svc"], allowedKeyAlgorithms=["ECDSA"], maxDuration="1h"
    )
    asked = request(dnsNames=["web.team-b.svc"], privateKey={"algorithm": "RSA"})
    denial = evaluated(asked, [roots, services])
    assert isinstance(denial, Denial)
    assert denial.message.startswith("Did you mean web.team-a.svc? (spec.dnsNames[0] is 'web.team-b.svc'")
    for reported in (
        "Use a key of kind ECDSA",
        "Request at most 1h",
        "CertificatePolicy services allows *.team-a.svc here",
    ):
        assert reported in denial.message


def test_a_denial_says_whether_any_policy_speaks_of_the_namespace():
    no_user, someone = (evaluated(request(dnsNames=["app2"]), found) for found in ([], [policy()]))
    assert isinstance(no_user, Denial)
    assert isinstance(someone, Denial)
    assert (no_user.absent, someone.absent) == (True, False)


def test_a_policy_speaks_of_its_namespaces_only():
    assert isinstance(evaluated(request(dnsNames=["app1"]), [policy(namespaces=["team-b"])]), Denial)
    assert selects(policy(namespaces=["team-*"]).spec, "team-a")
    assert not selects(policy(namespaces=["team-*"]).spec, "my-team-a")


@pytest.mark.parametrize(
    ("allowed", "asked", "path"),
    [
        ({"allowedKeyAlgorithms": ["ECDSA"]}, {"privateKey": {"algorithm": "RSA"}}, "spec.privateKey.algorithm"),
        ({"allowedUsages": ["server auth"]}, {"usages": ["client auth"]}, "spec.usages"),
        ({"maxDuration": "24h"}, {"duration": "25h"}, "spec.duration"),
        ({}, {"isCA": True, "commonName": "app1"}, "spec.isCA"),
        ({"allowedNames": ["app1"], "allowCA": True}, {"isCA": True, "commonName": "app1"}, "spec.isCA"),
        ({"issuers": [{"name": "other"}]}, {}, "spec.issuerRef"),
    ],
)
def test_what_else_a_policy_can_forbid(allowed, asked, path):
    issuer = IssuerFacts("Issuer", "ca")
    denial = evaluated(request(dnsNames=["app1"], **asked), [policy(**allowed)], issuer=issuer)
    assert isinstance(denial, Denial)
    assert path in denial.message


def test_a_policy_that_is_not_understood_allows_nothing():
    broken = policy(allowedNames=["app1", "{{cluster}}"])
    assert [spec_error.field for spec_error in check_policy(broken.spec)] == ["spec.allowedNames[1]"]
    assert isinstance(evaluated(request(dnsNames=["app1"]), [broken]), Denial)
    assert check_policy(policy(maxDuration="9d").spec)[0].field == "spec.maxDuration"


# Types of names


URIS = ["spiffe://example.org/ns/{{namespace}}/*"]


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org/ns/team-a/web",
        "SPIFFE://Example.ORG/ns/team-a/web",
        "spiffe://example.org/ns/%74eam-a/w%65b",
        "spiffe://example.org/ns/team-a/sa:web",
    ],
)
def test_a_star_of_a_uri_is_one_segment_of_the_canonical_form(uri):
    assert isinstance(evaluated(request(uris=[uri]), [policy(allow={"uris": URIS})]), Grant)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org/ns/team-a/%2e%2e%2fteam-b%2fsa",
        "spiffe://example.org/ns/team-a/%2E%2E/team-b/sa",
        "spiffe://example.org/ns/team-a/..",
        "spiffe://example.org/ns/team-a/.",
        "spiffe://example.org/ns/team-a/%2e%2e",
        "spiffe://example.org/ns/team-a/x%2fy",
        "spiffe://example.org/ns/team-a/x%252fy",
        "spiffe://example.org/ns/team-a/x%00",
        "spiffe://example.org/ns/team-a/x?ns=team-b",
        "spiffe://example.org/ns/team-a/x?",
        "spiffe://example.org/ns/team-a/x#team-b",
        "spiffe://example.org/ns/team-a/..;/team-b",
        "spiffe://example.org/ns/team-a/..;",
        "spiffe://example.org/ns/team-a/x/y",
        "spiffe://example.org/ns/team-a//x",
        "spiffe://example.org/ns/team-a/",
        "spiffe://example.org:8443/ns/team-a/x",
        "spiffe://team-b@example.org/ns/team-a/x",
        "spiffe://example.org/ns/team-b/x",
        "spiffe://example.org.evil.example/ns/team-a/x",
        "urn:example.org/ns/team-a/x",
    ],
)
@pytest.mark.parametrize("pattern", ["spiffe://example.org/ns/{{namespace}}/*", "spiffe://*.org/ns/{{namespace}}/*"])
def test_what_parsers_read_differently_is_not_matched_by_a_star(uri, pattern):
    assert isinstance(evaluated(request(uris=[uri]), [policy(allow={"uris": [pattern]})]), Denial)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org/ns/team-a/x%2fy",
        "spiffe://example.org/ns/../team-a",
        "https://example.org/x?ns=team-a",
        "https://example.org:8443/x#part",
        "https://me@example.org/",
    ],
)
def test_a_pattern_that_spells_it_out_allows_it(uri):
    assert isinstance(evaluated(request(uris=[uri]), [policy(allow={"uris": [uri]})]), Grant)


@pytest.mark.parametrize(
    ("kind", "pattern", "allowed", "denied"),
    [
        ("dnsNames", "**.example.com", ["a.example.com", "a.b.example.com"], ["example.com", "a.example.org"]),
        ("dnsNames", "api-*.example.com", ["api-1.example.com"], ["api.example.com", "api-1.2.example.com"]),
        ("dnsNames", "*.example.com", ["*.example.com"], ["*.a.example.com"]),
        ("dnsNames", "*-{{namespace}}.example.com", ["web-team-a.example.com"], ["web-team-b.example.com"]),
        (
            "uris",
            "spiffe://e.org/**",
            ["spiffe://e.org/a", "spiffe://e.org/a/b"],
            ["spiffe://e.org/a//b", "spiffe://e.org"],
        ),
        ("uris", "spiffe://e.org/**", ["spiffe://e.org/a/b/c"], ["spiffe://e.org/a/../b", "spiffe://e.org/a?b"]),
        ("uris", "https://*.e.org/x", ["https://a.e.org/x"], ["https://a.b.e.org/x", "https://evil/.e.org/x"]),
        ("uris", "urn:{{namespace}}:*", ["urn:team-a:x"], ["urn:team-a:x:y", "urn:team-b:x", "urn:team-a:x/y"]),
        (
            "emailAddresses",
            "*@{{namespace}}.e.org",
            ["first.last@team-a.e.org"],
            ["x@team-b.e.org", "a%b@team-a.e.org"],
        ),
        ("emailAddresses", "ops@*.e.org", ["ops@a.e.org"], ["ops@a.b.e.org", "dev@a.e.org"]),
        ("ipAddresses", "10.0.0.0/8", ["10.1.2.3"], ["11.0.0.1", "::ffff:10.0.0.1", "::a00:1"]),
        ("ipAddresses", "fd00::/8", ["fd00::1"], ["fe80::1", "0.0.0.1"]),
    ],
)
def test_what_a_pattern_of_a_type_allows(kind, pattern, allowed, denied):
    policies = [policy(allow={kind: [pattern]})]
    assert [name for name in allowed if isinstance(evaluated(request(**{kind: [name]}), policies), Denial)] == []
    assert [name for name in denied if isinstance(evaluated(request(**{kind: [name]}), policies), Grant)] == []


@pytest.mark.parametrize(
    "names",
    [
        {"ipAddresses": ["fd00::1"]},
        {"uris": ["urn:team-b:admin"]},
        {"emailAddresses": ["root@localhost"]},
        {"dnsNames": ["kubernetes"]},
        {"dnsNames": ["kubernetes.default"]},
        {"dnsNames": ["kubernetes.default.svc"]},
        {"dnsNames": ["kubernetes.default.svc.cluster.local"]},
        {"dnsNames": ["*.default.svc"]},
        {"dnsNames": ["localhost"]},
        {"dnsNames": ["web.localhost"]},
    ],
)
def test_a_star_for_one_type_grants_no_other_and_none_of_the_names_that_clusters_reserve(names):
    everything = {"dnsNames": ["*", "**"]}
    for policies in (
        [policy(allow=everything, services=["Full", "Namespaced", "Short"])],
        [policy(allowedNames=["*", "**"])],
    ):
        assert isinstance(evaluated(request(**names), policies, namespace="default"), Denial)


def test_a_reserved_name_is_granted_by_a_pattern_that_spells_it_out():
    assert isinstance(evaluated(request(dnsNames=["localhost"]), [policy(allow={"dnsNames": ["localhost"]})]), Grant)


@pytest.mark.parametrize(
    ("services", "granted"),
    [
        (None, ["web.dev.svc", "web.dev.svc.cluster.test"]),
        ([], []),
        (["Namespaced"], ["web.dev"]),
        (["Short"], ["web"]),
        (["Full", "Short"], ["web.dev.svc", "web.dev.svc.cluster.test", "web"]),
    ],
)
def test_services_of_the_namespace_get_the_forms_that_the_policy_says(services, granted):
    names = ["web.dev.svc", "web.dev.svc.cluster.test", "web.dev", "web", "web.prod.svc", "a.web.dev.svc", "*.dev.svc"]
    fields = {} if services is None else {"services": services}
    policies = [CertificatePolicy(metadata=ObjectMeta(name="p"), spec=CertificatePolicySpec.model_validate(fields))]
    facts = {"namespace": "dev", "cluster_domain": "cluster.test"}
    assert [n for n in names if isinstance(evaluated(request(dnsNames=[n]), policies, **facts), Grant)] == granted


def test_an_older_policy_grants_no_more_than_it_did():
    older = policy(allowedNames=["app1", "10.0.0.0/8", "spiffe://e.org/*"])
    for names in ({"dnsNames": ["web.team-a.svc"]}, {"ipAddresses": ["10.0.0.1"]}, {"uris": ["spiffe://e.org/x"]}):
        assert isinstance(evaluated(request(**names), [older]), Denial)
    assert isinstance(evaluated(request(dnsNames=["app1"]), [older]), Grant)
    assert any("10.0.0.0/8, spiffe://e.org/* allow nothing" in note for note in notes_on(older.spec))


def test_without_a_known_requester_patterns_with_a_service_account_match_nothing():
    policies = [policy(allow={"uris": ["spiffe://e.org/{{namespace}}/{{ serviceAccount }}"]})]
    asked = request(uris=["spiffe://e.org/team-a/builder"])
    assert isinstance(evaluated(asked, policies), Denial)
    assert isinstance(evaluated(asked, policies, service_account="builder"), Grant)
    assert isinstance(evaluated(asked, policies, service_account="other"), Denial)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"kind": "ClusterIssuer"}, True),
        ({"kind": "Issuer"}, False),
        ({"name": "prod-*"}, True),
        ({"name": "*-eu"}, True),
        ({"name": "prod"}, False),
        ({"selector": {"matchLabels": {"tier": "prod"}}}, True),
        ({"selector": {"matchLabels": {"tier": "test"}}}, False),
        ({"selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["prod", "x"]}]}}, True),
        ({"selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["prod"]}]}}, False),
        ({"selector": {"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}}, True),
        ({"selector": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}, False),
        ({"kind": "ClusterIssuer", "name": "other"}, False),
    ],
)
def test_a_policy_can_name_issuers(selector, selected):
    issuer = IssuerFacts("ClusterIssuer", "prod-eu", {"tier": "prod"})
    decision = evaluated(request(dnsNames=["app1"]), [policy(issuers=[selector])], issuer=issuer)
    assert isinstance(decision, Grant) is selected


def test_a_ca_is_granted_with_the_name_constraints_of_its_namespace():
    constraints = {"permitted": {"dnsDomains": ["{{namespace}}.svc"]}}
    policies = [policy(allow={"commonNames": ["Root of {{namespace}}"]}, allowCA=True, nameConstraints=constraints)]
    granted = evaluated(request(isCA=True, commonName="Root of team-a"), policies)
    assert isinstance(granted, Grant)
    assert granted.name_constraints is not None
    assert granted.name_constraints.permitted.dns_domains == ["team-a.svc"]
    assert isinstance(evaluated(request(isCA=True, commonName="Root of team-b"), policies), Denial)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"allow": {"dnsNames": ["a.{{cluster}}"]}}, "spec.allow.dnsNames[0]"),
        ({"allow": {"dnsNames": ["a..b"]}}, "spec.allow.dnsNames[0]"),
        ({"allow": {"dnsNames": ["a**.b"]}}, "spec.allow.dnsNames[0]"),
        ({"allow": {"ipAddresses": ["10.0.0.1/8"]}}, "spec.allow.ipAddresses[0]"),
        ({"allow": {"ipAddresses": ["10.*"]}}, "spec.allow.ipAddresses[0]"),
        ({"allow": {"uris": ["*"]}}, "spec.allow.uris[0]"),
        ({"allow": {"uris": ["*://e.org/x"]}}, "spec.allow.uris[0]"),
        ({"allow": {"uris": ["https://e.org/x?ns=*"]}}, "spec.allow.uris[0]"),
        ({"allow": {"uris": ["https://e.org:*/x"]}}, "spec.allow.uris[0]"),
        ({"allow": {"emailAddresses": ["*"]}}, "spec.allow.emailAddresses[0]"),
        ({"allow": {}, "allowCA": True}, "spec.nameConstraints"),
        ({"allow": {}, "allowCA": True, "nameConstraints": {"permitted": {}}}, "spec.nameConstraints"),
        ({"nameConstraints": {"permitted": {"ipRanges": ["x"]}}}, "spec.nameConstraints.permitted.ipRanges[0]"),
        ({"nameConstraints": {"excluded": {"dnsDomains": ["*.x"]}}}, "spec.nameConstraints.excluded.dnsDomains[0]"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_by_field_and_it_grants_nothing(fields, path):
    broken = policy(**fields)
    assert [spec_error.field for spec_error in check_policy(broken.spec)] == [path]
    assert isinstance(evaluated(request(dnsNames=["app1"]), [broken]), Denial)


def test_what_a_policy_grants_beyond_its_looks_is_noted():
    assert any(
        "the name of a top-level domain" in note
        for note in notes_on(policy(allow={"dnsNames": ["*.{{namespace}}"]}).spec)
    )
    ca = policy(allowCA=True, nameConstraints={"permitted": {"dnsDomains": ["a"]}})
    assert any("ipRanges, uriDomains, emailAddresses" in note for note in notes_on(ca.spec))
    assert notes_on(policy().spec) == []


# Suggestions, and what a decision costs


def test_a_suggestion_is_of_the_same_type():
    mails = {"emailAddresses": ["no@team-a.example.com"], "uris": ["spiffe://team-a.example.com"]}
    denial = evaluated(request(dnsNames=["no.team-a.example.com"]), [policy(allow=mails)])
    assert isinstance(denial, Denial)
    assert denial.message.startswith("Request an allowed DNS name")
    assert "allows no DNS name here" in denial.message


def test_a_denial_of_a_service_speaks_of_the_field_of_a_pki():
    names = ["shop", "shop.team-a", "shop.team-a.svc", "shop.team-a.svc.cluster.local"]
    near = policy(allow={"dnsNames": ["shop1.{{namespace}}.svc"]})
    denial = evaluated(request(dnsNames=names), [near], from_service="shop")
    assert isinstance(denial, Denial)
    assert denial.message.startswith("Did you mean shop1? (spec.serviceName is 'shop': not allowed in namespace team-a")
    assert "spec.dnsNames" not in denial.message


def test_one_policy_must_allow_the_names_of_a_service_that_it_gets():
    names = ["shop", "shop.team-a", "shop.team-a.svc"]
    policies = [policy("a", allow={"dnsNames": ["shop"]}), policy("b", services=["Full", "Namespaced"])]
    asked = request(dnsNames=names)
    assert denied_names(names, asked, Application(namespace="team-a"), policies) == (["shop"], "b")
    assert denied_names(names, asked, Application(namespace="team-a"), []) == (names, None)


def test_more_names_than_a_policy_admits_are_not_matched_at_all():
    names = [f"a{index}" for index in range(4)]
    few = policy(allow={"dnsNames": ["*"]}, maxNames=3)
    denial = evaluated(request(dnsNames=names), [few])
    assert isinstance(denial, Denial)
    assert denial.message.startswith("Request at most 3 names")
    assert isinstance(evaluated(request(dnsNames=names), [few, policy("z", allow={"dnsNames": ["*"]})]), Grant)


def test_a_policy_is_compiled_once_per_generation():
    one = policy()
    one.metadata.uid, one.metadata.generation = "uid-of-the-compiled", 1
    before = _compiled.cache_info().misses
    for _ in range(3):
        evaluated(request(dnsNames=["app1"]), [one])
    assert _compiled.cache_info().misses == before + 1
    changed = policy(allow={"dnsNames": ["app2"]})
    changed.metadata.uid, changed.metadata.generation = "uid-of-the-compiled", 2
    assert isinstance(evaluated(request(dnsNames=["app1"]), [changed]), Denial)


def test_the_dearest_legal_request_is_denied_within_a_bounded_number_of_calls():
    import sys

    asked = request(
        dnsNames=[f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{index}.example" for index in range(100)],
        ipAddresses=[f"2001:db8::{index:x}" for index in range(1, 101)],
        uris=[f"spiffe://example.org/{'q' * 1900}/{index}" for index in range(20)],
        emailAddresses=[f"{'a' * 50}{index}@example.com" for index in range(20)],
    )
    patterns = {"dnsNames": [f"*.{'b' * 40}{index}.{{{{namespace}}}}.example" for index in range(500)]}
    wide = policy(allow={**patterns, "uris": ["spiffe://example.org/ns/{{namespace}}/**"]}, maxNames=240)
    wide.metadata.uid, wide.metadata.generation = "uid-of-the-wide", 1
    evaluated(request(dnsNames=["app1"]), [wide])
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        assert isinstance(evaluated(asked, [wide]), Denial)
    finally:
        sys.setprofile(None)
    assert calls < 20_000, "an edit distance for each name and pattern takes millions"
    assert is_costly(asked, [wide] * 10)
    assert not is_costly(asked, [policy()])
