"""Requests, counted: for each run in the log, and for all in the metrics.

What belongs here: who a request belongs to. What does not: sending it (`operatorkit.cluster`).

Why a context variable: the client reports each request in the task that sent it, and tasks that a reconcile function
starts inherit the variable. So requests of concurrent runs are counted apart without a client for each run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from operatorkit.cluster import Answered
from operatorkit.metrics import Metrics

__all__ = ["Requests", "counted_requests", "observer"]


class Requests:
    """How many requests one run has sent; as text, `3 requests`. Where no client reports them, it is 0."""

    def __init__(self) -> None:
        self.count: int = 0

    def __str__(self) -> str:
        return f"{self.count} request{'' if self.count == 1 else 's'}"


_current: ContextVar[Requests | None] = ContextVar("requests of a run", default=None)


@contextmanager
def counted_requests() -> Iterator[Requests]:
    """Count the requests that are sent while the block runs, by it and by the tasks that it starts."""
    requests = Requests()
    token = _current.set(requests)
    try:
        yield requests
    finally:
        _current.reset(token)


def observer(metrics: Metrics, host: str) -> Callable[[Answered], None]:
    """Return what a client calls after each request to the API server at `host`."""

    def observe(answered: Answered) -> None:
        requests = _current.get()
        if requests is not None:
            requests.count += 1
        metrics.requested(code=answered.code, method=answered.method, host=host)

    return observe
