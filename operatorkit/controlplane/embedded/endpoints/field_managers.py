"""Who manages which field: joins the write path to `fields.managed`.

What belongs here: what a resource's endpoints are, for the tracking of fields. What does not: the tracking itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from operatorkit.clock import Clock
from operatorkit.controlplane.embedded.fields import managed
from operatorkit.controlplane.embedded.fields.managed import Tracking
from operatorkit.controlplane.embedded.fields.schema import (
    DEDUCED,
    TypeSchema,
    of_kind,
    of_structural,
)
from operatorkit.controlplane.embedded.registry.preparation import field_filter
from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.request.options import WriteOptions
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.names import GroupVersionKind

__all__ = ["FieldManagers"]

Object = dict[str, Any]


class FieldManagers:
    """Tracks the fields of all resources of one registry."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._known: WeakKeyDictionary[Served, dict[str, Tracking]] = WeakKeyDictionary()

    def track(
        self,
        served: Served,
        subresource: str,
        options: WriteOptions,
        live: Object | None,
        new: Object,
    ) -> Object:
        """Return `new` with its `managedFields` after an update of any kind."""
        tracking = self._tracking(served, subresource)
        return managed.track(
            tracking, live, new, manager=options.field_manager, now=self._clock.now()
        )

    def apply(
        self,
        served: Served,
        subresource: str,
        options: WriteOptions,
        live: Object | None,
        applied: Object,
    ) -> Object:
        """Return `live` with `applied` applied to it. Raises `ApiError` (400, 409, 500)."""
        return managed.apply(
            self._tracking(served, subresource),
            live,
            applied,
            manager=options.field_manager,
            force=options.force,
            now=self._clock.now(),
        )

    def _tracking(self, served: Served, subresource: str) -> Tracking:
        by_subresource = self._known.setdefault(served, {})
        if subresource in by_subresource:
            return by_subresource[subresource]
        siblings = [
            it
            for it in self._registry.resources()
            if it.collection == served.collection and it.gvk != served.gvk and it.verbs
        ]
        tracking = Tracking(
            kind=served.gvk,
            schema=_schema(served),
            empty=codec.decode(served.gvk, {}).object if served.builtin else {},
            subresource=subresource,
            versions={it.api_version: _schema(it) for it in siblings},
            convert=lambda obj, api_version: served.convert(
                dict(obj), GroupVersionKind.of(api_version, served.kind)
            ),
        )
        if subresource or served.builtin or "status" in served.subresources:
            fields = field_filter(served.gvk, subresource, custom=not served.builtin)
            tracking = replace(tracking, filter=fields)
        by_subresource[subresource] = tracking
        return tracking


def _schema(served: Served) -> TypeSchema:
    if served.builtin:
        return of_kind(served.gvk) or DEDUCED
    schema = (served.definition.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        return DEDUCED
    spec = served.crd.get("spec", {})
    return of_structural(schema, preserve_unknown=bool(spec.get("preserveUnknownFields")))
