"""The schemas of Kubernetes' own types.

What belongs here: reading the compact file of definitions that ships with operatorkit. What does
not: where the file comes from (`tools/kubernetes_data.py`), and what a server makes of the types
(`operatorkit.controlplane.embedded`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from operatorkit.names import GroupVersionKind

__all__ = ["KUBERNETES_VERSION", "REF_PREFIX", "definitions", "kinds"]

KUBERNETES_VERSION = "v1.36.3"
"""The release whose types these are."""

REF_PREFIX = "#/definitions/"
"""What stands before the name of a definition in a `$ref`."""

_GVK = "x-kubernetes-group-version-kind"


@cache
def definitions() -> Mapping[str, dict[str, Any]]:
    """Return the OpenAPI v2 definitions of all stable kinds, and of what they are made of, by full name.

    Beyond OpenAPI v2, properties carry the `default` that Kubernetes publishes in OpenAPI v3. The
    file is read on first use, which takes about 15 ms. The schemas are shared: do not change them.
    """
    packed = files("operatorkit.crd").joinpath("_data/definitions.json.gz").read_bytes()
    return MappingProxyType(json.loads(gzip.decompress(packed))["definitions"])


@cache
def kinds() -> Mapping[GroupVersionKind, str]:
    """Return the name of each kind's definition: `Pod` of `v1` is `io.k8s.api.core.v1.Pod`.

    Kinds that belong to every group, such as `DeleteOptions`, are there under each of them.
    """
    return MappingProxyType(
        {
            GroupVersionKind(gvk["group"], gvk["version"], gvk["kind"]): name
            for name, definition in definitions().items()
            for gvk in definition.get(_GVK, ())
        }
    )
