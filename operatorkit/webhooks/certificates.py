"""The certificates of a webhook server: a CA of its own and a leaf, in a Secret.

What belongs here: making, checking and renewing them, and agreeing on them through the Secret. What
does not: presenting them (`operatorkit.webhooks.server`) and injecting the CA bundle into
configurations (`operatorkit.webhooks.registration`).

The Secret has ca.crt (the CA bundle: the CA, and its predecessor while that is valid), ca.key,
tls.crt and tls.key. Any replica may find that it is time; the API server's optimistic lock lets one
of them write, and the others take what it wrote.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import AlreadyExists, Conflict, NotFound, OperatorKitError
from operatorkit.kinds import SECRETS
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
    "CA_LIFE",
    "LEAF_LIFE",
    "Bundle",
    "CertificateStore",
    "is_good",
    "renewal_time",
    "renewed",
    "succeeds",
    "validity",
]

_log = logging.getLogger("operatorkit.webhooks")

CA_LIFE = timedelta(days=730)
LEAF_LIFE = timedelta(days=90)

_RENEW_AFTER = 2 / 3  # of a life
_TRIES = 5
_KEYS = ("ca.crt", "ca.key", "tls.crt", "tls.key")
_DECODE_ERRORS = (
    KeyError,
    TypeError,
    ValueError,
    binascii.Error,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    InvalidSignature,
    UnsupportedAlgorithm,
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the Secret holds, in PEM. `ca_pem` begins with the CA that signed the leaf."""

    ca_pem: bytes
    ca_key_pem: bytes
    cert_pem: bytes
    key_pem: bytes

    @classmethod
    def read(cls, secret: JSONObject) -> Bundle | None:
        """Read a Secret; None when it has no complete bundle that fits together."""
        data = secret.get("data") or {}
        try:
            bundle = cls(*(base64.b64decode(data[key], validate=True) for key in _KEYS))
            authority = x509.load_pem_x509_certificates(bundle.ca_pem)[0]
            leaf = x509.load_pem_x509_certificate(bundle.cert_pem)
            leaf.verify_directly_issued_by(authority)
            fits = (
                _public(_key(bundle.ca_key_pem)) == _public(authority)
                and _public(_key(bundle.key_pem)) == _public(leaf)
                and _may_sign(authority)
                and bool(_names_of(leaf))
            )
        except _DECODE_ERRORS:
            return None
        return bundle if fits else None

    def data(self) -> dict[str, str]:
        """Return the data of the Secret."""
        values = (self.ca_pem, self.ca_key_pem, self.cert_pem, self.key_pem)
        return {
            key: base64.b64encode(value).decode("ascii")
            for key, value in zip(_KEYS, values, strict=True)
        }


def renewal_time(bundle: Bundle) -> datetime:
    """Return when the leaf, or the CA, is due for renewal: after two thirds of its life."""
    return min(_due(_leaf(bundle)), _due(_authorities(bundle)[0]))


def validity(bundle: Bundle) -> tuple[datetime, datetime]:
    """Return from when until when the leaf can be presented: while it and its CA are in force."""
    both = _leaf(bundle), _authorities(bundle)[0]
    return max(one.not_valid_before_utc for one in both), min(
        one.not_valid_after_utc for one in both
    )


def renewed(bundle: Bundle | None, hosts: Sequence[str], now: datetime) -> Bundle:
    """Return the bundle itself when it is good for `hosts` now, else one with a new leaf, or with a new CA as well.

    A new CA is put before the old one, which stays trusted while it is valid.
    """
    if bundle is None:
        return _with_new_authority((), hosts, now)
    authorities = _authorities(bundle)
    # A rotation of the CA must overlap: configurations still carry the old bundle until each API
    # server has received the new one, and servers present leaves of either. So the old CA stays in
    # the bundle, second, for as long as it is valid; only one, so that the bundle stays small
    # however often replicas rotate it.
    if not _is_fresh(authorities[0], now):
        return _with_new_authority(
            [old for old in authorities if now < old.not_valid_after_utc][:1], hosts, now
        )
    if not is_good(bundle, hosts, now):
        leaf, leaf_key = _new_leaf(authorities[0], _key(bundle.ca_key_pem), hosts, now)
        return Bundle(bundle.ca_pem, bundle.ca_key_pem, leaf, leaf_key)
    return bundle


def is_good(bundle: Bundle, hosts: Sequence[str], now: datetime) -> bool:
    """Return whether a bundle needs no renewal: it bears the hosts, is in force, and not yet due.

    A certificate whose time has not come was made with a wrong clock, another one or this one
    before it was corrected.
    """
    authority, leaf = _authorities(bundle)[0], _leaf(bundle)
    return (
        _is_fresh(authority, now)
        and _is_fresh(leaf, now)
        and set(host_names(hosts)) == set(_names_of(leaf))
    )


def succeeds(bundle: Bundle, known: Bundle, now: datetime) -> bool:
    """Return whether a bundle has a new CA, and `known` may be presented until all have heard of it."""
    return (
        _authorities(bundle)[0] != _authorities(known)[0]
        and _authorities(known)[0] in _authorities(bundle)
        and now < _leaf(known).not_valid_after_utc
    )


class CertificateStore:
    """The bundle of one operator, in the Secret `name` of `namespace`.

    `hosts` are the names and addresses that API servers call; the leaf bears them.
    """

    def __init__(
        self, api: ClusterAPI, *, namespace: str, name: str, hosts: Sequence[str], clock: Clock
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._hosts = tuple(hosts)
        self._clock = clock

    def is_good(self, bundle: Bundle) -> bool:
        """Return whether `load` would leave this bundle as it is."""
        return is_good(bundle, self._hosts, self._clock.now())

    async def load(self) -> Bundle:
        """Return the bundle that is good now, written by us or by another replica.

        Raises ClusterError; and OperatorKitError when replicas do not come to an agreement.
        """
        for _ in range(_TRIES):
            secret = await self._find()
            known = None if secret is None else Bundle.read(secret)
            wanted = renewed(known, self._hosts, self._clock.now())
            if wanted is known:
                return wanted
            try:
                await self._write(secret, wanted)
            except (AlreadyExists, Conflict, NotFound) as error:
                if isinstance(error, NotFound) and secret is None:
                    raise  # the namespace is missing
                # Not an error, and no merge: two replicas that both made a CA must agree on one, so
                # the loser forgets its own key and reads the winner's. Each leaf that is presented
                # is then signed by the CA in the Secret.
                continue  # another replica was faster
            _log.info(
                "wrote new webhook certificates into Secret %s/%s", self._namespace, self._name
            )
            return wanted
        raise OperatorKitError(
            f"Secret {self._namespace}/{self._name} changed {_TRIES} times while its certificates were renewed: "
            f"another program writes it"
        )

    async def _find(self) -> JSONObject | None:
        try:
            return await self._api.get(SECRETS, self._name, namespace=self._namespace)
        except NotFound:
            return None

    async def _write(self, secret: JSONObject | None, bundle: Bundle) -> None:
        if secret is not None:
            changed = {**secret, "data": {**(secret.get("data") or {}), **bundle.data()}}
            await self._api.replace(SECRETS, self._name, changed, namespace=self._namespace)
            return
        obj: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "type": "kubernetes.io/tls",
            "data": bundle.data(),
        }
        await self._api.create(SECRETS, obj, namespace=self._namespace)


def _with_new_authority(
    trusted: Sequence[x509.Certificate], hosts: Sequence[str], now: datetime
) -> Bundle:
    key = new_key()
    name = f"operatorkit webhooks {x509.random_serial_number():x}"  # two authorities of one name confuse verifiers
    certificate = new_authority(key, name, now=now, life=CA_LIFE)
    leaf, leaf_key = _new_leaf(certificate, key, hosts, now)
    ca_pem = b"".join(map(certificate_pem, (certificate, *trusted)))
    return Bundle(ca_pem, key_pem(key), leaf, leaf_key)


def _new_leaf(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    now: datetime,
) -> tuple[bytes, bytes]:
    key = new_key()
    certificate = new_leaf(
        key,
        common_name(hosts[0]),
        signed_by=(authority, authority_key),
        purpose=ExtendedKeyUsageOID.SERVER_AUTH,
        now=now,
        life=LEAF_LIFE,
        names=host_names(hosts),
    )
    return certificate_pem(certificate), key_pem(key)


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is an authority's, of the kind that we make."""
    extensions = certificate.extensions
    extensions.get_extension_for_class(x509.SubjectKeyIdentifier)  # a leaf repeats it
    return extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _leaf(bundle: Bundle) -> x509.Certificate:
    return x509.load_pem_x509_certificate(bundle.cert_pem)


def _authorities(bundle: Bundle) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle.ca_pem)


def _is_fresh(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < _due(certificate)


def _due(certificate: x509.Certificate) -> datetime:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + life * _RENEW_AFTER


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(
            f"a key of operatorkit must be an elliptic curve key, this is a {type(key).__name__}"
        )
    return key


def _public(holder: ec.EllipticCurvePrivateKey | x509.Certificate) -> bytes:
    return holder.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
