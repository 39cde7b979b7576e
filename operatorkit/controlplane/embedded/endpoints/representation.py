"""The representations of objects: as they are, as rows of a Table, or their metadata only.

What belongs here: encoding single objects, lists and events. What does not: which columns a built-in
kind has (`printers`).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from operatorkit.clock import Clock
from operatorkit.controlplane.embedded.endpoints.reading import Page
from operatorkit.controlplane.embedded.printers.columns import columns_of
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.serializer.json import encode
from operatorkit.controlplane.embedded.serializer.negotiation import Form
from operatorkit.controlplane.embedded.storage.store import Record

__all__ = ["Representation"]

Object = dict[str, Any]


def _partial(obj: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata", {}),
    }


class Representation:
    """Encodes the objects of one resource for one response."""

    def __init__(self, served: Served, form: Form, clock: Clock, include_object: str = "") -> None:
        self._served = served
        self._form = form
        self._clock = clock
        self._include = include_object or "Metadata"
        self._headed = False

    def one(self, obj: Object) -> bytes:
        """Return an object that is not, or not so, stored."""
        match self._form.view:
            case "table":
                return encode(self._table([obj], obj["metadata"].get("resourceVersion", "")))
            case "metadata":
                return encode(_partial(obj, self._form.version))
        return encode(obj)

    def stored(self, record: Record) -> bytes:
        """Return a stored object."""
        if self._form.view == "object":
            return self._served.bytes_of(record)
        return self.one(self._served.read(record))

    def page(self, page: Page) -> bytes:
        """Return a list. The items keep the bytes in which they are stored."""
        metadata: Object = {"resourceVersion": str(page.revision)}
        if page.continue_token:
            metadata["continue"] = page.continue_token
            if page.remaining is not None:
                metadata["remainingItemCount"] = page.remaining
        match self._form.view:
            case "table":
                return encode(
                    self._table([self._served.read(it) for it in page.records], metadata=metadata)
                )
            case "metadata":
                version = self._form.version
                return encode(
                    {
                        "kind": "PartialObjectMetadataList",
                        "apiVersion": f"meta.k8s.io/{version}",
                        "metadata": metadata,
                        "items": [_partial(self._served.read(it), version) for it in page.records],
                    }
                )
        item = self._served.item_of
        head = f'{{"kind":"{self._served.list_kind}","apiVersion":"{self._served.api_version}","metadata":'.encode()
        return b"".join(
            (
                head,
                encode(metadata),
                b',"items":[',
                b",".join([item(it) for it in page.records]),
                b"]}",
            )
        )

    def bookmark(self, revision: int, *, initial_end: bool) -> bytes:
        """Return the object of a BOOKMARK event."""
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self._form.view == "metadata":
            return encode(_partial({"metadata": metadata}, self._form.version))
        obj = {
            "kind": self._served.kind,
            "apiVersion": self._served.api_version,
            "metadata": metadata,
        }
        if self._form.view == "table":
            table = self._table([])
            table["metadata"] = {"resourceVersion": str(revision)}
            if initial_end:
                table["rows"] = [{"cells": [], "object": _partial(obj, self._form.version)}]
            return encode(table)
        return encode(obj)

    def event(self, record: Record) -> tuple[bytes, ...]:
        """Return the object of an event, in parts that all watchers share where they can be shared.

        Only the first Table of a watch has the definitions of columns.
        """
        if self._form.view == "object":
            return self._served.parts_of(record)
        data = self.one(self._served.read(record))
        self._headed = True
        return (data,)

    def _table(
        self, objects: Sequence[Object], revision: str = "", *, metadata: Object | None = None
    ) -> Object:
        definitions = None if self._headed else [*columns_of(self._served).definitions]
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self._form.version}",
            "metadata": metadata if metadata is not None else {"resourceVersion": revision},
            "columnDefinitions": definitions,
            "rows": list(self._rows(objects)),
        }

    def _rows(self, objects: Iterable[Object]) -> Iterable[Object]:
        columns, now = columns_of(self._served), self._clock.now()
        for obj in objects:
            row: Object = {"cells": columns.cells(obj, now)}
            conditions = columns.conditions(obj)
            if conditions:
                row["conditions"] = conditions
            if self._include == "Metadata":
                row["object"] = _partial(obj, self._form.version)
            else:
                row["object"] = obj if self._include == "Object" else None
            yield row
