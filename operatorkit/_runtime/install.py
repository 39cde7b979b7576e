"""Making an API server serve the kinds of an operator.

What belongs here: applying definitions and waiting until they are established. What does not: rendering them
(`operatorkit.crd`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import ClusterError, NotFound, OperatorKitError, Throttled
from operatorkit.names import ApiResource
from operatorkit.resource import Resource

__all__ = ["DEFINITIONS", "install_definitions"]

DEFINITIONS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_MANAGER = "operatorkit"
_PAUSE_SECONDS = 0.05


async def install_definitions(
    kinds: Iterable[type[Any]], api: ClusterAPI, *, limit: timedelta = timedelta(seconds=30)
) -> None:
    """Apply the CustomResourceDefinition of each own kind among `kinds`; return when the objects of all can be listed.

    That is later than Established: for a moment kube-apiserver says that storage is (re)initializing.

    Raises ClusterError when a definition is refused, and OperatorKitError when one is not served within `limit`.
    """
    own = [kind for kind in kinds if issubclass(kind, Resource)]
    applied = [
        await api.patch(
            DEFINITIONS,
            definition["metadata"]["name"],
            definition,
            patch_type=PatchType.APPLY,
            field_manager=_MANAGER,
            force=True,
        )
        for definition in (kind.crd() for kind in own)
    ]
    for kind, definition in zip(own, applied, strict=True):
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await _established(api, definition)
                await _served(api, kind.api_resource())
        except TimeoutError:
            name = definition["metadata"]["name"]
            raise OperatorKitError(f"{name} was applied, but is not served after {limit.total_seconds():g} s") from None


async def _served(api: ClusterAPI, resource: ApiResource) -> None:
    while True:
        try:
            await api.list(resource, limit=1)
        except (NotFound, Throttled):
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


async def _established(api: ClusterAPI, definition: JSONObject) -> None:
    name = definition["metadata"]["name"]
    while not _is_established(definition):
        events = api.watch(
            DEFINITIONS,
            resource_version=definition["metadata"]["resourceVersion"],
            field_selector=f"metadata.name={name}",
        )
        try:
            async with aclosing(cast("Any", events)):
                async for event in events:
                    if event.type in {"ADDED", "MODIFIED"}:
                        definition = event.object
                        if _is_established(definition):
                            return
        except ClusterError:
            await asyncio.sleep(_PAUSE_SECONDS)
        definition = await api.get(DEFINITIONS, name)


def _is_established(definition: JSONObject) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == "NamesAccepted" and condition["status"] == "False":
            raise OperatorKitError(f"{definition['metadata']['name']}: {condition['message']}")
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
