"""The conditions Ready, Reconciling and Stalled that the engine sets for own kinds whose author sets no conditions.

What belongs here: which conditions follow from how a run ended, as kstatus reads them. What does not: writing them
(`status`), and the conditions of an author, which stay as they are.

    the run                      Ready    Reconciling   Stalled   kstatus
    returned                     True     absent        absent    Current
    raised RetryLater            False    True          absent    InProgress
    raised what is retried       False    True          absent    InProgress
    raised TerminalError         False    absent        True      Failed

TerminalError and RetryLater set Ready=False also where the author sets conditions: they are the author's statement.

Source: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from operatorkit._runtime.reasons import EngineReason
from operatorkit.cluster import JSONObject
from operatorkit.conditions import get_condition
from operatorkit.context import Context, condition_model
from operatorkit.errors import (
    Conflict,
    FieldManagerConflict,
    OperatorKitError,
    RetryLater,
    TerminalError,
    Throttled,
    Timeout,
    Unreachable,
)

__all__ = ["PASSING", "failure_message", "set_failed", "set_ready", "was_failing"]

PASSING: Final = (Throttled, Timeout, Unreachable)
"""Errors that may pass by themselves, and during which nothing can be written."""

_READY, _RECONCILING, _STALLED = "Ready", "Reconciling", "Stalled"
_MARKS: Final = {
    _RECONCILING: {EngineReason.RECONCILE_FAILED, EngineReason.RETRY_LATER},
    _STALLED: {EngineReason.TERMINAL_ERROR},
}


def set_ready(obj: Any, ctx: Context, raw: JSONObject, *, manager: str) -> None:
    """Set the conditions of a run that returned, and remove the marks of one that failed."""
    if not _has_conditions(obj):
        return
    was_marked = _remove_marks(obj, ctx)
    if _READY in ctx.conditions_set:
        return
    ready = get_condition(obj.status.conditions or (), _READY)
    if (
        was_marked and ready is not None and ready.status == "False"
    ) or not _author_sets_conditions(obj, ctx, raw, manager):
        ctx.condition(_READY, True, EngineReason.RECONCILED)
    elif ready is not None and ready.reason == EngineReason.RECONCILED:
        obj.status.conditions.remove(ready)


def set_failed(
    obj: Any, ctx: Context, raw: JSONObject, error: BaseException, *, manager: str
) -> None:
    """Set the conditions of a run that raised `error`."""
    if isinstance(error, Conflict) and not isinstance(error, FieldManagerConflict):
        return
    if not isinstance(error, Exception) or isinstance(error, PASSING) or not _has_conditions(obj):
        return
    by_author = _author_sets_conditions(obj, ctx, raw, manager)
    message = failure_message(error)
    match error:
        case TerminalError(reported=True):
            return
        case TerminalError():
            _set_not_ready(obj, ctx, error.reason, message)
            _remove_marks(obj, ctx)
            if not by_author:
                _mark(ctx, _STALLED, EngineReason.TERMINAL_ERROR, message)
        case RetryLater():
            _set_not_ready(obj, ctx, error.reason, message)
            _remove_marks(obj, ctx, but=_RECONCILING)
            _mark(ctx, _RECONCILING, EngineReason.RETRY_LATER, message)
        case _ if not by_author:
            _set_not_ready(obj, ctx, EngineReason.RECONCILE_FAILED, message)
            _remove_marks(obj, ctx, but=_RECONCILING)
            _mark(ctx, _RECONCILING, EngineReason.RECONCILE_FAILED, message)


def was_failing(raw: JSONObject) -> bool:
    """Return whether the status says that the run before, perhaps of an earlier process, failed."""
    conditions = (raw.get("status") or {}).get("conditions")
    if not isinstance(conditions, list):
        return False
    failures = {EngineReason.RECONCILE_FAILED, EngineReason.TERMINAL_ERROR}
    return any(
        isinstance(each, Mapping)
        and each.get("type") in _MARKS
        and each.get("status") == "True"
        and each.get("reason") in failures
        for each in conditions
    )


def failure_message(error: BaseException) -> str:
    """Return the message for users of an error; the text of other exceptions may contain anything: it is logged."""
    if isinstance(error, OperatorKitError):
        return str(error)
    return f"unexpected {type(error).__name__} in the reconcile function: see the operator's log"


def _has_conditions(obj: Any) -> bool:
    return condition_model(type(obj)) is not None and obj.status is not None


def _set_not_ready(obj: Any, ctx: Context, reason: str, message: str) -> None:
    """Set Ready=False, where the function has not done so itself in this run: an earlier one may be out of date."""
    known = get_condition(obj.status.conditions or (), _READY)
    has_set = _READY in ctx.conditions_set
    if not has_set or known is None or (known.status, known.reason) != ("False", reason):
        ctx.condition(_READY, False, reason, message)


def _mark(ctx: Context, type_: str, reason: str, message: str) -> None:
    if type_ not in ctx.conditions_set:
        ctx.condition(type_, True, reason, message)


def _remove_marks(obj: Any, ctx: Context, *, but: str = "") -> bool:
    """Remove the engine's Reconciling and Stalled; return whether there was one."""
    found = [
        each
        for each in obj.status.conditions or ()
        if each.type in _MARKS
        and each.type not in ctx.conditions_set
        and each.reason in _MARKS[each.type]
    ]
    for each in found:
        if each.type != but:
            obj.status.conditions.remove(each)
    return bool(found)


def _author_sets_conditions(obj: Any, ctx: Context, raw: JSONObject, manager: str) -> bool:
    """Return whether the function sets conditions itself: in this run, or by what the operator owns of the status.

    Ready beside a mark of the engine was set with it. Conditions of other field managers do not count.
    """
    if ctx.conditions_set:
        return True
    before = {each.get("type"): each for each in (raw.get("status") or {}).get("conditions") or ()}
    marked = any(
        before[type_].get("reason") in reasons
        for type_, reasons in _MARKS.items()
        if type_ in before
    )
    engine = {_RECONCILING, _STALLED, *([_READY] if marked else [])}
    owned = _owned_types(raw, manager)
    after = {each.type for each in obj.status.conditions or ()}
    if any(type_ in before and type_ not in after for type_ in owned - engine):
        return True  # it has removed one
    for each in obj.status.conditions or ():
        if each.type in engine or each.reason in (
            EngineReason.RECONCILED,
            EngineReason.RECONCILE_FAILED,
        ):
            continue
        if each.type in owned or each.type not in before:
            return True
    return False


def _owned_types(raw: JSONObject, manager: str) -> set[str]:
    for entry in raw["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("subresource") == "status":
            fields = (entry.get("fieldsV1") or {}).get("f:status") or {}
            keys = fields.get("f:conditions") or {}
            return {_type_of(name) for name in keys if name.startswith("k:")}
    return set()


def _type_of(name: str) -> str:
    """Return the type in the key of an item of managedFields, such as `k:{"type":"Ready"}`."""
    return str(json.loads(name[2:]).get("type", ""))
