"""The options of requests: query parameters, and the bodies of deletions.

What belongs here: reading them, and rejecting what Kubernetes rejects. What does not: acting on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.errors import go_text
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request, invalid
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.crd import field_errors
from operatorkit.crd.field_errors import FieldError, FieldErrors

__all__ = ["DeleteOptions", "ListOptions", "WriteOptions", "check_timeout", "flag", "whole_number"]

FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")
PROPAGATIONS = ("Foreground", "Background", "Orphan")

_MAX_MANAGER_BYTES = 128


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return a boolean parameter as Kubernetes reads it: present and neither false nor 0."""
    return query.get(name, "false").lower() not in {"false", "0"}


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """Return an integer parameter, or None where it is absent. Raises `ApiError` (400)."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return go_text.parse_int(text)
    except ValueError as error:
        raise bad_request(str(error)) from None


def check_timeout(query: Mapping[str, str]) -> None:
    """Check the parameter by which a client says how long it waits. Raises `ApiError` (400).

    No request here takes that long, so the value is checked, as kube-apiserver does, and has no other effect.
    """
    try:
        go_text.parse_duration(query["timeout"])
    except ValueError as error:
        raise bad_request(f"invalid timeout specified in the request URL - {error}") from None


def _dry_run(values: Sequence[str], kind: str) -> bool:
    wrong = [value for value in values if value != "All"]
    if wrong:
        raise invalid(
            "meta.k8s.io", kind, "", [field_errors.not_supported("dryRun", list(values), ["All"])]
        )
    return bool(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What of a collection is wanted, and from when."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_seconds: int | None = None
    bookmarks: bool = False
    send_initial_events: bool | None = None

    @classmethod
    def read(cls, query: Mapping[str, str], *, watch: bool) -> ListOptions:
        """Read a query. Raises `ApiError` (400, 422)."""
        initial = flag(query, "sendInitialEvents") if query.get("sendInitialEvents") else None
        options = cls(
            label_selector=query.get("labelSelector", ""),
            field_selector=query.get("fieldSelector", ""),
            resource_version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            # What may be as old as the watch cache is read from there, and all of it.
            limit=0 if query.get("resourceVersion") == "0" else whole_number(query, "limit") or 0,
            continue_token=query.get("continue", ""),
            timeout_seconds=whole_number(query, "timeoutSeconds"),
            bookmarks=flag(query, "allowWatchBookmarks"),
            send_initial_events=initial,
        )
        errors = options._watch_errors() if watch else options._list_errors()
        if errors:
            raise invalid("meta.k8s.io", "ListOptions", "", errors)
        return options

    def _list_errors(self) -> list[FieldError]:
        errors = []
        if self.match:
            if not self.resource_version:
                errors.append(_forbidden_match("is forbidden unless resourceVersion is provided"))
            if self.continue_token:
                errors.append(_forbidden_match("is forbidden when continue is provided"))
            if self.match not in {"Exact", "NotOlderThan"}:
                errors.append(
                    field_errors.not_supported(
                        "resourceVersionMatch", self.match, ["Exact", "NotOlderThan", ""]
                    )
                )
            if self.match == "Exact" and self.resource_version == "0":
                errors.append(_forbidden_match('"exact" is forbidden for resourceVersion "0"'))
        if self.send_initial_events is not None:
            text = "sendInitialEvents is forbidden for list"
            errors.append(field_errors.forbidden("sendInitialEvents", text))
        return errors

    def _watch_errors(self) -> list[FieldError]:
        errors = []
        if self.send_initial_events is not None and self.match != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            errors.append(field_errors.forbidden("resourceVersionMatch", text))
        if self.match:
            if self.send_initial_events is None:
                errors.append(
                    _forbidden_match("is forbidden for watch unless sendInitialEvents is provided")
                )
            if self.match != "NotOlderThan":
                errors.append(
                    field_errors.not_supported("resourceVersionMatch", self.match, ["NotOlderThan"])
                )
            if self.continue_token:
                errors.append(_forbidden_match("is forbidden when continue is provided"))
        return errors

    def revision(self) -> int | None:
        """Return the resource version as a number; None when the newest is wanted. Raises `ApiError` (500)."""
        if not self.resource_version:
            return None
        try:
            return go_text.parse_uint(self.resource_version)
        except ValueError as error:
            text = (
                f"resourceVersion: Invalid value: {go_text.quoted(self.resource_version)}: {error}"
            )
            raise ApiError(500, "", text) from None


def _forbidden_match(text: str) -> FieldError:
    return field_errors.forbidden("resourceVersionMatch", f"resourceVersionMatch {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How to write."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Warn"
    force: bool = False

    @classmethod
    def read(
        cls,
        query: Mapping[str, str],
        dry_run: Sequence[str],
        *,
        user_agent: str = "",
        kind: str,
        apply: bool = False,
    ) -> WriteOptions:
        """Read a query; `dry_run` are all values of that parameter. Raises `ApiError` (400, 422)."""
        manager = query.get("fieldManager", "")
        errors = [*_manager_errors(manager)]
        if apply and not manager:
            errors.append(field_errors.required("fieldManager", "is required for apply patch"))
        validation = query.get("fieldValidation", "") or "Warn"
        if validation not in FIELD_VALIDATIONS:
            errors.append(
                field_errors.not_supported("fieldValidation", validation, ["", *FIELD_VALIDATIONS])
            )
        if query.get("force") and not apply and kind == "PatchOptions":
            errors.append(
                field_errors.forbidden("force", "may not be specified for non-apply patch")
            )
        if errors:
            raise invalid("meta.k8s.io", kind, "", errors)
        return cls(
            dry_run=_dry_run(dry_run, kind),
            field_manager=manager or _manager_of(user_agent),
            field_validation=validation,
            force=flag(query, "force"),
        )


def _manager_errors(manager: str) -> FieldErrors:
    if len(manager.encode(errors="replace")) > _MAX_MANAGER_BYTES:
        yield field_errors.too_long("fieldManager", _MAX_MANAGER_BYTES)
    position = 0
    for letter in manager:
        if not letter.isprintable():
            text = f"invalid character U+{ord(letter):04X} (at position {position})"
            yield field_errors.invalid("fieldManager", manager, text)
        position += len(letter.encode(errors="replace"))


def _manager_of(user_agent: str) -> str:
    """Return who writes where the request does not say: what can be printed of the beginning of its user agent."""
    printable = "".join(filter(str.isprintable, user_agent.partition("/")[0]))
    return (
        printable.encode(errors="replace")[:_MAX_MANAGER_BYTES].decode(errors="ignore") or "unknown"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete."""

    dry_run: bool = False
    grace_period_seconds: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def read(
        cls, query: Mapping[str, str], dry_run: Sequence[str], body: dict[str, Any] | None
    ) -> DeleteOptions:
        """Read a body, or, when that is empty, a query. Raises `ApiError` (400, 422)."""
        if not body:
            orphan = flag(query, "orphanDependents") if query.get("orphanDependents") else None
            body = {
                "gracePeriodSeconds": whole_number(query, "gracePeriodSeconds"),
                "propagationPolicy": query.get("propagationPolicy"),
                "orphanDependents": orphan,
                "dryRun": list(dry_run),
            }
        return cls._from(body)

    @classmethod
    def _from(cls, body: dict[str, Any]) -> DeleteOptions:
        propagation, orphan = body.get("propagationPolicy"), body.get("orphanDependents")
        errors = []
        if propagation is not None and orphan is not None:
            text = "orphanDependents and deletionPropagation cannot be both set"
            errors.append(field_errors.invalid("propagationPolicy", propagation, text))
        if propagation is not None and propagation not in PROPAGATIONS:
            errors.append(
                field_errors.not_supported("propagationPolicy", propagation, [*PROPAGATIONS, "nil"])
            )
        if errors:
            raise invalid("meta.k8s.io", "DeleteOptions", "", errors)
        if orphan is not None:
            propagation = "Orphan" if orphan else "Background"
        grace = body.get("gracePeriodSeconds")
        preconditions = body.get("preconditions") or {}
        for name, value, fits, type_ in (
            (
                "gracePeriodSeconds",
                grace,
                grace is None or (type(grace) is int and grace in go_text.INT64),
                "int64",
            ),
            ("preconditions", preconditions, isinstance(preconditions, dict), "v1.Preconditions"),
        ):
            if not fits:
                where = f"Go struct field DeleteOptions.{name} of type {type_}"
                shown = (
                    f"number {value}"
                    if codec.json_type(value) == "number"
                    else codec.json_type(value)
                )
                raise bad_request(f"json: cannot unmarshal {shown} into {where}")
        return cls(
            dry_run=_dry_run(list(body.get("dryRun") or ()), "DeleteOptions"),
            grace_period_seconds=grace,
            propagation=propagation,
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
        )
