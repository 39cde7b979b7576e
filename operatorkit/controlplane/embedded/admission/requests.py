"""What of a request webhooks are shown: its attributes, its options, and the shape of its objects.

What belongs here: turning a request into an `Admission`. What does not: calling webhooks (`chain`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from operatorkit.controlplane.embedded.admission.chain import Admission, Shape, Webhooks
from operatorkit.controlplane.embedded.admission.hooks import Attributes, Invocation
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.registry.validation import object_meta
from operatorkit.controlplane.embedded.request.messages import Request
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError
from operatorkit.controlplane.embedded.serializer.decoding import require_built_in
from operatorkit.names import GroupVersionKind

__all__ = ["Scaling", "admission_of"]

Object = dict[str, Any]
Scaling = tuple[Callable[[Object], Object], Callable[[Object, Object], Object]]

_META = "meta.k8s.io/v1"


def admission_of(
    webhooks: Webhooks,
    request: Request,
    served: Served,
    *,
    warnings: list[str],
    body: Object | None = None,
    dry_run: bool,
    deletes: Mapping[str, Any] | None = None,
    scaling: Scaling | None = None,
) -> Admission | None:
    """Return what asks the webhooks about a request; None, at no cost, when there are none.

    `body` names a new object where the URL does not. `deletes` are the options of a deletion. `scaling` gives, for
    /scale, the Scale of an object, and the object with a Scale.
    """
    if not webhooks.concern(served):
        return None
    address = request.info
    name = address.name or str(((body or {}).get("metadata") or {}).get("name") or "")
    part = served.subresources.get(address.subresource)
    kind = part.gvk if part is not None else served.gvk
    namespace = address.namespace if served.namespaced else ""
    attributes = Attributes(
        operation="DELETE",
        served=served,
        subresource=address.subresource,
        kind=kind,
        namespace=name if served.collection == "namespaces" else namespace,
        name=name,
        user=request.user,
        dry_run=dry_run,
        options=_write_options(request) if deletes is None else _delete_options(deletes),
    )
    return Admission(webhooks, attributes, _shape(served, kind, scaling), warnings)


def _shape(served: Served, kind: GroupVersionKind, scaling: Scaling | None) -> Shape:
    if kind == served.gvk:
        return Shape(_same, _made, _decoded, _defaulted)
    if scaling is None:
        return Shape(
            lambda obj: {"kind": kind.kind, "apiVersion": kind.api_version} | obj,
            _made,
            _part,
            _as_it_is,
        )
    show, take = scaling
    return Shape(show, lambda obj, scale: take(copy.deepcopy(obj), scale), _part, _as_it_is)


def _same(obj: Object) -> Object:
    return obj


def _made(_: Object, made: Object) -> Object:
    return made


def _decoded(obj: Object, invocation: Invocation) -> Object:
    """Return a patched object; a custom one with what its schema does not have, which only storing drops."""
    served = invocation.served
    if served.builtin:
        require_built_in(obj, served.gvk)
        return served.strategy.decode(obj, validation="Ignore", warnings=[])
    if not obj.get("kind"):
        text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        raise bad_request(f"Object 'Kind' is missing in '{text}'")
    try:
        object_meta.decode({"metadata": copy.deepcopy(obj.get("metadata"))}, served.gvk, [])
    except DecodeError as error:
        raise ApiError(500, "", error.why) from None
    return obj


def _defaulted(obj: Object, invocation: Invocation) -> None:
    invocation.served.strategy.default(obj)


def _part(obj: Object, invocation: Invocation) -> Object:
    require_built_in(obj, invocation.kind)
    return codec.decode(invocation.kind, obj).object


def _as_it_is(_: Object, __: Invocation) -> None:
    """Leave out what was left out."""


def _write_options(request: Request) -> Object:
    options: Object = {"kind": "UpdateOptions", "apiVersion": _META}
    if request.dry_run:
        options["dryRun"] = list(request.dry_run)
    for name in ("fieldManager", "fieldValidation"):
        if request.query.get(name):
            options[name] = request.query[name]
    return options


def _delete_options(given: Mapping[str, Any]) -> Object:
    return {"kind": "DeleteOptions", "apiVersion": _META} | {
        name: it
        for name, it in given.items()
        if name not in {"kind", "apiVersion"} and it not in (None, [], {})
    }
