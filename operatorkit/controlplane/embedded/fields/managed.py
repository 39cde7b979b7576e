"""`metadata.managedFields`: who manages which field, tracked by every write, decided on by server-side apply.

A manager is a name with what it did (Apply or Update), through which subresource and, for updates, in which version:
one name may so have several entries. `track` is for create, update and the other patches, `apply` for server-side
apply; both take the object as it was and return it as it will be, without touching their arguments.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from operatorkit.clock import format_time
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request
from operatorkit.controlplane.embedded.fields import sets, typed
from operatorkit.controlplane.embedded.fields.schema import TypeSchema
from operatorkit.controlplane.embedded.fields.sets import FieldSet, Path
from operatorkit.names import GroupVersionKind

__all__ = [
    "LAST_APPLIED",
    "FieldFilter",
    "Tracking",
    "apply",
    "excluding",
    "keep_times",
    "only",
    "track",
]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE_APPLY = "before-first-apply"
_ANCIENT = "ancient-changes"
_MAX_UPDATERS = 10
_NEVER_OWNED = FieldSet.named(
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
)

JSONObject = dict[str, Any]
FieldFilter = Callable[[FieldSet], FieldSet]
"""Takes from a set what an endpoint cannot change."""


def excluding(*paths: str) -> FieldFilter:
    """Return a filter for an endpoint that resets these fields: `excluding("status")` for the main one."""
    unwanted = FieldSet.named(*paths)
    return lambda fields: fields.without(unwanted)


def only(*paths: str) -> FieldFilter:
    """Return a filter for an endpoint that changes nothing else: `only("status")` for `/status` of custom resources."""
    wanted = FieldSet.named(*paths)
    return lambda fields: fields.only(wanted)


def _everything(fields: FieldSet) -> FieldSet:
    return fields


def _same_but_version(obj: JSONObject, api_version: str) -> JSONObject:
    return {**obj, "apiVersion": api_version}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What must be known of an endpoint to track fields there.

    `kind` is what the endpoint speaks and `schema` its type. `empty` is what an object of it is before anything is
    set: a built-in kind has some structs always, and no manager owns them for having them. `filter` takes away what the
    endpoint resets. `versions` gives the types of the kind's other served versions by apiVersion, and `convert` turns
    an object into one of them: entries of managers that speak a version not served are dropped.
    """

    kind: GroupVersionKind
    schema: TypeSchema
    empty: JSONObject = field(default_factory=dict)
    subresource: str = ""
    filter: FieldFilter = _everything
    versions: Mapping[str, TypeSchema] = field(default_factory=dict)
    convert: Callable[[JSONObject, str], JSONObject] = _same_but_version

    @property
    def api_version(self) -> str:
        """The version that the endpoint speaks."""
        return self.kind.api_version

    def type_of(self, api_version: str) -> TypeSchema | None:
        """Return the type in a version, or None when it is not served."""
        return self.schema if api_version == self.api_version else self.versions.get(api_version)

    def converted(self, obj: Any, api_version: str) -> Any:
        """Return an object in a version."""
        if (
            not isinstance(obj, dict)
            or not obj
            or obj.get("apiVersion", self.api_version) == api_version
        ):
            return obj
        return self.convert(obj, api_version)


@dataclass(frozen=True, slots=True, order=True)
class _Manager:
    """Who: the identity of an entry. The version counts for updates only."""

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str

    @classmethod
    def of(cls, name: str, operation: Literal["Apply", "Update"], tracking: Tracking) -> _Manager:
        version = tracking.api_version if operation == "Update" else ""
        return cls(name or "unknown", operation, version, tracking.subresource)

    def describe(self) -> str:
        text = json.dumps(self.name, ensure_ascii=False)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class _Entry:
    """What: the fields, in the version in which they were written, and when."""

    fields: FieldSet
    api_version: str
    time: str | None = None


_Managed = dict[_Manager, _Entry]


# ---------------------------------------------------------------------------------------------------- reading, writing


def _decode(entries: Any) -> _Managed:
    """Read `managedFields`. Raises ValueError when they are not as they should be."""
    result: _Managed = {}
    for position, entry in enumerate(entries or []):
        operation = entry.get("operation")
        if operation not in {"Apply", "Update"}:
            raise ValueError("operation must be `Apply` or `Update`")
        version = entry.get("apiVersion")
        if not version:
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            kind = entry.get("fieldsType")
            problem = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
            raise ValueError(f"{problem} in managed fields entry {position}")
        identity = version if operation == "Update" else ""
        manager = _Manager(
            entry.get("manager", ""), operation, identity, entry.get("subresource", "")
        )
        result[manager] = _Entry(
            FieldSet.decode(entry.get("fieldsV1") or {}), version, entry.get("time")
        )
    return result


def _encode(managed: _Managed) -> list[JSONObject]:
    def order(pair: tuple[_Manager, _Entry]) -> tuple[str, ...]:
        manager, entry = pair
        return (
            manager.operation,
            entry.time or "",
            manager.name,
            entry.api_version,
            manager.subresource,
        )

    result = []
    for manager, entry in sorted(managed.items(), key=order):
        written: JSONObject = {"manager": manager.name} if manager.name else {}
        written |= {"operation": manager.operation, "apiVersion": entry.api_version}
        if entry.time:
            written["time"] = entry.time
        written |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields.encode()}
        if manager.subresource:
            written["subresource"] = manager.subresource
        result.append(written)
    return result


def _without_managed(obj: JSONObject) -> JSONObject:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {
        **obj,
        "metadata": {name: it for name, it in metadata.items() if name != "managedFields"},
    }


def _with_managed(obj: JSONObject, managed: _Managed) -> JSONObject:
    if not managed:
        return dict(obj)
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "managedFields": _encode(managed)}}


def _managed_of(obj: JSONObject) -> Any:
    return (obj.get("metadata") or {}).get("managedFields")


def _decode_or_none(obj: JSONObject) -> _Managed:
    try:
        return _decode(_managed_of(obj))
    except (ValueError, AttributeError):
        return {}


def _managed_for_update(live: JSONObject, new: JSONObject, subresource: str) -> _Managed:
    """Return the entries an update starts from: a writer of the main resource may set or reset them."""
    if subresource:
        return _decode_or_none(live)
    given = _managed_of(new)
    if given in ([], [{}]):
        return {}
    return _decode_or_none(new) or _decode_or_none(live)


def keep_times(new: JSONObject, live: Mapping[str, Any]) -> JSONObject:
    """Return `new`, or `live` where the two differ in nothing but the times of `managedFields`.

    A write that changes nothing is no write, even if it was a different one that changed nothing: applying an empty
    map where there is none, for example. Call this when `new` is final, `metadata.resourceVersion` included.
    """
    before = dict(live)
    if not typed.equal(_without_managed(new), _without_managed(before)):
        return new
    return copy.deepcopy(before) if _untimed(new) == _untimed(before) else new


def _untimed(obj: JSONObject) -> list[str]:
    entries = (
        {name: it for name, it in entry.items() if name != "time"}
        for entry in _managed_of(obj) or ()
    )
    return sorted(json.dumps(entry, sort_keys=True) for entry in entries)


# --------------------------------------------------------------------------------------------------------------- track


def track(
    tracking: Tracking,
    live: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    *,
    manager: str,
    now: datetime,
) -> JSONObject:
    """Return `new`, about to be written in place of `live` (None for a create), with its `managedFields`.

    `new` must be final but for `managedFields`: with defaults, and with `metadata` as it will be stored. The result
    shares its parts. A value that does not fit its type is written all the same, and loses its `managedFields`.
    """
    before, after = dict(live or tracking.empty), dict(new)
    managed = _managed_for_update(before, after, tracking.subresource)
    before, after = _without_managed(before), _without_managed(after)
    # Its tracking was switched off (`managedFields: [{}]`): as in kube-apiserver, until the next
    # apply. Tracking this update alone would show its writer as the owner of that little.
    if not managed and (before.get("metadata") or {}).get("uid"):
        return dict(after)
    try:
        managed = _update(tracking, before, after, managed, manager, now)
    except typed.TypedError:
        return dict(after)
    return _with_managed(after, managed)


def _update(
    tracking: Tracking,
    live: JSONObject,
    new: JSONObject,
    managed: _Managed,
    name: str,
    now: datetime,
) -> _Managed:
    """Give what changed to the manager who changed it, and take it from all others."""
    typed.check(tracking.schema, new, duplicates=True)
    managed, comparison = _disown(tracking, live, new, managed, applying=None, force=True)
    changed = tracking.filter(comparison.modified | comparison.added) - _NEVER_OWNED
    if changed:
        who = _Manager.of(name, "Update", tracking)
        previous = managed[who].fields if who in managed else sets.EMPTY
        managed[who] = _Entry(changed | previous, tracking.api_version, format_time(now))
    return _capped(managed)


def _disown(
    tracking: Tracking,
    live: Any,
    new: Any,
    managed: _Managed,
    *,
    applying: _Manager | None,
    force: bool,
) -> tuple[_Managed, typed.Comparison]:
    """Take from everybody but `applying` what changes between two objects. Raises _Conflicts unless forced."""
    comparisons: dict[str, typed.Comparison] = {}

    def comparison_in(api_version: str, schema: TypeSchema) -> typed.Comparison:
        if api_version not in comparisons:
            raw = typed.compare(
                schema, tracking.converted(live, api_version), tracking.converted(new, api_version)
            )
            comparisons[api_version] = typed.Comparison(
                tracking.filter(raw.removed),
                tracking.filter(raw.modified),
                tracking.filter(raw.added),
            )
        return comparisons[api_version]

    result: _Managed = {}
    conflicts: dict[_Manager, FieldSet] = {}
    for manager, entry in managed.items():
        schema = tracking.type_of(entry.api_version)
        if manager == applying:
            result[manager] = entry
        elif schema is not None:
            changes = comparison_in(entry.api_version, schema)
            if taken := entry.fields & (changes.modified | changes.added):
                conflicts[manager] = taken
            if rest := entry.fields - (changes.modified | changes.added) - changes.removed:
                result[manager] = replace(entry, fields=rest)
    if conflicts and not force:
        raise _Conflicts(conflicts)
    return result, comparison_in(tracking.api_version, tracking.schema)


def _capped(managed: _Managed) -> _Managed:
    """Merge the oldest updates into one entry for each version when there are more than ten."""
    updaters = sorted(
        (it for it in managed if it.operation == "Update"),
        key=lambda it: (managed[it].time or "", it.name, it.api_version, it.subresource),
    )
    excess = len(updaters) - _MAX_UPDATERS
    first_of: dict[str, _Manager] = {}
    result = dict(managed)
    for manager in updaters:
        if excess <= 0:
            break
        entry = result[manager]
        if entry.api_version not in first_of:
            first_of[entry.api_version] = manager
            continue
        bucket = _Manager(_ANCIENT, "Update", entry.api_version, "")
        if bucket not in result:
            result[bucket] = result.pop(first_of[entry.api_version])
        merged = entry.fields | result[bucket].fields
        if manager != bucket:
            del result[manager]
        result[bucket] = _Entry(merged, entry.api_version, entry.time)
        excess -= 1
    return result


# --------------------------------------------------------------------------------------------------------------- apply


class _Conflicts(Exception):  # noqa: N818 - becomes an API error when nothing resolves it
    """Fields that others manage, by manager."""

    def __init__(self, of: Mapping[_Manager, FieldSet]) -> None:
        super().__init__()
        self.of = of

    @property
    def fields(self) -> FieldSet:
        result = FieldSet()
        for fields in self.of.values():
            result |= fields
        return result

    def without(self, allowed: FieldSet) -> _Conflicts:
        return _Conflicts(
            {it: rest for it, fields in self.of.items() if (rest := fields - allowed)}
        )

    def translated(self) -> ApiError:
        found: list[tuple[_Manager, Path]] = [
            (it, path) for it in sorted(self.of) for path in self.of[it]
        ]
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {who.describe()}",
                "field": sets.path_text(path),
            }
            for who, path in found
        ]
        if len(causes) == 1:
            text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
        else:
            lines = []
            for who in sorted(self.of):
                lines.append(f"conflicts with {who.describe()}:")
                lines += [f"- {sets.path_text(path)}" for path in self.of[who]]
            text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
        return ApiError(409, "Conflict", text, details={"causes": causes})


def apply(
    tracking: Tracking,
    live: Mapping[str, Any] | None,
    applied: Mapping[str, Any],
    *,
    manager: str,
    force: bool = False,
    now: datetime,
) -> JSONObject:
    """Return `live` (None when it does not exist yet) with `applied` applied to it, and its `managedFields`.

    What the manager applied last time and not now is removed, unless another one manages it too. Defaults are not
    set here. The result equals `live` when nothing changes; the time of the manager's entry then stays as it was.

    Raises `ApiError`: 409 when fields would change that others manage, unless `force`; 400 or 500 for an object that
    cannot be applied.
    """
    _check_applied(tracking, applied)
    before, config = dict(live or {}), dict(applied)
    try:
        managed = _decode(_managed_of(before))
    except (ValueError, AttributeError) as error:
        raise ApiError(500, "", f"failed to decode managed fields: {error}") from error
    before = _without_managed(before)
    try:
        result, managed = _apply_or_upgrade(tracking, before, config, managed, manager, force, now)
    except _Conflicts as conflicts:
        raise conflicts.translated() from None
    except typed.TypedError as error:
        raise ApiError(
            500, "", f"failed to create typed live object ({_described(before)}): {error}"
        ) from error
    annotations = (result.get("metadata") or {}).get("annotations") or {}
    if manager == "kubectl" and annotations.get(LAST_APPLIED):
        result = copy.deepcopy(result)
        result["metadata"]["annotations"][LAST_APPLIED] = _last_applied(config)
    return _with_managed(copy.deepcopy(result), managed)


def _described(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata") or {}
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    kind = f"{group}/{version}, Kind={obj.get('kind', '')}"
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {kind}"


def _check_applied(tracking: Tracking, applied: Mapping[str, Any]) -> None:
    group, _, version = str(applied.get("apiVersion") or "").rpartition("/")
    found = GroupVersionKind(group, version, str(applied.get("kind") or ""))
    if found != tracking.kind:
        text = f"invalid object type: {found.group}/{found.version}, Kind={found.kind}"
        raise bad_request(text)
    if _managed_of(dict(applied)) is not None:
        raise bad_request("metadata.managedFields must be nil")
    try:
        typed.check(tracking.schema, applied)
    except typed.TypedError as error:
        raise ApiError(
            500, "", f"failed to create typed patch object ({_described(applied)}): {error}"
        ) from error


def _apply_or_upgrade(
    tracking: Tracking,
    live: JSONObject,
    config: JSONObject,
    managed: _Managed,
    name: str,
    force: bool,
    now: datetime,
) -> tuple[JSONObject, _Managed]:
    """Apply; when kubectl meets only conflicts with what it applied from the client's side before, take those over."""
    if not managed:
        managed = _update(tracking, tracking.empty, live or tracking.empty, {}, _BEFORE_APPLY, now)
    try:
        return _apply(tracking, live, config, managed, name, force, now)
    except _Conflicts as conflicts:
        allowed = _own_from_last_applied(tracking, live) if name == "kubectl" else None
        if allowed is None:
            raise
        if conflicts.fields - allowed:
            raise conflicts.without(allowed) from None
    return _apply(tracking, live, config, managed, name, True, now)


def _apply(
    tracking: Tracking,
    live: JSONObject,
    config: JSONObject,
    managed: _Managed,
    name: str,
    force: bool,
    now: datetime,
) -> tuple[JSONObject, _Managed]:
    who = _Manager.of(name, "Apply", tracking)
    merged = typed.merge(tracking.schema, live, config)
    last = managed.get(who)
    fields = tracking.filter(typed.fields_of(tracking.schema, config))
    entry = _Entry(fields, tracking.api_version, last.time if last else None)
    managed = {**managed, who: entry}
    result = _pruned(tracking, merged, managed, last)
    managed, _ = _disown(tracking, live, result, managed, applying=who, force=force)
    owned = fields - _NEVER_OWNED
    changed = not typed.equal(live, result)
    if not owned:
        managed.pop(who, None)
    else:
        managed[who] = replace(
            entry, fields=owned, time=format_time(now) if changed else entry.time
        )
    return result, managed


def _pruned(tracking: Tracking, merged: Any, managed: _Managed, last: _Entry | None) -> Any:
    """Remove what the manager applied last and not now, unless another one, or none, manages it."""
    if last is None or not last.fields:
        return merged
    schema = tracking.type_of(last.api_version)
    if schema is None:
        return merged
    before = tracking.converted(merged, last.api_version)
    was = typed.with_named_fields(schema, last.fields)
    pruned = typed.remove(schema, before, was)
    owned: dict[str, FieldSet] = {last.api_version: FieldSet()}
    for entry in managed.values():
        owned[entry.api_version] = owned.get(entry.api_version, sets.EMPTY) | entry.fields
    for api_version, fields in owned.items():
        type_ = tracking.type_of(api_version)
        if type_ is not None:
            pruned = _restored(
                tracking, merged, pruned, api_version, last.api_version, type_, fields
            )
    lost = _all_fields(schema, before) - _all_fields(schema, pruned)
    result = typed.remove(schema, before, lost & was)
    return tracking.converted(result, tracking.api_version)


def _all_fields(schema: TypeSchema, value: Any) -> FieldSet:
    return typed.with_named_fields(schema, typed.fields_of(schema, value))


def _restored(
    tracking: Tracking,
    merged: Any,
    pruned: Any,
    api_version: str,
    back_to: str,
    schema: TypeSchema,
    owned: FieldSet,
) -> Any:
    """Put back what was pruned although it is managed in a version."""
    whole, part = tracking.converted(merged, api_version), tracking.converted(pruned, api_version)
    kept = _all_fields(schema, part) | typed.with_named_fields(schema, owned)
    result = typed.remove(schema, whole, _all_fields(schema, whole) - kept)
    return tracking.converted(result, back_to)


def _own_from_last_applied(tracking: Tracking, live: JSONObject) -> FieldSet | None:
    """Return the fields that client-side apply set and that did not change since, or None when it never was used."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = json.loads(text) if text else None
        if not isinstance(last, dict) or last.get("apiVersion") != tracking.api_version:
            return None
        typed.check(tracking.schema, last)
        comparison = typed.compare(tracking.schema, last, live)
        fields = typed.fields_of(tracking.schema, last)
    except ValueError:
        return None
    return fields - comparison.modified - comparison.added - comparison.removed


def _last_applied(config: JSONObject) -> str:
    obj = copy.deepcopy(config)
    annotations = (obj.get("metadata") or {}).get("annotations")
    if annotations is not None:
        annotations.pop(LAST_APPLIED, None)
    text = json.dumps(obj, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n"
