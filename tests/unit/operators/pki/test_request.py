"""What a Certificate may ask for, and what is said about the rest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.resource import ObjectMeta
from operators.pki.api import CertificateSpec, IssuerReference, Pki, PkiSpec
from operators.pki.objects import certificate_of, names_of_service
from operators.pki.request import describe, format_duration, parse_duration, read_pki, read_request


def spec(**fields) -> CertificateSpec:
    names = {} if fields.keys() & {"dnsNames", "ipAddresses", "uris", "emailAddresses"} else {"dnsNames": ["a.example"]}
    return CertificateSpec.model_validate({"secretName": "web", "issuerRef": {"name": "ca"}, **names, **fields})


@pytest.mark.parametrize(
    ("fields", "path", "reported"),
    [
        ({"dnsNames": ["10.0.0.1"]}, "spec.dnsNames[0]", "Move 10.0.0.1 to spec.ipAddresses"),
        ({"dnsNames": ["::1"]}, "spec.dnsNames[0]", "Move ::1 to spec.ipAddresses"),
        ({"dnsNames": ["ok.example", "a..b"]}, "spec.dnsNames[1]", "Remove the extra dot"),
        ({"dnsNames": ["a.example."]}, "spec.dnsNames[0]", "Write a.example without the last dot"),
        ({"dnsNames": ["a.*.example"]}, "spec.dnsNames[0]", "Use a wildcard such as *.example.com"),
        ({"dnsNames": ["w*.a.example"]}, "spec.dnsNames[0]", "Use a wildcard such as *.example.com"),
        ({"dnsNames": ["*.com"]}, "spec.dnsNames[0]", "at least two labels"),
        ({"dnsNames": ["*"]}, "spec.dnsNames[0]", "at least two labels"),
        ({"dnsNames": ["-a.example"]}, "spec.dnsNames[0]", "'-a'"),
        ({"dnsNames": ["a_b.example"]}, "spec.dnsNames[0]", "'a_b'"),
        ({"dnsNames": ["bücher.example"]}, "spec.dnsNames[0]", "xn--"),
        ({"dnsNames": ["a" * 64 + ".example"]}, "spec.dnsNames[0]", "at most 63 characters"),
        ({"ipAddresses": ["10.0.0.256"]}, "spec.ipAddresses[0]", "10.0.0.1 or ::1"),
        ({"ipAddresses": ["fe80::1%eth0"]}, "spec.ipAddresses[0]", "Leave out the zone"),
        ({"uris": ["web"]}, "spec.uris[0]", "absolute URI"),
        ({"uris": ["spiffe://a/ö"]}, "spec.uris[0]", "absolute URI"),
        ({"emailAddresses": ["a@b@c"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"commonName": "web"}, "spec.commonName", "Add 'web' to spec.dnsNames"),
        ({"commonName": " a.example"}, "spec.commonName", "printable"),
        ({"isCA": True}, "spec.commonName", "its own common name"),
        ({"dnsNames": []}, "spec.commonName", "at least one of"),
        ({"duration": "-1h"}, "spec.duration", "negative"),
        ({"duration": "59m"}, "spec.duration", "Use at least 1h"),
        ({"duration": "90d"}, "spec.duration", "2160h for 90 days"),
        ({"duration": "30d"}, "spec.duration", "Write a duration such as 720h for 30 days (spec.duration is '30d'"),
        ({"duration": "99999999h"}, "spec.duration", "a hundred years"),
        ({"duration": "90d"}, "spec.duration", "Write a duration such as 2160h for 90 days (spec.duration is '90d'"),
        ({"duration": "2h", "renewBefore": "2h"}, "spec.renewBefore", "Use at most 1h48m"),
        ({"duration": "1h", "renewBefore": "59m59s"}, "spec.renewBefore", "Use at most 54m"),
        ({"duration": "100h", "renewBefore": "90h1s"}, "spec.renewBefore", "less than 10h apart"),
        ({"issuerRef": {"name": "a/b"}}, "spec.issuerRef.name", "a valid name of an issuer"),
        ({"issuerRef": {"name": ".."}}, "spec.issuerRef.name", "a valid name of an issuer"),
        ({"issuerRef": {"name": "a%2fb"}}, "spec.issuerRef.name", "a valid name of an issuer"),
        ({"secretName": "../x"}, "spec.secretName", "a valid name of a Secret"),
        ({"dnsNames": ["127.1"]}, "spec.dnsNames[0]", "its last label is a number"),
        ({"dnsNames": ["web.example.123"]}, "spec.dnsNames[0]", "its last label is a number"),
        ({"dnsNames": ["a.0x7f"]}, "spec.dnsNames[0]", "its last label is a number"),
        ({"dnsNames": ["1234"]}, "spec.dnsNames[0]", "its last label is a number"),
        ({"emailAddresses": [".a@example.com"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"emailAddresses": ["a.@example.com"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"emailAddresses": ["a..b@example.com"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"emailAddresses": ["a@-x.com"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"emailAddresses": ["a@10.0.0.1"]}, "spec.emailAddresses[0]", "team@example.com"),
        ({"uris": ["https://127.1/"]}, "spec.uris[0]", "its host is neither a name nor an address"),
        ({"uris": ["https://example.org/%zz"]}, "spec.uris[0]", "two hexadecimal digits"),
        ({"uris": ["https://example.org:99999/"]}, "spec.uris[0]", "it is not a URI"),
        ({"renewBefore": "1m"}, "spec.renewBefore", "Use at least 5m"),
        ({"privateKey": {"algorithm": "RSA", "size": 1024}}, "spec.privateKey.size", "2048, 3072, 4096"),
        ({"privateKey": {"size": 255}}, "spec.privateKey.size", "256, 384, 521"),
        ({"privateKey": {"algorithm": "Ed25519", "size": 256}}, "spec.privateKey.size", "Leave the size out"),
        ({"usages": []}, "spec.usages", "at least one usage"),
        ({"secretName": "Web"}, "spec.secretName", "a valid name of a Secret"),
    ],
)
def test_an_error_names_its_field_and_the_remedy(fields, path, reported):
    request, spec_errors = read_request(spec(**fields))
    assert request is None
    assert [spec_error.field for spec_error in spec_errors] == [path]
    assert reported in describe(spec_errors)


def test_all_errors_are_named_at_once_and_in_the_order_of_the_fields():
    _, spec_errors = read_request(spec(dnsNames=["a..b"], ipAddresses=["xy"], duration="-1h", privateKey={"size": 1}))
    assert [spec_error.field for spec_error in spec_errors] == [
        "spec.dnsNames[0]",
        "spec.ipAddresses[0]",
        "spec.duration",
        "spec.privateKey.size",
    ]


def test_names_become_canonical_and_repetitions_vanish():
    request, spec_errors = read_request(
        spec(
            dnsNames=["A.Example", "a.example", "*.b.example"],
            ipAddresses=["::0:1", "10.0.0.1"],
            emailAddresses=["Me@Example.COM"],
            uris=["SPIFFE://Example.ORG/%61%2f?%7E"],
            commonName="a.example",
        )
    )
    assert request is not None, spec_errors
    assert request.dns_names == ("a.example", "*.b.example")
    assert request.ip_addresses == ("::1", "10.0.0.1")
    assert request.email_addresses == ("Me@example.com",)
    assert request.uris == ("spiffe://example.org/a%2F?~",)
    assert [field for field, _ in request.names()] == [
        "spec.dnsNames[0]",
        "spec.dnsNames[1]",
        "spec.ipAddresses[0]",
        "spec.ipAddresses[1]",
        "spec.uris[0]",
        "spec.emailAddresses[0]",
    ]


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ({"dnsNames": ["App1"], "commonName": "App1"}, "app1"),
        ({"dnsNames": ["app1"], "commonName": "App1"}, "app1"),
        ({"ipAddresses": ["::0:1"], "commonName": "::0:1"}, "::1"),
        ({"emailAddresses": ["Me@Example.COM"], "commonName": "Me@Example.COM"}, "Me@example.com"),
        ({"isCA": True, "dnsNames": [], "commonName": "The Root"}, "The Root"),
    ],
)
def test_a_common_name_is_written_as_the_alternative_name_that_it_is(fields, canonical):
    request, spec_errors = read_request(spec(**fields))
    assert request is not None, spec_errors
    assert request.common_name == canonical


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"serviceName": "Shop"}, ["spec.serviceName"]),
        ({"serviceName": "shop.svc"}, ["spec.serviceName"]),
        ({"serviceName": "shop", "secretName": "My_Secret"}, ["spec.secretName"]),
        ({"serviceName": "", "secretName": "."}, ["spec.serviceName", "spec.secretName"]),
        ({"serviceName": "shop", "issuer": "a/b"}, ["spec.issuerRef.name"]),
        ({"serviceName": "s" * 63, "secretName": "a.b"}, []),
        ({"serviceName": "shop"}, []),
    ],
)
def test_what_is_wrong_with_a_pki_is_said_of_its_own_fields(fields, paths):
    spec = PkiSpec.model_construct(
        service_name=fields["serviceName"],
        secret_name=fields.get("secretName"),
        issuer_ref=IssuerReference(name=fields.get("issuer", "default")),
    )
    assert [spec_error.field for spec_error in read_pki(spec)] == paths
    if not paths:
        names = names_of_service(spec.service_name, "n" * 63, "cluster.local")
        made = certificate_of(Pki(metadata=ObjectMeta(name="p" * 253, namespace="n" * 63), spec=spec), names)
        assert read_request(made.spec)[1] == []


def test_the_digest_follows_what_a_certificate_depends_on_and_nothing_else():
    def digest(**fields) -> str:
        request, spec_errors = read_request(spec(**fields))
        assert request is not None, spec_errors
        return request.digest("Issuer/ca")

    base = digest()
    assert base == digest(renewBefore="24h") == digest(privateKey={"rotationPolicy": "Never"})
    different = [digest(duration="48h"), digest(dnsNames=["b.example"]), digest(privateKey={"algorithm": "RSA"})]
    assert len({base, *different}) == 4
    request, _ = read_request(spec())
    assert request is not None
    assert request.digest("Issuer/other") != base


@given(st.integers(min_value=-(10**8), max_value=10**8).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_survives_writing_and_reading(duration):
    assert parse_duration(format_duration(duration)) == duration or duration == timedelta(0)


@given(st.text(max_size=300))
def test_no_text_in_any_name_field_breaks_the_check(text):
    for field in ("dnsNames", "ipAddresses", "uris", "emailAddresses"):
        read_request(CertificateSpec.model_construct(**spec().__dict__ | {_python_name(field): [text]}))


def _python_name(field: str) -> str:
    return {"dnsNames": "dns_names", "ipAddresses": "ip_addresses", "emailAddresses": "email_addresses"}.get(
        field, field
    )
