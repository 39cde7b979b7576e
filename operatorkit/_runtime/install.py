"""Making an API server serve the kinds of an operator.

What belongs here: applying definitions, rejecting what would take anything away from existing ones, and waiting until
they are established. What does not: rendering them (`operatorkit.crd`), and which they are (`operatorkit.definitions`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, Literal, cast

from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.crd.compatibility import Loss, losses, summary
from operatorkit.definitions import definitions
from operatorkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    InputError,
    NoKindMatch,
    NotFound,
    OperatorKitError,
    Throttled,
)
from operatorkit.kinds import CUSTOM_RESOURCE_DEFINITIONS as DEFINITIONS
from operatorkit.names import ApiResource
from operatorkit.resource import Resource

__all__ = ["DEFINITIONS", "Shrinking", "install_definitions", "install_stand_ins"]
Shrinking = Literal["never", "own", "always"]
"""Which definitions may lose something: none; those that only operatorkit has applied; all."""

_log = logging.getLogger("operatorkit.runtime")
_MANAGER = "operatorkit"
_PAUSE_SECONDS = 0.05
_ATTEMPTS = 10


async def install_definitions(
    kinds: Iterable[type[Any]],
    api: ClusterAPI,
    *,
    shrinking: Shrinking = "never",
    limit: timedelta = timedelta(seconds=30),
) -> None:
    """Apply the CustomResourceDefinition of each Resource class among `kinds` that is not external.

    The versions of a kind, one class each, are one definition. Return when the objects of all can be listed: that is
    later than Established, because for a moment kube-apiserver says that storage is (re)initializing.

    Raises InputError when a definition that is there would lose a version, a field or its scope, and `shrinking` does
    not allow it: nothing is applied then. Raises ClusterError when a definition is rejected, and OperatorKitError when
    one is not served within `limit`.
    """
    own = [kind for kind in kinds if issubclass(kind, Resource) and not kind.external()]
    manifests = definitions(own)
    live = [await _live(api, manifest["metadata"]["name"]) for manifest in manifests]
    for there, manifest in zip(live, manifests, strict=True):
        _check_losses(there, manifest, shrinking)
    applied = [
        await _apply(api, manifest, there, shrinking)
        for there, manifest in zip(live, manifests, strict=True)
    ]
    by_name = {definition["metadata"]["name"]: definition for definition in applied}
    for kind in own:
        resource = kind.api_resource()
        await _await_served(
            api, by_name[resource.qualified], resource if _is_served(kind) else None, limit
        )


async def install_stand_ins(kinds: Iterable[type[Any]], api: ClusterAPI) -> None:
    """Define the external kinds among `kinds` that the API server does not serve, each by a stand-in.

    For control planes of one's own only: a stand-in keeps every field and checks none.
    """
    for kind in kinds:
        if not issubclass(kind, Resource) or not kind.external():
            continue
        resource = kind.api_resource()
        with suppress(
            AlreadyExists
        ):  # in other versions: the check before the start names the one that is missing
            if not await _is_listed(api, resource):
                definition = await api.create(DEFINITIONS, kind.crd(), field_manager=_MANAGER)
                _log.info(
                    "%s has a substitute definition here: the real one belongs to another project",
                    resource.qualified,
                )
                await _await_served(api, definition, resource, timedelta(seconds=30))


async def _is_listed(api: ClusterAPI, resource: ApiResource) -> bool:
    try:
        await api.list(resource, limit=1)
    except (NotFound, NoKindMatch):
        return False
    return True


async def _live(api: ClusterAPI, name: str) -> JSONObject | None:
    try:
        return await api.get(DEFINITIONS, name)
    except NotFound:
        return None


def _check_losses(live: JSONObject | None, manifest: JSONObject, shrinking: Shrinking) -> None:
    """Raise InputError when a definition would lose something, unless that is allowed: then log what is lost."""
    found = [] if live is None else losses(live, manifest)
    if not found or live is None:
        return
    name = manifest["metadata"]["name"]
    if shrinking == "always" or (shrinking == "own" and _is_owned_alone(live)):
        _log.warning("the definition %s loses:\n%s", name, summary(found))
        return
    raise InputError(_losses_message(name, found))


def _losses_message(name: str, found: list[Loss]) -> str:
    return (
        f"the definition {name} exists, and would lose parts that objects or clients may use:\n{summary(found)}\n"
        "to remove them, pass --allow-shrink; if the kind is not yours, write external=True in its class; else give "
        "the class these fields, or the operator the missing versions, with Operator(versions=[...])"
    )


def _is_owned_alone(definition: JSONObject) -> bool:
    """Return whether only operatorkit has written a definition; its status is the server's."""
    entries = [
        entry
        for entry in definition["metadata"].get("managedFields") or ()
        if not entry.get("subresource") and "f:spec" in (entry.get("fieldsV1") or {})
    ]
    return bool(entries) and all(entry.get("manager") == _MANAGER for entry in entries)


async def _apply(
    api: ClusterAPI, manifest: JSONObject, live: JSONObject | None, shrinking: Shrinking
) -> JSONObject:
    """Apply a definition to what it was compared with, and compare again when that has changed meanwhile."""
    name = manifest["metadata"]["name"]
    for _ in range(_ATTEMPTS):
        body = manifest
        if live is not None:
            version = live["metadata"]["resourceVersion"]
            body = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}
        try:
            return await api.patch(
                DEFINITIONS,
                name,
                body,
                patch_type=PatchType.APPLY,
                field_manager=_MANAGER,
                force=True,
            )
        except Conflict:
            live = await _live(api, name)
            _check_losses(live, manifest, shrinking)
    raise OperatorKitError(
        f"the definition {name} changes faster than it can be applied: stop the other program that writes it"
    )


def _is_served(kind: type[Resource[Any, Any]]) -> bool:
    (version,) = kind.crd()["spec"]["versions"]
    return bool(version["served"])


async def _await_served(
    api: ClusterAPI, definition: JSONObject, resource: ApiResource | None, limit: timedelta
) -> None:
    try:
        async with asyncio.timeout(limit.total_seconds()):
            await _established(api, definition)
            if resource is not None:
                await _served(api, resource)
    except TimeoutError:
        name = definition["metadata"]["name"]
        raise OperatorKitError(
            f"{name} was applied, but is not served after {limit.total_seconds():g} s"
        ) from None


async def _served(api: ClusterAPI, resource: ApiResource) -> None:
    while True:
        try:
            await api.list(resource, limit=1)
        except (NotFound, NoKindMatch, Throttled):
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
    return any(
        condition["type"] == "Established" and condition["status"] == "True"
        for condition in conditions
    )
