"""Who may connect: small authorities, the certificates they issue, and the kubeconfig that carries them.

What belongs here: keys and certificates for the control planes of tests and development, and writing secrets to files.
What does not: certificates that operators issue to users (`operators.pki`), which follow other rules.

TLS libraries compare validity with the operating system's time, whatever clock a test holds: give the system's time
here, or leave the default.
"""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.tls import (
    certificate_pem,
    common_name,
    host_names,
    key_pem,
    new_authority,
    new_key,
    new_leaf,
)

__all__ = [
    "SERVER_HOSTS",
    "Authority",
    "KeyPair",
    "kubeconfig",
    "signing_key",
    "write_kubeconfig",
    "write_private",
]

SERVER_HOSTS = (
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""The names and addresses by which an API server on this machine, and from inside its cluster, is called."""

_VALIDITY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate, or the public half of a signing key, with its private key; both in PEM."""

    cert_pem: bytes
    key_pem: bytes


def signing_key() -> KeyPair:
    """Return a new P-256 key for signing tokens; `cert_pem` is its public key."""
    key = new_key()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(public, key_pem(key))


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    # X.509 wants at most 64 characters, but the name of a service account may be longer, and Kubernetes takes it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return x509.NameAttribute(oid, value, _validate=False)


class Authority:
    """A certificate authority of one control plane.

    Guarantees: every chain it issues passes OpenSSL's strict checks (`ssl.VERIFY_X509_STRICT`).
    """

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self.cert_pem: bytes = certificate_pem(certificate)

    @classmethod
    def create(cls, name: str, *, clock: Clock = SYSTEM_CLOCK) -> Authority:
        """Return a new self-signed authority whose common name is `name`."""
        key = new_key()
        certificate = new_authority(key, name, now=clock.now(), life=_VALIDITY)
        return cls(certificate, key, clock)

    @property
    def key_pem(self) -> bytes:
        """The authority's own private key: kube-controller-manager signs requests with it."""
        return key_pem(self._key)

    def issue_server(self, hosts: Sequence[str] = SERVER_HOSTS) -> KeyPair:
        """Return a certificate for a server that is called by `hosts`, names and addresses; the first is its CN."""
        return self._issue(
            common_name(hosts[0]), ExtendedKeyUsageOID.SERVER_AUTH, host_names(hosts)
        )

    def issue_client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """Return a certificate by which Kubernetes knows `user` in `groups` (common name and organisations)."""
        subject = x509.Name(
            [
                *(_attribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                _attribute(NameOID.COMMON_NAME, user),
            ]
        )
        return self._issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> KeyPair:
        key = new_key()
        certificate = new_leaf(
            key,
            subject,
            signed_by=(self._certificate, self._key),
            purpose=purpose,
            now=self._clock.now(),
            life=_VALIDITY,
            names=names,
        )
        return KeyPair(certificate_pem(certificate), key_pem(key))


def _data(pem: bytes) -> str:
    return base64.b64encode(pem).decode("ascii")


def kubeconfig(
    url: str,
    *,
    ca_pem: bytes | None,
    user: str,
    client: KeyPair | None = None,
    token: str | None = None,
    namespace: str = "default",
    name: str = "operatorkit",
) -> dict[str, Any]:
    """Return a kubeconfig with everything inline. `ca_pem` of None is for a server without TLS."""
    cluster: dict[str, Any] = {"server": url}
    if ca_pem is not None:
        cluster["certificate-authority-data"] = _data(ca_pem)
    credentials: dict[str, Any] = {}
    if client is not None:
        credentials["client-certificate-data"] = _data(client.cert_pem)
        credentials["client-key-data"] = _data(client.key_pem)
    if token is not None:
        credentials["token"] = token
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": user, "namespace": namespace}}
        ],
        "current-context": name,
    }


def write_private(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, readable by its owner only, whole or not at all; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    partial.replace(path)
    return path


def write_kubeconfig(path: Path, config: dict[str, Any]) -> Path:
    """Write a kubeconfig as YAML, readable by its owner only, and return the path."""
    return write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
