"""What is reconciled: one small kind, of about a kilobyte as JSON."""

from __future__ import annotations

from typing import Any

from operatorkit import Model, Resource
from operatorkit.names import ApiResource

__all__ = ["CHILDREN", "DRIVER", "THINGS", "Thing", "child", "status", "thing"]

DRIVER = "bench-driver"  # the user agent whose requests are not counted


class ThingSpec(Model):
    value: int = 0
    text: str = ""
    items: list[dict[str, str]] = []


class ThingStatus(Model):
    observed: int | None = None


class Thing(Resource[ThingSpec, ThingStatus], group="bench.example.io", version="v1"):
    """A thing to reconcile."""


THINGS = Thing.api_resource()
CHILDREN = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)


def thing(name: str) -> dict[str, Any]:
    """Return an object as its author would write it."""
    spec = {"value": 1, "text": "x" * 300, "items": [{"name": f"item-{n}", "text": "y" * 20} for n in range(4)]}
    return {
        "apiVersion": THINGS.api_version,
        "kind": THINGS.kind,
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": spec,
    }


def status(obj: dict[str, Any]) -> dict[str, Any]:
    """Return what is applied to the status of an object."""
    return {
        "apiVersion": THINGS.api_version,
        "kind": THINGS.kind,
        "metadata": {"name": obj["metadata"]["name"]},
        "status": {"observed": obj["spec"]["value"]},
    }


def child(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the ConfigMap that is applied for an object."""
    meta = obj["metadata"]
    owner = {"apiVersion": THINGS.api_version, "kind": THINGS.kind, "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": meta["name"], "ownerReferences": [{**owner, "controller": True}]},
        "data": {"text": obj["spec"]["text"]},
    }
