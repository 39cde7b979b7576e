"""The way to a Kubernetes API: one interface, one live client, and caches fed by watches.

What belongs here: the `ClusterAPI` protocol, the live client on one aiohttp session, kubeconfig
loading, the translation of the API server's errors into `operatorkit.errors`, informers and their
caches. What does not: what to do with objects (`operatorkit.context`, `operatorkit.children`),
typed models (`operatorkit.resource`), and any knowledge of kopf (`operatorkit._runtime`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operatorkit.cluster.api import (
    ApiRequest,
    ClusterAPI,
    JSONObject,
    ObjectList,
    PatchType,
    Propagation,
    WatchEvent,
)
from operatorkit.cluster.cache import Cache, Change, IndexFunction, key_of
from operatorkit.cluster.config import ClusterConfig, Credentials, load_config
from operatorkit.cluster.history import History
from operatorkit.cluster.informer import Informer
from operatorkit.cluster.versions import is_newer

if TYPE_CHECKING:
    from operatorkit.cluster.client import Answered, LiveCluster

__all__ = [
    "Answered",
    "ApiRequest",
    "Cache",
    "Change",
    "ClusterAPI",
    "ClusterConfig",
    "Credentials",
    "History",
    "IndexFunction",
    "Informer",
    "JSONObject",
    "LiveCluster",
    "ObjectList",
    "PatchType",
    "Propagation",
    "WatchEvent",
    "is_newer",
    "key_of",
    "load_config",
]


def __getattr__(name: str) -> Any:
    """Import the live client, and aiohttp with it, on first use: most commands need no cluster."""
    if name in {"Answered", "LiveCluster"}:
        from operatorkit.cluster import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
