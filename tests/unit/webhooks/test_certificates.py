"""Certificates of a webhook server: made, renewed, and read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from operatorkit.testing import FakeClock
from operatorkit.webhooks.certificates import (
    CA_LIFE,
    LEAF_LIFE,
    Bundle,
    renewal_time,
    renewed,
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
