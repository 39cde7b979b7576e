"""Reads: one object, a collection, a page of it, the past.

What belongs here: what `resourceVersion`, `resourceVersionMatch`, `limit` and `continue` mean. What does not: watches
(`watching`) and representations (`representation`).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    expired,
    not_found,
    too_large_revision,
)
from operatorkit.controlplane.embedded.registry.selectors import (
    FieldSelector,
    LabelSelector,
    parse_fields,
    parse_labels,
)
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.request.options import ListOptions
from operatorkit.controlplane.embedded.storage.store import Collection, Record, Storage, key_of

__all__ = ["Page", "Selection", "read_list", "read_one", "too_old"]


@dataclass(frozen=True, slots=True)
class Page:
    """Records of a collection, the revision at which they were so, and how to get the rest."""

    records: list[Record]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are wanted."""

    served: Served
    namespace: str
    labels: LabelSelector
    field_terms: FieldSelector

    @classmethod
    def of(cls, served: Served, namespace: str, options: ListOptions) -> Selection:
        """Read the selectors of a request. Raises `ApiError` (400)."""
        strategy = served.strategy
        fields = parse_fields(
            options.field_selector, known=strategy.knows_field, unknown=strategy.unknown_field
        )
        return cls(served, namespace, parse_labels(options.label_selector), fields)

    def named(self, name: str) -> Selection:
        """Return the same selection, narrowed to one name."""
        terms = FieldSelector((*self.field_terms.terms, ("metadata.name", True, name)))
        return Selection(self.served, self.namespace, self.labels, terms)

    def holds(self, record: Record) -> bool:
        """Whether an object is wanted."""
        if self.namespace and record.namespace != self.namespace:
            return False
        if self.labels and not self.labels.matches(record.labels):
            return False
        return not self.field_terms or self.field_terms.matches(self.served.fields(record))

    def candidates(self, collection: Collection) -> Iterable[Record]:
        """Yield the present objects that may be wanted, with the help of what is indexed."""
        name = self.field_terms.exactly("metadata.name")
        if name is not None and (self.namespace or not self.served.namespaced):
            record = collection.records.get(key_of(self.namespace, name))
            return [record] if record is not None else []
        return collection.select(self.namespace)


def read_one(
    storage: Storage, served: Served, namespace: str, name: str, resource_version: str = ""
) -> Record:
    """Return an object, not older than `resource_version`. Raises `ApiError` (404, 500, 504)."""
    if resource_version:
        wanted = ListOptions(resource_version=resource_version).revision() or 0
        if wanted > storage.revision:
            raise too_large_revision(wanted, storage.revision)
    record = storage.collection(served.collection).records.get(key_of(namespace, name))
    if record is None:
        raise not_found(served.group, served.plural, name)
    return record


def too_old(requested: int, oldest: int) -> ApiError:
    """Return the error of a resource version from before the log."""
    return expired(f"too old resource version: {requested} ({oldest})")


def read_list(storage: Storage, selection: Selection, options: ListOptions) -> Page:
    """Return a collection, or a page of it. Raises `ApiError` (400, 410, 504)."""
    collection = storage.collection(selection.served.collection)
    if options.continue_token:
        if options.resource_version not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _read_token(options.continue_token)
        if revision > storage.revision:
            raise too_large_revision(revision, storage.revision)
        return _page(
            _past(collection, revision, token=True), selection, options.limit, revision, start
        )
    try:
        wanted = options.revision()
    except (
        ApiError
    ) as error:  # a list, unlike a get and a watch, says that it is the client's mistake
        raise bad_request(f"invalid resource version: {error.message}") from None
    if wanted is not None and wanted > storage.revision:
        raise too_large_revision(wanted, storage.revision)
    exact = options.match == "Exact" or (
        options.limit and wanted and options.match != "NotOlderThan"
    )
    if wanted and exact and wanted != storage.revision:
        return _page(_past(collection, wanted, token=False), selection, options.limit, wanted, "")
    if options.limit > 0:
        return _page(collection.records, selection, options.limit, storage.revision, "")
    candidates = selection.candidates(collection)
    if selection.labels or selection.field_terms:
        candidates = (record for record in candidates if selection.holds(record))
    return Page(list(candidates), storage.revision)


def _past(collection: Collection, revision: int, *, token: bool) -> dict[str, Record]:
    try:
        return collection.at(revision)
    except LookupError:
        if not token:
            raise too_old(revision, collection.forgotten) from None
    raise expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )


def _page(
    records: dict[str, Record], selection: Selection, limit: int, revision: int, start: str
) -> Page:
    keys = sorted(records)
    chosen: list[Record] = []
    position = bisect_right(keys, start) if start else 0
    while position < len(keys):
        record = records[keys[position]]
        if selection.holds(record):
            if limit and len(chosen) == limit:
                break
            chosen.append(record)
        position += 1
    if position == len(keys):
        return Page(chosen, revision)
    remaining = None
    if not selection.labels and not selection.field_terms:
        remaining = sum(1 for key in keys[position:] if selection.holds(records[key]))
    return Page(chosen, revision, _write_token(revision, chosen[-1].key), remaining)


def _write_token(revision: int, last: str) -> str:
    token = json.dumps(
        {"v": "meta.k8s.io/v1", "rv": revision, "start": f"{last}\0"}, separators=(",", ":")
    )
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _read_token(text: str) -> tuple[int, str]:
    try:
        token = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        token = None
    match token:
        case {"v": "meta.k8s.io/v1", "rv": int(revision), "start": str(start)}:
            return revision, start.removesuffix("\0")
    raise bad_request("invalid continue token: continue key is not valid")
