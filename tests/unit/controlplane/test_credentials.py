from __future__ import annotations

import base64
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from operatorkit.controlplane._credentials import Authority, KeyPair, kubeconfig, write_kubeconfig


def _context(purpose: ssl.Purpose, pair: KeyPair, trusted: bytes, directory: Path) -> ssl.SSLContext:
    cert, key = directory / f"{purpose.name}.crt", directory / f"{purpose.name}.key"
    cert.write_bytes(pair.cert_pem)
    key.write_bytes(pair.key_pem)
    context = ssl.create_default_context(purpose, cadata=trusted.decode())
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> dict[str, object] | None:
    left, right = socket.socketpair()
    seen: list[dict[str, object] | None] = []

    def serve() -> None:
        with server.wrap_socket(left, server_side=True) as connection:
            connection.recv(1)
            seen.append(connection.getpeercert())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=host) as connection:
            connection.send(b"x")
            connection.recv(1)
    finally:
        thread.join()
    return seen[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "kubernetes.default.svc"])
def test_both_sides_pass_the_strict_checks_of_openssl(host: str, tmp_path: Path) -> None:
    serving, clients = Authority.create("serving"), Authority.create("clients")
    server = _context(ssl.Purpose.CLIENT_AUTH, serving.issue_server(), clients.cert_pem, tmp_path)
    client = _context(
        ssl.Purpose.SERVER_AUTH, clients.issue_client("mara", ["team-a", "ops"]), serving.cert_pem, tmp_path
    )

    peer = _shake_hands(server, client, host)

    assert peer is not None
    assert peer["subject"] == (
        (("organizationName", "team-a"),),
        (("organizationName", "ops"),),
        (("commonName", "mara"),),
    )


def test_a_user_name_longer_than_x509_likes_is_issued_all_the_same() -> None:
    user = "system:serviceaccount:" + "n" * 63 + ":" + "s" * 63

    pair = Authority.create("clients").issue_client(user)

    with pytest.warns(UserWarning, match="length must be"):
        subject = x509.load_pem_x509_certificate(pair.cert_pem).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == user


def test_a_kubeconfig_carries_its_data_inline() -> None:
    config = kubeconfig(
        "https://127.0.0.1:6443", ca_pem=b"CA", user="mara", client=KeyPair(b"CERT", b"KEY"), namespace="team-a"
    )

    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert config["users"][0] == {
        "name": "mara",
        "user": {
            "client-certificate-data": base64.b64encode(b"CERT").decode(),
            "client-key-data": base64.b64encode(b"KEY").decode(),
        },
    }
    assert config["contexts"][0]["context"] == {"cluster": "operatorkit", "user": "mara", "namespace": "team-a"}


def test_a_kubeconfig_file_is_for_its_owner_only_and_reads_back(tmp_path: Path) -> None:
    config = kubeconfig("http://127.0.0.1:1", ca_pem=None, user="admin", token="secret")

    path = write_kubeconfig(tmp_path / "deep" / "config", config)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text()) == config
    assert [entry.name for entry in path.parent.iterdir()] == ["config"]
