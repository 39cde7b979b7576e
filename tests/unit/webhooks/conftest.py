"""A kind, and reviews of it as an API server sends them."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from operatorkit import Model, Resource
from operatorkit.resource import NoStatus


class ThingSpec(Model):
    size: int = 1


class Thing(Resource[ThingSpec, NoStatus], group="example.io", version="v1"):
    """A thing."""


def thing(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.io/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "namespace": "team", "uid": "u-1", "unknown": [1]},
        "spec": {"unknown": {"a": 1}, **spec},
    }


def review(
    new: dict[str, Any] | None = None, old: dict[str, Any] | None = None, operation: str = "CREATE", **more: Any
) -> dict[str, Any]:
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "example.io", "version": "v1", "kind": "Thing"},
        "resource": {"group": "example.io", "version": "v1", "resource": "things"},
        "name": "a",
        "namespace": "team",
        "operation": operation,
        "userInfo": {"username": "ann", "uid": "7", "groups": ["dev"], "extra": {"scopes": ["x"]}},
        "object": copy.deepcopy(new),
        "oldObject": copy.deepcopy(old),
        "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        "somethingNewer": {"a": 1},
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


@pytest.fixture
def reviews():
    return SimpleNamespace(Thing=Thing, thing=thing, review=review)
