"""What an operator's probes check.

What belongs here: each check, and how long something may last before it fails. What does not: the port and its answers
(`health`).

    alive   event-loop   it runs what it is given (`health`)
            workers      of no kind, all workers have been at one object each for longer than a run may take
    ready   started      caches were filled, workers run or wait for leadership, and the operator was not stopped
            caches       each holds what the API server listed
            watches      none has been without contact for longer than 30 s
            webhooks     they are served, with a certificate that is in force

A restart mends a hanging worker, and does not bring an API server back: what comes from there, such as a watch that
fails, or runs that wait for its answer, is never a reason to be restarted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from operatorkit._runtime.engine import Engine
from operatorkit._runtime.health import Report
from operatorkit.clock import Clock

__all__ = ["HUNG_AFTER", "SILENT_AFTER", "Checks"]

HUNG_AFTER = timedelta(minutes=5)
"""How much longer than `Settings.reconcile_timeout` a run may take: then its function is cancelled, and ends."""

SILENT_AFTER = timedelta(seconds=30)
"""How long a watch may be without contact: an API server that restarts is back before."""

_MAX_ERROR = 120


class Checks:
    """The checks of one engine. `network_clock` is the engine's own."""

    def __init__(
        self, engine: Engine, *, reconcile_timeout: timedelta, network_clock: Clock
    ) -> None:
        self._engine = engine
        self._hung_after = reconcile_timeout + HUNG_AFTER
        self._network_clock = network_clock
        self._contact_since = network_clock.monotonic()

    def live(self) -> Report:
        """Return whether the operator still can work; if not, a restart is needed."""
        return {"workers": self._hanging()}

    def ready(self) -> Report:
        """Return whether the operator works now, with what is in the cluster now."""
        report = {
            "started": self._not_started(),
            "caches": self._not_filled(),
            "watches": self._silent(),
        }
        if self._engine.admission is not None:
            report["webhooks"] = self._engine.admission.problem()
        return report

    def _hanging(self) -> str | None:
        now = self._network_clock.monotonic()
        if self._engine.caches.silent_since():
            self._contact_since = now  # what a run waits for may be the API server
        in_contact = timedelta(seconds=now - self._contact_since)
        for controller in self._engine.controllers:
            running = sorted(controller.queue.running().values())
            if len(running) < controller.workers:
                continue
            shortest = min(running[0], in_contact)
            if shortest > self._hung_after:
                return (
                    f"all {controller.workers} workers of {controller.resource.kind} have been reconciling one object "
                    f"each for {_seconds(shortest)} (limit {_seconds(self._hung_after)}): "
                    f"{_some(str(key) for key in controller.queue.running())}"
                )
        return None

    def _not_started(self) -> str | None:
        if self._engine.is_stopping:
            return "it is stopping"
        return None if self._engine.is_ready else "it is starting"

    def _not_filled(self) -> str | None:
        kinds = [resource.qualified for resource in self._engine.caches.unsynced()]
        return f"not filled yet: {_some(kinds)}" if kinds else None

    def _silent(self) -> str | None:
        now, caches = self._network_clock.monotonic(), self._engine.caches
        found = []
        for resource, since in caches.silent_since().items():
            silence = timedelta(seconds=now - since)
            if silence > SILENT_AFTER:
                error = str(caches.error(resource) or "it broke off")[:_MAX_ERROR]
                found.append(f"{resource.qualified}: no contact for {_seconds(silence)}: {error}")
        return _some(found) if found else None


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


def _some(texts: Iterable[str]) -> str:
    """Join texts in one line, of many only the first."""
    found = [" ".join(text.split()) for text in texts]
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
