"""Users of shelves and halls: they create, change, delete, deface, take over and pause, whatever they like.

What belongs here: what others than the operator do to the cluster. What does not: faults of the network.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from operatorkit.cluster import ClusterAPI, PatchType, Propagation
from operatorkit.errors import AlreadyExists
from operatorkit.names import ANNOTATION_PAUSED, ANNOTATION_RECONCILE_AT, LABEL_OWNER_UID, ApiResource
from soak.library import CONFIG_MAPS, HALLS, RULES, SECRETS, SHELVES, Hall, Traits, ignoring, shelf

__all__ = ["NAMESPACES", "Users"]

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
_PROPAGATIONS: tuple[Propagation, ...] = ("Background", "Foreground", "Orphan")


class Users:
    """They act on one namespace, and on the halls whose names begin with its name."""

    def __init__(self, api: ClusterAPI, namespace: str, rng: random.Random, traits: Traits) -> None:
        self.api = api
        self._namespace = namespace
        self._rng = rng
        self._traits = traits
        self.did: list[str] = []

    async def act(self) -> None:
        """Do something."""
        often: list[Callable[[str], Awaitable[None]]] = [self.put, self.put, self.put, self.rule, self.hall]
        actions = [*often, self.remove, self.recreate, self.deface, self.burn, self.squat, self.strip]
        actions += [self.say, self.pause, self.nudge, self.unrule, self.replace_child, self.label, self.contend]
        if not self._traits.predicate:
            actions.append(self.smear)
        action, name = self._rng.choice(actions), self._rng.choice("abc")
        self.did.append(f"{action.__name__} {name}")
        await ignoring(action(name))

    def _books(self) -> dict[str, str]:
        return {name: str(self._rng.randrange(3)) for name in "xyz" if self._rng.random() < 0.6}

    async def put(self, name: str) -> None:
        modes = ["plain"] * 5 + ["terminal", "again", "soon", "odd"]
        obj = shelf(name, self._books(), self._rng.choice(["", "r", "s"]), self._rng.choice(modes))
        try:
            await self.api.create(SHELVES, obj, namespace=self._namespace)
        except AlreadyExists:
            await self._change(SHELVES, name, [{"op": "replace", "path": "/spec", "value": obj["spec"]}])

    async def remove(self, name: str) -> None:
        how = self._rng.choice(_PROPAGATIONS)
        await self.api.delete(SHELVES, name, namespace=self._namespace, propagation=how)

    async def recreate(self, name: str) -> None:
        await ignoring(self.remove(name))
        await self.put(name)

    async def hall(self, name: str) -> None:
        name = f"{self._namespace}-{name}"
        if self._rng.random() < 0.3:
            await ignoring(self.api.delete(HALLS, name, propagation="Background"))
        if self._rng.random() < 0.3:
            return
        obj: dict[str, Any] = {"apiVersion": HALLS.api_version, "kind": Hall.__name__, "metadata": {"name": name}}
        obj["spec"] = {"namespace": self._namespace, "books": self._books()}
        try:
            await self.api.create(HALLS, obj)
        except AlreadyExists:
            body = [{"op": "replace", "path": "/spec", "value": obj["spec"]}]
            await self.api.patch(HALLS, name, body, patch_type=PatchType.JSON)

    async def rule(self, name: str) -> None:
        name = self._rng.choice("rs")
        body = {"apiVersion": RULES.api_version, "kind": "Rule", "spec": {"text": str(self._rng.randrange(5))}}
        meta = {"name": name, "namespace": self._namespace}
        await self.api.patch(
            RULES,
            name,
            body | {"metadata": meta},
            patch_type=PatchType.APPLY,
            namespace=self._namespace,
            field_manager="user",
            force=True,
        )

    async def unrule(self, name: str) -> None:
        await self.api.delete(RULES, self._rng.choice("rs"), namespace=self._namespace)
        if self._rng.random() < 0.5:
            await self.rule(name)

    async def deface(self, name: str) -> None:
        await self._merge(CONFIG_MAPS, f"{name}-x", {"data": self._rng.choice([{"text": "!"}, {"more": "?"}, None])})

    async def contend(self, name: str) -> None:
        """Want something else of a child than the operator, or of all of it, more often than that repairs it."""
        delete = self._rng.random() < 0.3
        for at in range(self._rng.choice([5, 30])):
            if delete:
                await ignoring(self.api.delete(CONFIG_MAPS, f"{name}-x", namespace=self._namespace))
            else:
                await ignoring(self._merge(CONFIG_MAPS, f"{name}-x", {"data": {"text": f"mine {at}"}}))
            await asyncio.sleep(0.05)

    async def label(self, name: str) -> None:
        await self._merge(CONFIG_MAPS, f"{name}-x", {"metadata": {"labels": {"hue": str(self._rng.randrange(3))}}})

    async def burn(self, name: str) -> None:
        resource, end = self._rng.choice([(CONFIG_MAPS, "x"), (CONFIG_MAPS, "y"), (SECRETS, "key")])
        await self.api.delete(resource, f"{name}-{end}", namespace=self._namespace)

    async def squat(self, name: str) -> None:
        """Put something of one's own where the operator wants a child."""
        await ignoring(self.api.delete(CONFIG_MAPS, f"{name}-y", namespace=self._namespace))
        obj = {"metadata": {"name": f"{name}-y", "labels": {"squat": "yes"}}, "data": {"text": "mine"}}
        await self.api.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap"} | obj, namespace=self._namespace)

    async def replace_child(self, name: str) -> None:
        """Delete a child, and make what looks like it but for its uid and its managers."""
        old = await self.api.get(CONFIG_MAPS, f"{name}-z", namespace=self._namespace)
        meta = {key: old["metadata"][key] for key in ("name", "labels", "ownerReferences") if key in old["metadata"]}
        await self.api.delete(CONFIG_MAPS, f"{name}-z", namespace=self._namespace)
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"text": "forged"}}
        await self.api.create(CONFIG_MAPS, obj, namespace=self._namespace)

    async def strip(self, name: str) -> None:
        """Take the marks of its owner from a child."""
        meta = {"ownerReferences": None, "labels": {LABEL_OWNER_UID: None}}
        await self._merge(CONFIG_MAPS, f"{name}-{self._rng.choice('xyz')}", {"metadata": meta})

    async def say(self, name: str) -> None:
        await self._merge(SHELVES, name, {"status": {"other": str(self._rng.randrange(5))}}, subresource="status")

    async def smear(self, name: str) -> None:
        await self._merge(SHELVES, name, {"status": {"view": "!", "conditions": []}}, subresource="status")

    async def pause(self, name: str) -> None:
        value = self._rng.choice(["true", None])
        await self._merge(SHELVES, name, {"metadata": {"annotations": {ANNOTATION_PAUSED: value}}})

    async def nudge(self, name: str) -> None:
        value = str(self._rng.randrange(100))
        await self._merge(
            SHELVES, name, {"metadata": {"annotations": {ANNOTATION_RECONCILE_AT: value, "noise": value}}}
        )

    async def make_peace(self) -> None:
        """Take back what would keep the operator from its end."""
        for name in "abc":
            await ignoring(self._merge(SHELVES, name, {"metadata": {"annotations": {ANNOTATION_PAUSED: None}}}))
        for obj in (await self.api.list(CONFIG_MAPS, namespace=self._namespace)).items:
            if not obj["metadata"].get("ownerReferences"):  # a squatter, or what an owner left behind
                await ignoring(self.api.delete(CONFIG_MAPS, obj["metadata"]["name"], namespace=self._namespace))

    async def leave(self) -> None:
        """Remove everything, past all finalizers."""
        listed = [(SHELVES, o) for o in (await self.api.list(SHELVES, namespace=self._namespace)).items]
        listed += [(RULES, o) for o in (await self.api.list(RULES, namespace=self._namespace)).items]
        halls = (await self.api.list(HALLS)).items
        listed += [(HALLS, o) for o in halls if o["metadata"]["name"].startswith(self._namespace)]
        for resource, obj in listed:
            name, where = obj["metadata"]["name"], obj["metadata"].get("namespace")
            free = {"metadata": {"finalizers": None}}
            await ignoring(self.api.patch(resource, name, free, patch_type=PatchType.MERGE, namespace=where))
            await ignoring(self.api.delete(resource, name, namespace=where, propagation="Background"))
        await self.api.delete(NAMESPACES, self._namespace)

    async def _merge(self, resource: Any, name: str, body: Any, **options: Any) -> None:
        await self.api.patch(resource, name, body, patch_type=PatchType.MERGE, namespace=self._namespace, **options)

    async def _change(self, resource: Any, name: str, body: Any) -> None:
        await self.api.patch(resource, name, body, patch_type=PatchType.JSON, namespace=self._namespace)
