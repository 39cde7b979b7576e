"""Mutation: tags become digests, where policies say so.

What belongs here: which tags of a request are resolved. What does not: registries (`registry`), and whether the image
is admitted: the validating webhook sees the digest, and trusts nothing that was done here.

A tag is resolved when every policy that applies to its image says `tags: Resolve`. A registry that does not answer
changes nothing: the image keeps its tag, is denied by the policy, and the warning names the reason.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from kubernetes.client.models import V1Pod

from operatorkit import AdmissionRequest, Allowed, Mutated
from operatorkit.context import Reader
from operatorkit.resource import read
from operators.attestation.app import app
from operators.attestation.flights import Flights
from operators.attestation.images import ImageReference, ImageReferenceError, parse_image
from operators.attestation.kinds import EXCLUDED, WORKLOADS
from operators.attestation.observe import policies_for
from operators.attestation.policy import plan
from operators.attestation.registry import Credentials, RegistryError, credentials_from, resolve
from operators.attestation.workloads import ImageUse, images_in, with_images

__all__ = ["resolve_tags", "tags_to_resolve"]

TIMEOUT: Final = timedelta(seconds=5)
_RESOLVE_SECONDS = 3.0
_AT_ONCE = 8


async def resolve_tags(
    obj: Any, request: AdmissionRequest, *, reader: Reader
) -> Mutated[Any] | Allowed:
    """Pin the images of one request that policies have resolved."""
    kind = request.kind.kind
    known = {use.image for use in images_in(kind, request.old_object)}
    fresh = [use for use in images_in(kind, request.object) if use.image not in known]
    if request.object is None or not any("@" not in use.image for use in fresh):
        return Allowed()
    wanted = tags_to_resolve(fresh, request.namespace, reader)
    if not wanted:
        return Allowed()
    pinned, warnings = await _resolved(wanted, reader.memory(Flights))
    if not pinned:
        return Allowed(warnings=warnings)
    return Mutated(read(type(obj), with_images(kind, request.object, pinned)), warnings)


def tags_to_resolve(
    uses: list[ImageUse], namespace: str, reader: Reader
) -> dict[str, ImageReference]:
    """Return the images, by their texts, that have no digest and that all policies for them have resolved."""
    found: dict[str, ImageReference] = {}
    left: set[str] = set()
    for judgement in plan(uses, policies_for(namespace, reader)):
        text = judgement.use.image
        try:
            image = parse_image(text)
        except ImageReferenceError:
            continue
        if image.digest is None and judgement.policy.resolves_tags:
            found[text] = image
        else:
            left.add(text)
    return {text: image for text, image in found.items() if text not in left}


async def _resolved(
    images: dict[str, ImageReference], flights: Flights
) -> tuple[dict[str, str], list[str]]:
    """Return the texts with a digest for those that were resolved, and why the others were not."""
    try:
        credentials = await asyncio.to_thread(credentials_from)
    except RegistryError as error:
        return {}, [str(error)]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(image: ImageReference) -> str | RegistryError:
        async with limit:
            return await _digest(image, credentials, flights)

    answers = await asyncio.gather(*(one(image) for image in images.values()))
    pinned: dict[str, str] = {}
    warnings: list[str] = []
    for text, answer in zip(images, answers, strict=True):
        if isinstance(answer, RegistryError):
            warnings.append(f"the tag of image {text} was not resolved: {answer}")
        else:
            pinned[text] = f"{text}@{answer}"
    return pinned, warnings


async def _digest(
    image: ImageReference, credentials: Credentials, flights: Flights
) -> str | RegistryError:
    """Return the digest of a tag; the same tag with the same user at the same time is one request."""

    async def request() -> str:
        return await resolve(image, credentials, seconds=_RESOLVE_SECONDS)

    try:
        return await flights.join((image, credentials.get(image.registry)), request)
    except RegistryError as error:
        return error


for _kind in WORKLOADS:
    app.mutate(
        _kind,
        subresources=["ephemeralcontainers"] if _kind is V1Pod else [],
        timeout=TIMEOUT,
        reinvocation=True,
        namespace_selector=EXCLUDED,
    )(resolve_tags)
