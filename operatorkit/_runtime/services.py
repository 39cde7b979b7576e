"""What all controllers of an engine share, as one value.

What belongs here: the parts that each run needs, whatever its kind. What does not: what belongs to one kind (its queue,
status writer and budget: `controller`), and the order in which parts start (`engine`).
"""

from __future__ import annotations

from dataclasses import dataclass

from operatorkit._runtime.caches import CacheReader, Caches
from operatorkit._runtime.writes import feeding_api
from operatorkit.children import LastApplied
from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI
from operatorkit.events import EventRecorder
from operatorkit.metrics import Metrics, NoMetrics
from operatorkit.operator import Operator

__all__ = ["Services"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one engine that its controllers use.

    `api` sends requests as they are; `writes` sends the same requests and puts their responses into `caches`, so that
    no later read is older. `clock` is the operator's: back-off, Requeue, conditions and Events.
    """

    app: Operator
    api: ClusterAPI
    writes: ClusterAPI
    caches: Caches
    reader: CacheReader
    events: EventRecorder
    last_applied: LastApplied
    clock: Clock
    metrics: Metrics

    @classmethod
    def of(
        cls,
        app: Operator,
        api: ClusterAPI,
        *,
        caches: Caches,
        events: EventRecorder,
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> Services:
        """Return the services of an operator, with those that follow from the others."""
        return cls(
            app=app,
            api=api,
            writes=feeding_api(api, caches),
            caches=caches,
            reader=CacheReader(app, caches),
            events=events,
            last_applied=LastApplied(),
            clock=clock,
            metrics=metrics or NoMetrics(),
        )
