"""The signatures that cosign keeps beside an image in its registry.

What belongs here: where they are, and their form as the content of an occurrence. What does not: the registry's API
(`registry`), and whether they are good: admission verifies them by the keys of an authority.

    tag sha256-<digest>.sig     a manifest whose layers are simple-signing payloads, each with its signature
                                in an annotation (cosign 1 and 2)           -> key type Cosign
    referrers of the digest     manifests whose layer is a Sigstore bundle with a DSSE envelope
                                (cosign 3)                                  -> key type DSSE

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from operators.attestation.bundles import BUNDLE_TYPE, Bundle, BundleError, read_bundle
from operators.attestation.images import ImageReference
from operators.attestation.registry import Credentials, RegistryError, Repository, reading
from operators.attestation.signatures.results import MAX_SIGNED_BYTES

__all__ = ["SIGN_PREDICATE", "StoredForm", "StoredSignatures", "read_signatures"]

StoredForm = Literal["bundle", "tag"]
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of the statement that `cosign sign` makes."""
_PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
_MAX_SIGNATURES: Final = 100
_MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredSignatures:
    """The contents of occurrences, and why other signatures are left out."""

    contents: tuple[Mapping[str, Any], ...]
    left_out: tuple[str, ...]


async def read_signatures(
    image: ImageReference,
    credentials: Credentials,
    *,
    form: StoredForm = "bundle",
    predicate_type: str = SIGN_PREDICATE,
    seconds: float,
) -> StoredSignatures:
    """Return the signatures of an image with a digest that a key has made. Raises RegistryError.

    One form at a time: a note has occurrences of one kind, DSSE_ATTESTATION for bundles, else ATTESTATION. Of bundles,
    only statements with `predicate_type` are signatures of the image; `cosign attest` makes others.
    """
    assert image.digest is not None, "signatures are of a digest"
    contents: list[Mapping[str, Any]] = []
    left_out: list[str] = []
    async with reading(image, credentials, seconds=seconds) as repository:
        async for found in (
            _of_referrers(repository, image.digest, predicate_type)
            if form == "bundle"
            else _of_tag(repository, f"{image.digest.replace(':', '-')}.sig")
        ):
            if isinstance(found, str):
                left_out.append(found)
            elif found not in contents:
                contents.append(found)
            if len(contents) + len(left_out) > _MAX_SIGNATURES:
                raise RegistryError(f"{image} has more than {_MAX_SIGNATURES} signatures")
    return StoredSignatures(tuple(contents), tuple(left_out))


async def _of_referrers(
    repository: Repository, digest: str, predicate_type: str
) -> AsyncIterator[Mapping[str, Any] | str]:
    """Return each bundle as the content of an occurrence, or why it is left out."""
    index = await repository.referrers(digest)
    for entry in _entries(index, "manifests"):
        reference = str(entry.get("digest"))
        manifest = await repository.manifest(reference) or {}
        for layer in _entries(manifest, "layers"):
            if str(layer.get("mediaType")).startswith(BUNDLE_TYPE):
                yield await _of_bundle(repository, str(layer.get("digest")), predicate_type)


async def _of_tag(repository: Repository, tag: str) -> AsyncIterator[Mapping[str, Any] | str]:
    """Return each signature under a tag as the content of an occurrence, or why it is left out."""
    for layer in _entries(await repository.manifest(tag), "layers"):
        annotations = layer.get("annotations")
        if layer.get("mediaType") != _PAYLOAD_TYPE or not isinstance(annotations, dict):
            continue
        where = f"signature {layer.get('digest')} of {tag}"
        signature = annotations.get(_SIGNATURE)
        if annotations.get(_CERTIFICATE):
            yield f"{where} is made with a certificate, not with a key"
        elif not isinstance(signature, str) or not signature:
            yield f"{where} has no annotation {_SIGNATURE}"
        else:
            payload = await repository.blob(str(layer.get("digest")), limit=MAX_SIGNED_BYTES)
            yield {
                "attestation": {
                    "serializedPayload": base64.b64encode(payload).decode(),
                    "signatures": [{"signature": signature}],
                }
            }


async def _of_bundle(
    repository: Repository, digest: str, predicate_type: str
) -> Mapping[str, Any] | str:
    body = await repository.blob(digest, limit=_MAX_BUNDLE_BYTES)
    try:
        content = json.loads(body)
        bundle = read_bundle(content if isinstance(content, dict) else {})
    except (BundleError, ValueError) as error:
        return f"bundle {digest}: {error}"
    found = _predicate_type(bundle)
    if bundle.certificate is not None:
        return (
            f"bundle {digest} ({found}) is made with a certificate, not with a key: verify it by "
            f"operatorkit attest countersign"
        )
    if found != predicate_type:
        return f"bundle {digest} has the predicate type {found}, not {predicate_type}"
    return {"dsseAttestation": {"envelope": bundle.envelope}}


def _predicate_type(bundle: Bundle) -> str:
    try:
        statement = json.loads(bundle.payload)
    except ValueError:
        return "that is not JSON"
    found = statement.get("predicateType") if isinstance(statement, dict) else None
    return str(found)


def _entries(content: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    found = (content or {}).get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
