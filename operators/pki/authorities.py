"""Certificate authorities: read from the cluster when their Secret changed, and kept until it changes again.

What belongs here: which Secret holds the CA of an issuer, and when it is read. What does not: what
a CA must be (`operators.pki.signer`), and which changes of it concern whom
(`operators.pki.observe`).

The caches hold the metadata of other people's Secrets only. So the version that they know is
compared with the version that was read last, and the Secret is read from the cluster when they
differ: one request for each change, however many certificates the CA signs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from kubernetes.client.models import V1Secret

from operatorkit.context import Context
from operatorkit.errors import Forbidden, NotFound
from operatorkit.names import ObjectKey
from operatorkit.resource import api_resource_of, read
from operators.pki.objects import secret_data
from operators.pki.signer import MINIMUM_LIFE, CaSigner, Signer, SignerError, read_ca

__all__ = ["Authorities", "fingerprint"]

_SECRETS = api_resource_of(V1Secret)
_Version = tuple[str, str]  # uid and resourceVersion


@dataclass(slots=True)
class _Known:
    data: dict[str, bytes]
    signer: CaSigner | None = None
    checked: datetime | None = None


class Authorities:
    """The CAs of one process. Remembers `remembered` Secrets, the most recently used."""

    def __init__(self, *, remembered: int = 1000) -> None:
        self._remembered = remembered
        self._known: OrderedDict[_Version, _Known] = OrderedDict()
        self._reading: dict[_Version, asyncio.Lock] = {}

    async def signer(self, key: ObjectKey, cached: V1Secret, ctx: Context) -> CaSigner | None:
        """Return the CA in a Secret that a cache knows, or None if the cluster has none any more.

        Makes a request only if the Secret changed since it was read last. Raises SignerError,
        ClusterError.
        """
        version = _version(cached)
        if version not in self._known and cached.data is not None:
            self._remember(version, _Known(secret_data(cached)))
        if version not in self._known:
            reading = self._reading.setdefault(version, asyncio.Lock())
            try:
                async with (
                    reading
                ):  # a change of a CA concerns many certificates at once: one of them reads it
                    if version not in self._known:
                        found = await self._read(key, ctx)
                        if found is None:
                            return None
                        self._remember(
                            version, found[1]
                        )  # the cache is behind: those that wait need not read it too
            finally:
                if not reading.locked():
                    self._reading.pop(version, None)
        return self._checked(key, version, ctx.clock.now())

    async def read(self, key: ObjectKey, ctx: Context) -> CaSigner | None:
        """Return the CA in a Secret as the cluster has it now, or None if there is no such Secret.

        Raises SignerError, ClusterError.
        """
        found = await self._read(key, ctx)
        if found is None:
            return None
        self._remember(*found)
        return self._checked(key, found[0], ctx.clock.now())

    async def _read(self, key: ObjectKey, ctx: Context) -> tuple[_Version, _Known] | None:
        try:
            secret = read(V1Secret, await ctx.api.get(_SECRETS, key.name, namespace=key.namespace))
        except NotFound:
            return None
        except Forbidden as error:
            remedy = f"Allow the operator to get Secret {key}, which holds the CA"
            raise SignerError(f"{remedy}: {error}") from error
        version = _version(secret)
        return version, self._known.get(version) or _Known(secret_data(secret))

    def _remember(self, version: _Version, known: _Known) -> None:
        self._known[version] = known
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)

    def _checked(self, key: ObjectKey, version: _Version, now: datetime) -> CaSigner:
        """Return the CA, checked again where time may have changed the answer. Raises SignerError."""
        known = self._known[version]
        self._known.move_to_end(version)
        signer, checked = known.signer, known.checked
        if (
            signer is None
            or checked is None
            or not checked <= now < signer.not_after - MINIMUM_LIFE
        ):
            known.signer = None
            known.signer, known.checked = read_ca(str(key), known.data, now), now
            return known.signer
        return signer


def fingerprint(signer: Signer) -> str | None:
    """Return SHA-256 of the certificates of a CA's chain, hexadecimal; None for the self-signer."""
    if not isinstance(signer, CaSigner):
        return None
    digest = hashlib.sha256()
    for certificate in signer.path:
        digest.update(certificate.public_bytes(serialization.Encoding.DER))
    return digest.hexdigest()


def _version(secret: Any) -> _Version:
    return secret.metadata.uid or "", secret.metadata.resource_version or ""
