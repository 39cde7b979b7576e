"""The tokens of service accounts: signed, dated and bound.

What belongs here: making and checking them (JSON Web Tokens, ES256). What does not: the TokenRequest that asks for one
(`subresources`).

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from operatorkit.clock import Clock
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.storage.store import Storage, key_of

__all__ = ["AUDIENCE", "ISSUER", "Tokens"]

ISSUER = AUDIENCE = "https://kubernetes.default.svc.cluster.local"

Object = dict[str, Any]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Issues tokens with a key of its own, and knows them again as long as what they are bound to is there."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())

    def issue(
        self,
        account: Object,
        *,
        lifetime: timedelta,
        audiences: Sequence[str] = (),
        bound_to: Object | None = None,
    ) -> str:
        """Return a token of a ServiceAccount; `bound_to` is the Pod or Secret with whose deletion it ends."""
        now = int(self._clock.now().timestamp())
        metadata = account["metadata"]
        claims: Object = {"namespace": metadata["namespace"]}
        claims["serviceaccount"] = {"name": metadata["name"], "uid": metadata["uid"]}
        if bound_to is not None:
            claims[bound_to["kind"].lower()] = {"name": bound_to["name"], "uid": bound_to["uid"]}
        payload = {
            "aud": list(audiences) or [AUDIENCE],
            "exp": now + int(lifetime.total_seconds()),
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": claims,
            "nbf": now,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        signed = ".".join(
            _encode(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, payload)
        )
        first, second = decode_dss_signature(
            self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        return f"{signed}.{_encode(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}"

    def user(self, token: str, audience: str = AUDIENCE) -> User | None:
        """Return the user of a token for an audience.

        None for one of another issuer or audience, an expired one, or one of a deleted account.
        """
        payload = self._payload(token)
        if (
            payload is None
            or payload["exp"] < self._clock.now().timestamp()
            or audience not in payload["aud"]
        ):
            return None
        claims = payload["kubernetes.io"]
        namespace = claims["namespace"]
        for plural in ("serviceaccounts", "pods", "secrets"):
            bound = claims.get(plural.removesuffix("s"))
            if bound is not None and not self._exists(plural, namespace, bound):
                return None
        account = claims["serviceaccount"]
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={payload['jti']}",)}
        if "pod" in claims:
            extra["authentication.kubernetes.io/pod-name"] = (claims["pod"]["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (claims["pod"]["uid"],)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return User(
            f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra
        )

    def _payload(self, token: str) -> Any:
        try:
            signed, _, signature = token.rpartition(".")
            raw = _decode(signature)
            if len(raw) != 64:
                return None
            proof = encode_dss_signature(
                int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            )
            self._key.public_key().verify(proof, signed.encode(), ec.ECDSA(hashes.SHA256()))
            return json.loads(_decode(signed.partition(".")[2]))
        except (InvalidSignature, ValueError, binascii.Error):
            return None

    def _exists(self, plural: str, namespace: str, bound: Object) -> bool:
        record = self._storage.collection(plural).records.get(key_of(namespace, bound["name"]))
        return record is not None and record.uid == bound["uid"]
