"""From the body of a request to the body of its answer.

What belongs here: finding the webhook, calling its function with typed objects, and wording what
comes of it. What does not: HTTP and TLS (`operatorkit.webhooks.server`).

A review that can be read always gets an AdmissionReview that repeats its uid: what goes wrong then
(an object that its class cannot read, an exception, a function that is too slow or returns
nonsense) is `allowed: false`, whatever the failure policy: the webhook is there, and it did not say
yes. A review that cannot be read has no uid to repeat, and gets an HTTP error.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from operatorkit.errors import Cause, InvalidObject
from operatorkit.names import GroupVersionKind
from operatorkit.resource import read, write
from operatorkit.webhooks.decision import Allowed, Decision, Denied, Mutated
from operatorkit.webhooks.declaration import Webhook
from operatorkit.webhooks.manifests import url_path
from operatorkit.webhooks.patch import carried_over, json_patch
from operatorkit.webhooks.review import API_VERSION, AdmissionRequest, MalformedReview, read_review

__all__ = ["HUGE_BYTES", "LARGE_BYTES", "Answer", "Dispatcher", "error_answer"]

T = TypeVar("T")

_log = logging.getLogger("operatorkit.webhooks")
LARGE_BYTES = 64 * 1024
"""Larger reviews take milliseconds to read: of 1.4 MB, hundreds of them."""

HUGE_BYTES = 1024 * 1024
"""Of larger reviews, one at a time is decoded."""

_THREADS = 2
_IDENTITY = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "uid"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON that goes with it."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A decision, and the patch of a mutation."""

    decision: Decision
    patch: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Objects:
    """The typed objects of a review; `before` is the new one as it would be written, for what may change it."""

    new: Any
    old: Any
    before: dict[str, Any]


class _Run(Protocol):
    """Runs a function here, or in a thread."""

    async def __call__(self, function: Callable[..., T], *arguments: Any) -> T: ...


class Dispatcher:
    """Answers reviews with the functions of `webhooks`, by path; with `name`, also by the paths that a URL has."""

    def __init__(self, webhooks: Iterable[Webhook], *, name: str | None = None) -> None:
        self._by_path = {webhook.path: webhook for webhook in webhooks}
        if name is not None:
            self._by_path |= {
                url_path(webhook, name): webhook for webhook in self._by_path.values()
            }

        # no thread is started before the first review that needs it
        self._large = ThreadPoolExecutor(_THREADS, thread_name_prefix="large reviews")
        self._huge = ThreadPoolExecutor(1, thread_name_prefix="large reviews: one at a time")

    def find(self, path: str) -> Webhook | None:
        """Return the webhook that answers at exactly this path."""
        return self._by_path.get(path)

    def close(self) -> None:
        """Give up the threads; reviews that are being answered have no answer then."""
        for threads in (self._large, self._huge):
            threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, webhook: Webhook, body: bytes, *, seconds: float) -> Answer:
        """Answer one review within `seconds`, whatever its function does, as long as that does not block the loop.

        The body of a large one is read, and its answer made, in a thread: its function alone runs
        in the loop. Of those above `HUGE_BYTES`, one is decoded at a time: decoded, a body takes up
        to thirty times its size in memory.
        """
        run = self._runner(len(body))
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                request = await run(read_review, body)
        except MalformedReview as error:
            return error_answer(400, "BadRequest", str(error))
        except TimeoutError:
            return error_answer(
                503, "Timeout", f"the review was not read within {seconds:.3g} s; try again"
            )
        try:
            async with asyncio.timeout_at(deadline) as timer:
                verdict = await _evaluate(webhook, request, run)
        except Exception as error:  # noqa: BLE001 - the outermost loop: the API server gets an error, and the log the trace
            late = isinstance(error, TimeoutError) and timer.expired()
            verdict = _Verdict(_failed(webhook, request, error, seconds if late else None))
        return Answer(200, await run(_review, request, verdict))

    def _runner(self, size: int) -> _Run:
        if size <= LARGE_BYTES:
            return _here
        threads = self._large if size <= HUGE_BYTES else self._huge

        async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
            return await asyncio.get_running_loop().run_in_executor(
                threads, partial(function, *arguments)
            )

        return in_thread


async def _here(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def error_answer(status: int, reason: str, message: str) -> Answer:
    """Return an HTTP error with a Status object, for what cannot be answered by a review."""
    return Answer(
        status, {"kind": "Status", "apiVersion": "v1", **_status(status, reason, message)}
    )


async def _evaluate(webhook: Webhook, request: AdmissionRequest, run: _Run) -> _Verdict:
    objects = await run(_objects, webhook, request)
    if isinstance(objects, _Verdict):
        return objects
    if webhook.verb == "validate":
        decision = await webhook.function(objects.new, objects.old, request)
        if not isinstance(decision, Allowed | Denied):
            raise TypeError(
                f"it returned {type(decision).__name__}: return Allowed() or Denied(...)"
            )
        return _Verdict(decision)
    decision = await webhook.function(objects.new, request)
    if isinstance(decision, Mutated):
        return _Verdict(decision, await run(_mutation, request, objects, decision))
    if not isinstance(decision, Allowed | Denied):
        raise TypeError(
            f"it returned {type(decision).__name__}: return Mutated(obj), Allowed() or Denied(...)"
        )
    return _Verdict(decision)


def _objects(webhook: Webhook, request: AdmissionRequest) -> _Objects | _Verdict:
    """Return what the function is given, or the verdict where it is not called."""
    wanted = webhook.resource.gvk
    if request.kind != wanted or (
        request.subresource and request.subresource not in webhook.subresources
    ):
        what = f"{request.kind} {request.subresource}".strip()
        return _Verdict(
            Denied(
                f"{webhook.name} handles {wanted}, and the request is about {what}",
                reason="BadRequest",
            )
        )
    if request.operation not in webhook.operations:
        problem = f"{webhook.name} handles {' and '.join(webhook.operations)}, and the request is a {request.operation}"
        return _Verdict(Denied(problem, reason="BadRequest"))
    try:
        new = _typed(webhook, request.object)
        if webhook.verb == "validate":
            return _Objects(new, _old(webhook, request), {})
    except InvalidObject as error:
        return _Verdict(_decision_on_invalid(request, error))
    return _Objects(new, None, write(new))


def _mutation(
    request: AdmissionRequest, objects: _Objects, decision: Mutated[Any]
) -> list[dict[str, Any]]:
    assert request.object is not None, "mutating webhooks are for CREATE and UPDATE"
    return _patch(request.object, objects.before, write(decision.obj))


def _typed(webhook: Webhook, obj: Mapping[str, Any] | None) -> Any:
    return None if obj is None else read(webhook.kind, obj)


def _old(webhook: Webhook, request: AdmissionRequest) -> Any:
    """Return the object that is there; None also when a change may mend that it cannot be read."""
    try:
        return _typed(webhook, request.old_object)
    except InvalidObject:
        if request.operation != "UPDATE":
            raise
        return None


def _decision_on_invalid(request: AdmissionRequest, error: InvalidObject) -> Decision:
    """Reject an object that its class cannot read, unless it was stored so and only its metadata or status changes.

    Otherwise no client could remove the finalizer of an object that a newer class does not read,
    and its namespace would stay terminating.
    """
    if request.operation == "UPDATE" and _content(request.object) == _content(request.old_object):
        return Allowed(
            warnings=[
                f"{error}; the stored object has the same error, and this change does not correct it"
            ]
        )
    # kubectl prints the causes of an Invalid answer, and nothing of its message
    return Denied(*error.causes) if error.causes else Denied(str(error), reason="BadRequest")


def _content(obj: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        name: value for name, value in (obj or {}).items() if name not in {"metadata", "status"}
    }


def _patch(
    original: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> list[dict[str, Any]]:
    for path in _IDENTITY:
        was, is_now = _at(before, path), _at(after, path)
        if was != is_now:
            raise ValueError(
                f"it changed {'.'.join(path)} from {was!r} to {is_now!r}: this field cannot change"
            )
    return json_patch(original, carried_over(original, before, after))


def _at(obj: Any, path: Sequence[str]) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj or None


def _failed(
    webhook: Webhook, request: AdmissionRequest, error: Exception, late_after: float | None
) -> Denied:
    """Log everything, and return to the caller what they can use: where the error is, and where to look."""
    subject = f"{request.operation} of {request.kind.kind} {request.namespace}/{request.name}"
    if late_after is not None:
        _log.error("%s: %s took longer than %.3g s", webhook.name, subject, late_after)
        return Denied(
            f"the webhook did not respond within {late_after:.3g} s; try again", reason="Timeout"
        )
    _log.error("%s: %s failed", webhook.name, subject, exc_info=error)
    return Denied(
        f"the webhook failed ({type(error).__name__}); this is a bug of the operator: see its log",
        reason="InternalError",
    )


def _review(request: AdmissionRequest, verdict: _Verdict) -> dict[str, Any]:
    decision = verdict.decision
    response: dict[str, Any] = {"uid": request.uid, "allowed": not isinstance(decision, Denied)}
    if isinstance(decision, Denied):
        response["status"] = _denial(request, decision)
    if verdict.patch:
        patch = json.dumps(verdict.patch, ensure_ascii=False, separators=(",", ":")).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode("ascii")}
    if decision.warnings:
        # an API server drops a warning with a line break: it is to be a header
        response["warnings"] = [" ".join(str(warning).split()) for warning in decision.warnings]
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _denial(request: AdmissionRequest, denied: Denied) -> dict[str, Any]:
    """Word a denial as an API server words its own: the message for people, the causes for programs."""
    lines = [_line(cause) for cause in denied.causes]
    message = "; ".join(lines)
    name = request.name or _name_in(request.object)
    details: dict[str, Any] = {"name": name, "group": request.kind.group, "kind": request.kind.kind}
    causes = [cause for cause in denied.causes if isinstance(cause, Cause)]
    if causes:
        found = ", ".join(lines)
        message = f"{_kind(request.kind)} {json.dumps(name)} is invalid: {f'[{found}]' if len(lines) > 1 else found}"
        details["causes"] = [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in causes
        ]
    return _status(denied.code, denied.reason, message, details)


def _name_in(obj: Mapping[str, Any] | None) -> str:
    """Return the name in an object whose request has none: the API server has just made it up."""
    return str(((obj or {}).get("metadata") or {}).get("name") or "")


def _kind(kind: GroupVersionKind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def _line(cause: Cause | str) -> str:
    if isinstance(cause, str):
        return cause
    return f"{cause.field}: {cause.message}" if cause.field else cause.message


def _status(
    code: int, reason: str, message: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    status: dict[str, Any] = {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return status | ({"details": details} if details else {})
