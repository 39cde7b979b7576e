"""A team whose images must be attested, for scenarios of admission."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import aiohttp
import pytest
from pysequoia import SignatureMode, Tsk, sign

from operatorkit.errors import Forbidden
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

__all__ = ["DEPLOYMENTS", "NOTE", "PODS", "Team", "image", "pod"]

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
DEPLOYMENTS = ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True)
NOTE = "projects/team/notes/qa"


def image(name: str = "app") -> str:
    return f"gcr.io/{name}@sha256:{secrets.token_hex(32)}"


def pod(*images: str, name: str = "web", **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "image": one} for index, one in enumerate(images)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


class Team:
    """A namespace whose images must be attested by `qa`, and the attester."""

    def __init__(self, cluster: Any, url: str, session: aiohttp.ClientSession) -> None:
        self.cluster = cluster
        self.url = url
        self.session = session
        self.key = Tsk.generate("qa@example.com")

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.session.post(f"{self.url}/v1/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def attest(self, reference: str, *, note: str = NOTE, key: Any = None, text: str | None = None) -> None:
        digest = reference.partition("@")[2]
        signature = sign((key or self.key).signer(), (text or digest).encode(), mode=SignatureMode.CLEAR)
        await self.occur(reference, signature, note=note)

    async def occur(self, reference: str, signature: bytes, *, note: str = NOTE, count: int = 1) -> None:
        body = {
            "resourceUri": f"https://{reference}",
            "noteName": note,
            "attestation": {"signatures": [{"signature": base64.b64encode(signature).decode()}]},
        }
        await self.post("projects/team/occurrences:batchCreate", {"occurrences": [body] * count})

    def authority(self, **key: Any) -> dict[str, Any]:
        public = base64.encodebytes(bytes(self.key.extract_certificate())).decode()
        armour = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{public}-----END PGP PUBLIC KEY BLOCK-----\n"
        return {
            "noteReference": NOTE,
            "server": self.cluster.namespace,
            "keys": [{"id": "qa", "publicKey": armour, **key}],
        }

    async def make(self, kind: type[Any], name: str, spec: dict[str, Any]) -> None:
        resource = kind.api_resource()
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}
        await self.cluster.create(resource, body, namespace=self.cluster.namespace if resource.namespaced else None)

    async def ready(self, kind: type[Any], name: str) -> None:
        async def is_ready() -> bool:
            obj = await self.cluster.get(kind.api_resource(), name, namespace=self.cluster.namespace)
            conditions = obj.get("status", {}).get("conditions", [])
            return any(
                c["type"] == "Ready" and c["observedGeneration"] == obj["metadata"]["generation"] for c in conditions
            )

        await eventually(is_ready, message=f"{kind.kind} {name} to be judged")

    async def create(self, body: dict[str, Any], resource: ApiResource = PODS, **options: Any) -> dict[str, Any]:
        return await self.cluster.create(resource, body, namespace=self.cluster.namespace, **options)

    async def answer(self, body: dict[str, Any]) -> str:
        """Return what a dry run says; nothing when it would be admitted."""
        try:
            await self.create(body, dry_run=True)
        except Forbidden as error:
            return error.message
        return ""

    async def denied(self, body: dict[str, Any], resource: ApiResource = PODS, **options: Any) -> str:
        with pytest.raises(Forbidden) as error:
            await self.create(body, resource, **options)
        assert "No matched signatures for container image: " in error.value.message
        return error.value.message
