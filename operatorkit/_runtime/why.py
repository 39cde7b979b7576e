"""Why an object is reconciled, or is not: what /debug/why returns.

What belongs here: the last run of each key, and the page that describes a key. What does not: the port, and who may
read it (`health`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from operatorkit.names import ANNOTATION_PAUSED, ApiResource, ObjectKey

if TYPE_CHECKING:
    from operatorkit._runtime.caches import Caches
    from operatorkit._runtime.queue import WorkQueue

__all__ = ["Cause", "Explained", "LastRun", "explain"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a key was enqueued: a template and its values, formatted when it is read."""

    template: str
    values: tuple[object, ...] = ()

    def __str__(self) -> str:
        return self.template % self.values if self.values else self.template


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a key: its cause, when it ended, how long it took, its requests and its outcome.

    `error` is the message for users of what it raised, or "".
    """

    cause: Cause
    ended: datetime
    seconds: float
    requests: str
    result: str
    error: str = ""


class Explained(Protocol):
    """What a page needs of a controller."""

    @property
    def resource(self) -> ApiResource:
        """The kind that it reconciles."""

    @property
    def queue(self) -> WorkQueue[ObjectKey]:
        """Its work queue."""

    @property
    def workers(self) -> int:
        """How many keys run at once."""

    def cause(self, key: ObjectKey) -> Cause | None:
        """Return why a dirty key was enqueued."""

    def last_run(self, key: ObjectKey) -> LastRun | None:
        """Return the last run of a key in this process."""

    def waits_for_change(self, key: ObjectKey) -> bool:
        """Return whether a key is not retried, after a TerminalError."""


def explain(
    text: str, controllers: Iterable[Explained], caches: Caches, *, leads: bool
) -> tuple[bool, str]:
    """Return whether `text` names an object that can be, and the page about it, as lines of text.

    `text` is KIND/NAMESPACE/NAME or NAMESPACE/NAME; of a cluster-scoped object KIND/NAME or NAME. KIND is as kubectl
    takes it: Plan, plan, plans, or plans.example.io.
    """
    found = list(_named(text, controllers))
    if not found:
        kinds = sorted(controller.resource.qualified for controller in controllers)
        return False, (
            f"object={text!r} names no object of a kind that is reconciled here ({', '.join(kinds) or 'none is'}): "
            f"write KIND/NAMESPACE/NAME, or KIND/NAME for a cluster-scoped one\n"
        )
    pages = [_page(controller, key, caches, leads=leads) for controller, key in found]
    return True, "\n".join(pages)


def _named(text: str, controllers: Iterable[Explained]) -> Iterable[tuple[Explained, ObjectKey]]:
    parts = text.split("/")
    for controller in controllers:
        resource = controller.resource
        size = 2 if resource.namespaced else 1
        kinds = {resource.kind.lower(), resource.plural, resource.qualified}
        if len(parts) == size + 1 and parts[0].lower() in kinds:
            yield controller, ObjectKey(parts[1] if size == 2 else "", parts[-1])
        elif len(parts) == size and all(parts):
            yield controller, ObjectKey(parts[0] if size == 2 else "", parts[-1])


def _page(controller: Explained, key: ObjectKey, caches: Caches, *, leads: bool) -> str:
    lines = [
        ("object", f"{controller.resource.kind} {key}"),
        ("cache", _cached(controller, key, caches)),
        ("state", _state(controller, key, leads=leads)),
        *_trigger(controller, key),
        ("next run", _next(controller, key)),
        *_last(controller.last_run(key)),
    ]
    return "".join(f"{name + ':':14}{value}\n" for name, value in lines)


def _cached(controller: Explained, key: ObjectKey, caches: Caches) -> str:
    obj = caches.get(controller.resource, key)
    if obj is None:
        return "it is not in the cache: deleted, not created yet, or outside of what the operator follows"
    meta = obj["metadata"]
    found = f"resourceVersion {meta.get('resourceVersion')}, generation {meta.get('generation', 'none')}"
    if meta.get("deletionTimestamp"):
        finalizers = ", ".join(meta.get("finalizers") or ()) or "none"
        found += f", terminating since {meta['deletionTimestamp']}, finalizers: {finalizers}"
    if (meta.get("annotations") or {}).get(ANNOTATION_PAUSED) == "true":
        found += f", paused by the annotation {ANNOTATION_PAUSED}"
    return found


def _state(controller: Explained, key: ObjectKey, *, leads: bool) -> str:
    if not leads:
        return "this replica reconciles nothing: it is a standby (ask the leader), or it starts or stops"
    running = controller.queue.running().get(key)
    if running is not None:
        again = ", and is enqueued again" if controller.queue.runs_again(key) else ""
        return f"it is reconciled, for {running.total_seconds():.1f} s{again}"
    ahead = controller.queue.ahead(key)
    if ahead is not None:
        busy = len(controller.queue.running())
        held = ", which hands out nothing while the history of the server is in doubt"
        return (
            f"it is in the queue, with {ahead} ahead of it; {busy} of {controller.workers} workers are busy"
            f"{held if controller.queue.held else ''}"
        )
    if controller.waits_for_change(key):
        return "it waits for a change, after a TerminalError"
    return "it is idle"


def _trigger(controller: Explained, key: ObjectKey) -> list[tuple[str, str]]:
    cause = controller.cause(key)
    return [("trigger", str(cause))] if cause is not None else []


def _next(controller: Explained, key: ObjectKey) -> str:
    delay = controller.queue.delayed().get(key)
    failures = controller.queue.failures(key)
    after = f", after {failures} failures in a row" if failures else ""
    if delay is None:
        return f"with the next change{after}"
    return f"in {delay.total_seconds():.1f} s, or with the next change{after}"


def _last(run: LastRun | None) -> list[tuple[str, str]]:
    if run is None:
        return [("last run", "none in this process")]
    lines = [
        (
            "last run",
            f"ended {run.ended:%Y-%m-%dT%H:%M:%SZ}, took {run.seconds * 1000:.1f} ms, {run.requests}",
        ),
        ("because of", str(run.cause)),
        ("result", run.result),
    ]
    return [*lines, ("error", run.error)] if run.error else lines
