"""What a Pki stands for, and what is read from a Secret."""

from __future__ import annotations

import pytest
from kubernetes.client.models import V1Secret

from operatorkit.names import DNS_SUBDOMAIN_MAX_LENGTH
from operators.pki.api import Pki
from operators.pki.objects import certificate_of, names_of_service, secret_data


def pki(name: str = "shop", **spec) -> Pki:
    return Pki.read(
        {
            "apiVersion": "pki.operatorkit.dev/v1alpha1",
            "kind": "Pki",
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"serviceName": "web", "issuerRef": {"name": "ca"}, **spec},
        }
    )


def test_a_pki_stands_for_a_certificate_with_names_of_its_service():
    names = names_of_service("web", "team", "cluster.test")
    assert names == ["web", "web.team", "web.team.svc", "web.team.svc.cluster.test"]
    certificate = certificate_of(pki(), names[2:])
    assert (certificate.metadata.name, certificate.metadata.namespace) == ("shop", "team")
    assert certificate.spec.issuer_ref.name == "ca"
    assert certificate.spec.dns_names == names[2:]


@pytest.mark.parametrize(("spec", "secret"), [({}, "shop-tls"), ({"secretName": "mine"}, "mine")])
def test_the_secret_is_called_after_the_pki_unless_it_says_otherwise(spec, secret):
    assert certificate_of(pki(**spec), ["web"]).spec.secret_name == secret


def test_the_name_of_a_secret_has_space_however_long_that_of_the_pki_is():
    name = certificate_of(pki("a" * DNS_SUBDOMAIN_MAX_LENGTH), ["web"]).spec.secret_name
    assert len(name) <= DNS_SUBDOMAIN_MAX_LENGTH


def test_what_is_not_base64_is_left_out_and_hides_nothing_else():
    assert secret_data(V1Secret(data={"a": "%%%", "b": "eA==", "c": "eA"})) == {"b": b"x"}
    assert secret_data(V1Secret()) == {}
