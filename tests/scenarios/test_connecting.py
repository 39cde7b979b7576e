"""Connecting to a live API server with a kubeconfig that is right, and with ones that are not: each says what to mend."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operatorkit import errors
from operatorkit.cluster import LiveCluster, load_config


@pytest.fixture
def changed(controlplane):
    """Make a configuration from the administrator's kubeconfig with some entries replaced."""

    def change(cluster=None, user=None):
        kubeconfig = copy.deepcopy(controlplane.kubeconfig())
        kubeconfig["clusters"][0]["cluster"].update(cluster or {})
        if user is not None:
            kubeconfig["users"][0]["user"] = user
        return load_config(kubeconfig)

    return change


def not_owned():
    """A certificate, and its key, that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
        x509.NameAttribute(NameOID.COMMON_NAME, "mallory"),
    ])  # fmt: skip
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return tuple(base64.b64encode(data).decode() for data in (made.public_bytes(serialization.Encoding.PEM), private))


async def rejection(config):
    async with LiveCluster(config) as api:
        with pytest.raises(errors.ClusterError) as caught:
            await api.request("GET", "/api/v1/namespaces")
    return caught.value


async def test_the_name_in_the_servers_certificate_may_differ_from_its_address(changed):
    async with LiveCluster(changed({"tls-server-name": "kubernetes"})) as api:
        assert (await api.request("GET", "/version"))["major"] == "1"


async def test_a_certificate_for_another_host_is_explained(changed):
    error = await rejection(changed({"tls-server-name": "elsewhere.example.io"}))
    assert isinstance(error, errors.Unreachable)
    assert "its certificate is for another host" in str(error)


async def test_a_server_that_another_authority_signed_is_explained(changed, controlplane):
    error = await rejection(changed({"certificate-authority-data": not_owned()[0]}))
    assert isinstance(error, errors.Unreachable)
    assert f"{controlplane.url}: its certificate is not signed by the authority that the kubeconfig trusts" in str(
        error
    )


async def test_a_user_whom_the_server_does_not_know_is_informed_whose_credentials_they_are(changed):
    error = await rejection(changed(user={"token": "nobody-gave-me-this"}))
    assert isinstance(error, errors.Unauthorized)
    assert "credentials of context" in str(error)


async def test_a_certificate_that_the_server_does_not_trust_admits_no_user(changed):
    certificate, key = not_owned()
    error = await rejection(changed(user={"client-certificate-data": certificate, "client-key-data": key}))
    # Go asks for the certificate and judges it later; Python's TLS, in the embedded server, breaks the connection off.
    assert isinstance(error, errors.Unauthorized | errors.Unreachable)


async def test_plain_http_to_a_port_of_tls_is_answered_with_words(changed, controlplane):
    error = await rejection(changed({"server": controlplane.url.replace("https:", "http:")}))
    assert error.code in {0, 400}
    assert controlplane.url.removeprefix("https://") in str(error)


async def test_a_port_where_nothing_listens_is_named(changed):
    error = await rejection(changed({"server": "https://127.0.0.1:1"}))
    assert isinstance(error, errors.Unreachable)
    assert str(error) == (
        "cannot reach the API server at https://127.0.0.1:1: connection refused: nothing listens there: check that the"
        " control plane runs"
    )
