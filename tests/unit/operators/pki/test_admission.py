"""What pki says at the door."""

from __future__ import annotations

import copy

import pytest

from operatorkit import AdmissionRequest, Allowed, Denied, Mutated
from operatorkit.names import GroupVersionKind
from operators.pki.admission import (
    default_certificate,
    validate_certificate,
    validate_cluster_issuer,
    validate_issuer,
    validate_pki,
    validate_policy,
)
from operators.pki.api import Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki


def certificate(**spec):
    spec = {"secretName": "web", "issuerRef": {"name": "ca"}, **({"dnsNames": ["a.example"]} | spec)}
    return {
        "apiVersion": "pki.operatorkit.dev/v1alpha1",
        "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "team"},
        "spec": {name: value for name, value in spec.items() if value is not None},
    }


def request_for(new, old=None):
    return AdmissionRequest(
        uid="1",
        kind=GroupVersionKind("pki.operatorkit.dev", "v1alpha1", new["kind"]),
        resource="certificates",
        operation="CREATE" if old is None else "UPDATE",
        object=new,
        old_object=old,
    )


async def evaluated(new, old=None, kind=Certificate, function=validate_certificate):
    return await function(kind.read(new), kind.read(old) if old else None, request_for(new, old))


async def defaulted(new, old=None):
    decision = await default_certificate(Certificate.read(copy.deepcopy(new)), request_for(new, old))
    return decision.obj.spec.dns_names if isinstance(decision, Mutated) else None


async def test_every_error_is_reported_at_once_with_field_value_and_remedy():
    denied = await evaluated(certificate(dnsNames=["ok.example", "Under_Score"], duration="5m", privateKey={"size": 7}))
    assert isinstance(denied, Denied)
    assert denied.reason == "Invalid"
    assert [cause.field for cause in denied.causes] == ["spec.dnsNames[1]", "spec.duration", "spec.privateKey.size"]
    assert {cause.reason for cause in denied.causes} == {"FieldValueInvalid"}
    assert denied.causes[2].message == ("Invalid value: 7: ECDSA has no such size: Use 256, 384, 521 for ECDSA")


async def test_a_name_that_is_missing_is_required():
    denied = await evaluated(certificate(dnsNames=[]))
    assert [(cause.field, cause.reason) for cause in denied.causes] == [("spec.commonName", "FieldValueRequired")]
    assert denied.causes[0].message.startswith("Required value: ")


async def test_a_good_request_is_admitted_without_a_word():
    assert await evaluated(certificate()) == Allowed(warnings=[])


@pytest.mark.parametrize(
    ("new", "admitted"),
    [
        ({"dnsNames": ["bad_one"], "duration": "48h"}, True),
        ({"dnsNames": ["ok.example", "bad_one"]}, True),  # it has moved
        ({"dnsNames": ["bad_one", "bad_two"]}, False),
        ({"dnsNames": ["bad_two"]}, False),
        ({"dnsNames": ["bad_one"], "duration": "5m"}, False),
        ({"dnsNames": ["ok.example"]}, True),
    ],
)
async def test_an_old_error_does_not_stand_in_the_way_of_another_change(new, admitted):
    assert isinstance(await evaluated(certificate(**new), certificate(dnsNames=["bad_one"])), Allowed) is admitted


async def test_only_what_is_new_is_reported():
    denied = await evaluated(certificate(dnsNames=["bad_one"], duration="5m"), certificate(dnsNames=["bad_one"]))
    assert [cause.field for cause in denied.causes] == ["spec.duration"]


async def test_a_change_of_labels_alone_is_let_through_without_a_word():
    unwise = certificate(duration="87600h")
    assert (await evaluated(unwise)).warnings
    assert await evaluated(unwise, unwise) == Allowed()


async def test_what_is_being_deleted_is_let_go():
    old, new = certificate(), certificate(dnsNames=["bad_one"])
    new["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert await evaluated(new, old) == Allowed()


@pytest.mark.parametrize(
    ("spec", "reported"),
    [
        ({"duration": "20000h"}, ["spec.duration"]),
        ({"duration": "20000h", "usages": ["client auth"]}, []),
        ({"duration": "18000h", "privateKey": {"algorithm": "RSA"}}, ["spec.privateKey.size"]),
        ({"duration": "18000h", "privateKey": {"rotationPolicy": "Never"}}, ["spec.privateKey.rotationPolicy"]),
        ({"renewBefore": "1h"}, ["spec.renewBefore"]),
        ({"duration": "24h", "renewBefore": "1h"}, []),
    ],
)
async def test_what_is_legal_but_unwise_is_admitted_with_a_warning(spec, reported):
    allowed = await evaluated(certificate(**spec))
    assert isinstance(allowed, Allowed)
    assert [warning.split(":")[0] for warning in allowed.warnings] == reported


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"dnsNames": None, "commonName": "a.example"}, ["a.example"]),
        ({"commonName": "a.example"}, None),
        ({"dnsNames": None, "commonName": "a.example", "ipAddresses": ["10.0.0.1"]}, None),
        ({"dnsNames": None, "commonName": "Our CA", "isCA": True}, None),
        ({"dnsNames": None, "commonName": "not a name"}, None),
    ],
)
async def test_a_common_name_that_stands_alone_becomes_an_alternative_name(spec, names):
    assert await defaulted(certificate(**spec)) == names


async def test_the_alternative_name_follows_the_common_name_that_it_was_made_of():
    old = certificate(commonName="a.example", dnsNames=["a.example"])
    assert await defaulted(certificate(commonName="b.example", dnsNames=["a.example"]), old) == ["b.example"]
    assert await defaulted(old, old) is None
    assert await defaulted(certificate(commonName="b.example", dnsNames=["a.example", "c.example"]), old) is None


async def test_a_policy_that_cannot_be_understood_is_rejected():
    policy = {
        "apiVersion": "pki.operatorkit.dev/v1alpha1",
        "kind": "CertificatePolicy",
        "metadata": {"name": "p"},
        "spec": {"allow": {"dnsNames": ["a.{{cluster}}"]}},
    }
    denied = await evaluated(policy, kind=CertificatePolicy, function=validate_policy)
    assert [cause.field for cause in denied.causes] == ["spec.allow.dnsNames[0]"]
    assert isinstance(await evaluated(policy, policy, kind=CertificatePolicy, function=validate_policy), Allowed)


def written(kind, **spec):
    return {"apiVersion": "pki.operatorkit.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


async def test_what_a_policy_allows_beyond_its_looks_is_warned_of_when_it_is_written():
    older = written("CertificatePolicy", allowedNames=["*", "*.{{namespace}}", "10.0.0.0/8"])
    allowed = await evaluated(older, kind=CertificatePolicy, function=validate_policy)
    assert isinstance(allowed, Allowed)
    assert [warning.partition(":")[0] for warning in allowed.warnings][:2] == [
        "spec.allowedNames is the older form, and allows DNS names only",
        "spec.allowedNames",
    ]


@pytest.mark.parametrize(
    ("kind", "function", "spec", "field"),
    [
        (Issuer, validate_issuer, {"ca": {"secretName": "other/ca"}}, "spec.ca.secretName"),
        (ClusterIssuer, validate_cluster_issuer, {"ca": {"secretName": ".."}}, "spec.ca.secretName"),
        (Pki, validate_pki, {"serviceName": "a.b"}, "spec.serviceName"),
        (Pki, validate_pki, {"serviceName": "a", "issuerRef": {"name": "a%b"}}, "spec.issuerRef.name"),
        (Certificate, validate_certificate, certificate(issuerRef={"name": "a/b"})["spec"], "spec.issuerRef.name"),
        (
            Certificate,
            validate_certificate,
            certificate(duration="1h", renewBefore="59m59s")["spec"],
            "spec.renewBefore",
        ),
    ],
)
async def test_what_cannot_be_is_rejected_by_its_field_and_an_older_one_may_be_changed_otherwise(
    kind, function, spec, field
):
    odd = written(kind.kind, **spec)
    denied = await evaluated(odd, kind=kind, function=function)
    assert isinstance(denied, Denied)
    assert [cause.field for cause in denied.causes] == [field]
    assert isinstance(await evaluated(odd, odd, kind=kind, function=function), Allowed)
