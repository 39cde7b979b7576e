"""Certificates of a webhook server: made, renewed, and read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from operatorkit.testing import FakeClock
from operatorkit.webhooks.certificates import (
    CA_LIFE,
    LEAF_LIFE,
    Bundle,
    is_good,
    renewal_time,
    renewed,
    succeeds,
)

HOSTS = ("things.team.svc", "10.0.0.1")
NOW = FakeClock().now()


def authorities(bundle):
    return x509.load_pem_x509_certificates(bundle.ca_pem)


def leaf(bundle):
    return x509.load_pem_x509_certificate(bundle.cert_pem)


def test_the_first_bundle_bears_the_hosts_and_survives_its_secret():
    bundle = renewed(None, HOSTS, NOW)
    names = leaf(bundle).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == list(HOSTS)
    assert Bundle.read({"data": bundle.data()}) == bundle
    assert renewed(bundle, HOSTS, NOW) is bundle


def test_a_leaf_is_renewed_after_two_thirds_of_its_life_by_the_same_ca():
    bundle = renewed(None, HOSTS, NOW)
    due = renewal_time(bundle)
    assert LEAF_LIFE * 0.6 < due - NOW < LEAF_LIFE * 0.7
    assert renewed(bundle, HOSTS, due - timedelta(seconds=1)) is bundle
    later = renewed(bundle, HOSTS, due)
    assert later.ca_pem == bundle.ca_pem
    assert leaf(later).not_valid_after_utc > leaf(bundle).not_valid_after_utc


def test_a_new_ca_comes_while_the_old_one_is_still_trusted():
    bundle = renewed(None, HOSTS, NOW)
    later = renewed(bundle, HOSTS, NOW + CA_LIFE * 0.7)
    new, old = authorities(later)
    assert old == authorities(bundle)[0]
    leaf(later).verify_directly_issued_by(new)
    assert len(authorities(renewed(later, HOSTS, NOW + CA_LIFE * 1.5))) == 2  # the first one has ended


def test_other_hosts_need_another_leaf():
    bundle = renewed(None, HOSTS, NOW)
    assert renewed(bundle, ["127.0.0.1"], NOW).ca_pem == bundle.ca_pem
    assert renewed(bundle, ["127.0.0.1"], NOW).cert_pem != bundle.cert_pem


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("damage", ["missing", "rubbish", "another's"])
def test_a_secret_that_does_not_fit_together_is_no_bundle(key, damage):
    data = renewed(None, HOSTS, NOW).data()
    if damage == "missing":
        del data[key]
    else:
        data[key] = "!" if damage == "rubbish" else renewed(None, HOSTS, NOW).data()[key]
    assert Bundle.read({"data": data}) is None


def of_another_make(*, ca=True, key_id=True, names=True, rsa_key=False, password=None):
    """Return what somebody put into the Secret: a pair of certificates that fit together, but for what is said."""

    def new_key():
        return rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())

    def signed(name, key, signer, issuer, *extensions):
        builder = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.random_serial_number(),
            NOW - timedelta(hours=1),
            NOW + timedelta(days=30),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pem(key):
        secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)

    authority, leaf = new_key(), new_key()
    of_authority = [x509.BasicConstraints(ca=ca, path_length=None)]
    if key_id:
        of_authority.append(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()))
    of_leaf = [x509.SubjectAlternativeName([x509.DNSName(HOSTS[0])])] if names else []
    ca_pem = signed("ca", authority, authority, "ca", *of_authority)
    return Bundle(ca_pem, pem(authority), signed("leaf", leaf, authority, "ca", *of_leaf), pem(leaf))


def test_certificates_of_another_make_are_taken_when_new_ones_can_follow_them():
    bundle = of_another_make()
    assert Bundle.read({"data": bundle.data()}) == bundle
    assert renewed(bundle, HOSTS, NOW).ca_pem == bundle.ca_pem


@pytest.mark.parametrize(
    "error_found", [{"ca": False}, {"key_id": False}, {"names": False}, {"rsa_key": True}, {"password": b"x"}]
)
def test_certificates_of_another_make_that_new_ones_cannot_follow_are_no_bundle(error_found):
    assert Bundle.read({"data": of_another_make(**error_found).data()}) is None


@pytest.mark.parametrize("data", [None, {}, {"ca.crt": None}, {"ca.crt": 7}, "text"])
def test_a_secret_without_the_data_of_one_is_no_bundle(data):
    assert Bundle.read({"data": data}) is None


def test_a_clock_that_was_put_back_needs_certificates_that_are_in_force():
    bundle = renewed(None, HOSTS, NOW)
    assert is_good(bundle, HOSTS, NOW)
    before = NOW - timedelta(days=1)
    assert not is_good(bundle, HOSTS, before)
    assert is_good(renewed(bundle, HOSTS, before), HOSTS, before)


def test_a_clock_that_jumped_far_ahead_needs_new_certificates():
    bundle = renewed(None, HOSTS, NOW)
    later = NOW + CA_LIFE * 3
    assert not is_good(bundle, HOSTS, later)
    again = renewed(bundle, HOSTS, later)
    assert is_good(again, HOSTS, later)
    assert len(authorities(again)) == 1
    assert is_good(renewed(again, HOSTS, NOW), HOSTS, NOW)


def test_a_leaf_may_be_presented_on_while_all_hear_of_the_new_ca_that_succeeds_its_own():
    due = NOW + CA_LIFE * 0.7
    known = renewed(renewed(None, HOSTS, NOW), HOSTS, due - CA_LIFE * 0.05)
    assert succeeds(renewed(known, HOSTS, due), known, due)
    assert not succeeds(renewed(known, HOSTS, due), known, due + LEAF_LIFE)
    assert not succeeds(renewed(None, HOSTS, due), known, due)
    assert not succeeds(known, known, due)
