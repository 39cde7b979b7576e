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
from operatorkit.live import Declared
from operatorkit.metrics import Metrics, NoMetrics
from operatorkit.names import ApiResource
from operatorkit.operator import Operator
from operatorkit.permissions import permissions

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
    declared: Declared

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
            declared=_declared(app),
        )


def _declared(app: Operator) -> Declared:
    """Return a function that looks up what the operator's roles permit, in all namespaces and for all names."""
    permitted = {(one.group, one.resource, one.verb) for one in permissions(app) if not one.names}

    def is_declared(resource: ApiResource, verb: str, subresource: str) -> bool:
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        return (resource.group, plural, verb) in permitted

    return is_declared
