"""Certificates obey the rules, and nothing that does not is let through."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.pki.api import CertificateSpec, NameConstraints, NameConstraintSubtrees
from operators.pki.issue import VerificationError, issue, new_serial, read_material, verify
from operators.pki.keys import generate_key, write_key
from operators.pki.request import Request, read_request
from operators.pki.signer import CaSigner, SelfSigner, SignerError, read_ca

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def request(**fields) -> Request:
    spec = {"secretName": "web", "issuerRef": {"name": "ca"}, **fields}
    found, spec_errors = read_request(CertificateSpec.model_validate(spec))
    assert found is not None, spec_errors
    return found


def key_for(wanted: Request):
    return generate_key(wanted.algorithm, wanted.size)


def make(wanted: Request, signer, *, now: datetime = NOW, serial: int | None = None):
    return issue(wanted, signer, key_for(wanted), serial=serial or new_serial(), now=now)


def ca_request(name: str = "root", **fields) -> Request:
    return request(commonName=name, isCA=True, duration="87600h", **fields)


@pytest.fixture(scope="module")
def root() -> CaSigner:
    return read_ca("ns/ca", make(ca_request(), SelfSigner()).material.data(), NOW)


@pytest.fixture(scope="module")
def intermediate(root) -> CaSigner:
    return read_ca("ns/ca", make(ca_request("below"), root).material.data(), NOW)


def extension(certificate: x509.Certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_a_leaf_has_the_extensions_of_the_rules(root):
    leaf = make(request(dnsNames=["a.example"]), root).material.certificate
    basic = extension(leaf, x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment
    extended = extension(leaf, x509.ExtendedKeyUsage)
    assert not extended.critical
    assert list(extended.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    identifier = extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == extension(root.certificate, x509.SubjectKeyIdentifier).value.digest
    assert leaf.not_valid_before_utc == NOW.replace(microsecond=0) - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == NOW.replace(microsecond=0) + timedelta(hours=2160)


@pytest.mark.parametrize(
    ("usages", "enciphers"),
    [(["server auth"], True), (["server auth", "client auth"], True), (["client auth"], False)],
)
def test_only_rsa_keys_of_servers_encipher_keys(root, usages, enciphers):
    wanted = request(dnsNames=["a.example"], privateKey={"algorithm": "RSA"}, usages=usages)
    assert extension(make(wanted, root).material.certificate, x509.KeyUsage).value.key_encipherment is enciphers


@pytest.mark.parametrize(
    ("names", "subject"),
    [
        ({"dnsNames": ["a.example", "b.example"]}, "CN=a.example"),
        ({"dnsNames": ["x" * 60 + ".example"], "ipAddresses": ["10.0.0.1"]}, "CN=10.0.0.1"),
        ({"uris": ["spiffe://example.org/a"]}, "CN=spiffe://example.org/a"),
        ({"dnsNames": ["a.example"], "commonName": "a.example"}, "CN=a.example"),
    ],
)
def test_what_signs_itself_has_a_name_since_an_issuer_needs_one(names, subject):
    leaf = make(request(**names), SelfSigner()).material.certificate
    assert leaf.issuer == leaf.subject
    assert leaf.subject.rfc4514_string() == subject
    assert not extension(leaf, x509.SubjectAlternativeName).critical
    identifier = extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == extension(leaf, x509.SubjectKeyIdentifier).value.digest


def test_what_signs_itself_has_a_name_even_where_all_of_its_names_are_too_long_for_a_subject():
    leaf = make(request(dnsNames=["x" * 60 + ".example"]), SelfSigner()).material.certificate
    assert leaf.subject.get_attributes_for_oid(x509.NameOID.DN_QUALIFIER)


def test_a_ca_carries_the_name_constraints_of_its_policy_and_they_hold_for_what_it_signs(root):
    permitted = NameConstraintSubtrees(dns_domains=["team.svc"], ip_ranges=["10.0.0.0/8"], uri_domains=[".e.org"])
    excluded = NameConstraintSubtrees(dns_domains=["not.team.svc"], email_addresses=["e.org"])
    constraints = NameConstraints(permitted=permitted, excluded=excluded)
    wanted = replace(ca_request("team"), name_constraints=constraints)
    material = make(wanted, root).material
    found = extension(material.certificate, x509.NameConstraints)
    assert found.critical
    assert len(found.value.permitted_subtrees) == 3
    assert len(found.value.excluded_subtrees) == 2
    team = read_ca("ns/ca", material.data(), NOW)
    make(request(dnsNames=["a.team.svc"], ipAddresses=["10.1.1.1"]), team)
    for names in ({"dnsNames": ["a.other.svc"]}, {"dnsNames": ["a.not.team.svc"]}, {"ipAddresses": ["11.0.0.1"]}):
        with pytest.raises(VerificationError, match="no verifier"):
            make(request(**names), team)


def test_a_ca_is_kept_whatever_its_policy_says_now_and_no_leaf_has_constraints(root):
    constraints = NameConstraints(permitted=NameConstraintSubtrees(dns_domains=["team.svc"]))
    wanted = replace(ca_request("team"), name_constraints=constraints)
    material = make(wanted, root).material
    verify(material, ca_request("team"), root, now=NOW)
    with pytest.raises(VerificationError, match="nameConstraints"):
        verify(make(ca_request("team"), root).material, wanted, root, now=NOW)
    with pytest.raises(VerificationError, match="no verifier"):
        make(replace(request(dnsNames=["a.team.svc"]), name_constraints=constraints), root)


def test_alternative_names_are_critical_exactly_when_the_subject_is_empty(root):
    bare = make(request(dnsNames=["a.example"]), root).material.certificate
    named = make(request(dnsNames=["a.example"], commonName="a.example"), root).material.certificate
    assert extension(bare, x509.SubjectAlternativeName).critical
    assert not extension(named, x509.SubjectAlternativeName).critical


def test_a_root_has_no_path_length_and_a_ca_below_it_signs_leaves_only(root, intermediate):
    assert extension(root.certificate, x509.BasicConstraints).value.path_length is None
    assert extension(intermediate.certificate, x509.BasicConstraints).value.path_length == 0
    with pytest.raises(x509.ExtensionNotFound):
        extension(root.certificate, x509.AuthorityKeyIdentifier)
    usage = extension(root.certificate, x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_a_chain_is_sent_without_its_root(intermediate, root):
    material = make(request(dnsNames=["a.example"]), intermediate).material
    assert x509.load_pem_x509_certificates(material.data()["tls.crt"]) == [
        material.certificate,
        intermediate.certificate,
    ]
    assert x509.load_pem_x509_certificate(material.data()["ca.crt"]) == root.certificate


def test_nothing_outlives_its_chain(root):
    wanted = request(dnsNames=["a.example"], duration="876000h")
    issued = make(wanted, root)
    assert issued.clamped
    assert issued.material.certificate.not_valid_after_utc == root.not_after


def test_a_serial_number_fits_into_twenty_octets():
    assert all(0 < new_serial() < 2**159 for _ in range(1000))


def test_what_was_issued_is_accepted_after_storing_it_and_rejected_after_any_change(root, intermediate):
    wanted = request(dnsNames=["a.example"])
    data = make(wanted, root).material.data()
    verify(read_material(data), wanted, root, now=NOW)
    other = make(wanted, root).material.data()
    below = make(wanted, intermediate).material.data()
    for changed in (
        {**data, "tls.key": other["tls.key"]},
        {**data, "tls.crt": other["tls.crt"]},
        {**data, "tls.crt": data["tls.crt"] + other["tls.crt"]},
        {**data, "ca.crt": below["tls.crt"]},
        {**data, "tls.crt": b"nonsense"},
        {name: value for name, value in data.items() if name != "ca.crt"},
        below,
    ):
        with pytest.raises(VerificationError):
            verify(read_material(changed), wanted, root, now=NOW)
    for different in (
        request(dnsNames=["b.example"]),
        request(dnsNames=["a.example"], usages=["client auth"]),
        request(dnsNames=["a.example"], privateKey={"size": 384}),
        request(dnsNames=["a.example"], commonName="a.example"),
        request(dnsNames=["a.example"], uris=["spiffe://example/a"]),
        request(dnsNames=["a.example"], usages=["server auth", "client auth"]),
    ):
        with pytest.raises(VerificationError):
            verify(read_material(data), different, root, now=NOW)
    for moment in (NOW - timedelta(hours=1), NOW + timedelta(hours=2161)):
        with pytest.raises(VerificationError, match="valid until"):
            verify(read_material(data), wanted, root, now=moment)


@pytest.mark.parametrize(
    "fields", [{"dnsNames": ["a.example"]}, {"commonName": "ca", "isCA": True}], ids=["leaf", "ca"]
)
def test_what_signs_itself_is_its_own_root(fields):
    wanted = request(usages=["server auth", "client auth"], **fields)
    issued = make(wanted, SelfSigner()).material
    assert issued.root == issued.certificate
    verify(read_material(issued.data()), wanted, SelfSigner(), now=NOW)


def test_a_ca_with_name_constraints_does_not_issue_what_no_verifier_would_accept(root):
    constraint = x509.NameConstraints([x509.DNSName("allowed.example")], None)
    key = key_for(ca_request())
    certificate = (
        x509.CertificateBuilder(extensions=[*root.certificate.extensions][:2])
        .subject_name(root.certificate.subject)
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(constraint, critical=True)
        .sign(key, root.certificate.signature_hash_algorithm)
    )
    constrained = CaSigner(key, (certificate,), certificate)
    make(request(dnsNames=["a.allowed.example"]), constrained)
    with pytest.raises(VerificationError, match="no verifier"):
        make(request(dnsNames=["a.forbidden.example"]), constrained)


@pytest.mark.parametrize(
    "names",
    [
        {"dnsNames": [".".join(["a" * 63] * 3 + ["b" * 61])]},
        {"dnsNames": ["*." + ".".join(["a" * 63] * 3 + ["b" * 59])]},
        {"dnsNames": ["xn--bcher-kva.example"], "commonName": "xn--bcher-kva.example"},
        {"dnsNames": ["a" * 60 + ".com"], "commonName": "a" * 60 + ".com"},
        {"ipAddresses": ["2001:db8::1", "::ffff:10.0.0.1"], "commonName": "2001:db8::1"},
        {"uris": ["spiffe://example.org/web"], "emailAddresses": ["team@example.com"]},
    ],
)
def test_names_of_every_kind_and_length_pass_verification(root, intermediate, names):
    wanted = request(**names)
    for signer in (root, intermediate):
        stored = read_material(make(wanted, signer).material.data())
        found = extension(stored.certificate, x509.SubjectAlternativeName).value
        assert len(found) == sum(len(listed) for listed in names.values() if isinstance(listed, list))
        verify(stored, wanted, signer, now=NOW)


# The CA's Secret


def ca_with(signer: CaSigner | None = None, *, without: type | None = None, path_length: int | None = None, **usage):
    """Return the data of a Secret with a CA as other programs may make it."""
    key = key_for(ca_request())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    issuer = signer.certificate if signer is not None else None
    words = inspect.signature(x509.KeyUsage).parameters
    allowed = {"key_cert_sign": True, "crl_sign": True, **usage}
    extensions = [
        x509.BasicConstraints(ca=True, path_length=path_length),
        x509.KeyUsage(**{word: allowed.get(word, False) for word in words}),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key() if issuer else key.public_key()),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
    )
    for one in extensions:
        if without is None or not isinstance(one, without):
            builder = builder.add_extension(one, critical=isinstance(one, x509.BasicConstraints))
    certificate = builder.sign(signer.key if signer is not None else key, hashes.SHA256())
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *(signer.path if signer else ())))
    return {"tls.crt": pem, "tls.key": write_key(key)}


def test_a_ca_of_another_program_signs(root):
    for signer in (None, root):
        made_by = read_ca("ns/ca", ca_with(signer), NOW)
        make(request(dnsNames=["a.example"]), made_by)


@pytest.mark.parametrize(
    ("odd", "reported"),
    [
        ({"without": x509.SubjectKeyIdentifier}, "by a CA with the extension subjectKeyIdentifier: it has none"),
        ({"without": x509.KeyUsage}, "by a CA with the extension keyUsage keyCertSign and cRLSign: it has no keyUsage"),
        ({"key_cert_sign": False}, "it may not sign certificates"),
        ({"without": x509.BasicConstraints}, "basicConstraints CA:TRUE"),
    ],
)
def test_a_ca_whose_chains_strict_verifiers_reject_does_not_sign(odd, reported):
    with pytest.raises(SignerError, match=reported):
        read_ca("ns/ca", ca_with(**odd), NOW)


def test_only_a_root_needs_no_identifier_of_its_issuer(root):
    read_ca("ns/ca", ca_with(without=x509.AuthorityKeyIdentifier), NOW)
    with pytest.raises(SignerError, match="with the extension authorityKeyIdentifier"):
        read_ca("ns/ca", ca_with(root, without=x509.AuthorityKeyIdentifier), NOW)


def test_no_ca_is_made_below_one_whose_path_length_forbids_it(intermediate):
    for signer in (intermediate, read_ca("ns/ca", ca_with(path_length=0), NOW)):
        make(request(dnsNames=["a.example"]), signer)
        with pytest.raises(VerificationError, match="pathLen of its chain allows no CA below"):
            make(ca_request("lower"), signer)
    make(ca_request("lower"), read_ca("ns/ca", ca_with(path_length=1), NOW))


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (lambda d, o, leaf: {}, "tls.crt and tls.key of Secret ns/ca"),
        (lambda d, o, leaf: {**d, "tls.key": o["tls.key"]}, "does not match"),
        (lambda d, o, leaf: {**d, "tls.key": b"nonsense"}, "not a private key"),
        (lambda d, o, leaf: {**d, "tls.crt": b"nonsense"}, "certificates in PEM"),
        (lambda d, o, leaf: leaf, "basicConstraints CA:TRUE"),
        (lambda d, o, leaf: {**d, "tls.crt": d["tls.crt"] + o["tls.crt"]}, "did not sign"),
        (lambda d, o, leaf: {**d, "ca.crt": o["tls.crt"]}, "did not sign"),
    ],
)
def test_a_bad_ca_is_rejected_with_the_remedy(root, change, reported):
    data, other = (
        make(ca_request(), SelfSigner()).material.data(),
        make(ca_request("other"), SelfSigner()).material.data(),
    )
    leaf = make(request(dnsNames=["a.example"], commonName="a.example"), root).material.data()
    with pytest.raises(SignerError, match=reported):
        read_ca("ns/ca", change(data, other, leaf), NOW)


def test_a_ca_that_has_ended_or_not_begun_does_not_sign():
    data = make(ca_request(), SelfSigner()).material.data()
    with pytest.raises(SignerError, match="Renew the CA"):
        read_ca("ns/ca", data, NOW + timedelta(hours=87599, minutes=30))
    with pytest.raises(SignerError, match="Wait until"):
        read_ca("ns/ca", data, NOW - timedelta(days=1))


def test_a_ca_below_one_that_forbids_it_is_rejected(intermediate):
    with pytest.raises(SignerError, match="pathLen 0"):
        read_ca("ns/ca", ca_with(intermediate), NOW)


# A large sample against OpenSSL

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
dns = st.builds(
    lambda star, parts: ("*." if star else "") + ".".join(parts),
    st.booleans(),
    st.lists(labels, min_size=2, max_size=4),
).filter(lambda name: re.fullmatch(r"\d+|0x[0-9a-f]*", name.rpartition(".")[2]) is None)
specs = st.fixed_dictionaries(
    {
        "dnsNames": st.lists(dns, min_size=1, max_size=4),
        "ipAddresses": st.lists(st.ip_addresses().map(str), max_size=3),
        "usages": st.sampled_from([["server auth"], ["client auth"], ["server auth", "client auth"]]),
        "duration": st.integers(min_value=1, max_value=5000).map(lambda hours: f"{hours}h"),
        "privateKey": st.sampled_from([{}, {"size": 384}, {"size": 521}, {"algorithm": "Ed25519"}]),
        "named": st.booleans(),
    }
)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
@settings(max_examples=60, deadline=None)
@given(fields=specs)
def test_openssl_finds_no_error_in_a_large_sample(tmp_path_factory, root, intermediate, fields):
    named = fields.pop("named")
    found, spec_errors = read_request(
        CertificateSpec.model_validate({"secretName": "w", "issuerRef": {"name": "c"}, **fields})
    )
    assert found is not None, spec_errors
    if named and len(found.dns_names[0]) <= 64:
        found = replace(found, common_name=found.dns_names[0])
    directory = tmp_path_factory.mktemp("openssl")
    for signer in (root, intermediate):
        data = make(found, signer).material.data()
        for name, value in data.items():
            (directory / name).write_bytes(value)
        command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp()))]
        files = ["-CAfile", directory / "ca.crt", "-untrusted", directory / "tls.crt", directory / "tls.crt"]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
