"""The functions that decide about requests: their forms, as `Operator.validate` and `Operator.mutate` take them.

What belongs here: which arguments such a function may have. What does not: the decisions (`webhooks`), and how
they are declared (`operator`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from operatorkit.cluster import ClusterAPI
from operatorkit.context import Reader
from operatorkit.events import EventRecorder
from operatorkit.webhooks import AdmissionRequest, Allowed, Denied, Mutated

__all__ = [
    "MutateFunction",
    "ReadingMutateFunction",
    "ReadingValidateFunction",
    "RecordingValidateFunction",
    "ValidateFunction",
]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class ReadingValidateFunction(Protocol[T_contra]):
    """A validate function that also takes the operator's caches, as a keyword argument named `reader`."""

    def __call__(
        self, new: T_contra, old: T_contra | None, request: AdmissionRequest, *, reader: Reader
    ) -> Awaitable[Allowed | Denied]:
        """Return the decision."""


class RecordingValidateFunction(Protocol[T_contra]):
    """A validate function that also takes the caches, the recorder of Events and the cluster, each by its name."""

    def __call__(
        self,
        new: T_contra,
        old: T_contra | None,
        request: AdmissionRequest,
        *,
        reader: Reader,
        events: EventRecorder,
        api: ClusterAPI,
    ) -> Awaitable[Allowed | Denied]:
        """Return the decision."""


class ReadingMutateFunction(Protocol[T]):
    """A mutate function that also takes the operator's caches, as a keyword argument named `reader`."""

    def __call__(
        self, obj: T, request: AdmissionRequest, *, reader: Reader
    ) -> Awaitable[Mutated[T] | Allowed | Denied]:
        """Return the decision."""


ValidateFunction = (
    Callable[[T, T | None, AdmissionRequest], Awaitable[Allowed | Denied]]
    | ReadingValidateFunction[T]
    | RecordingValidateFunction[T]
)
MutateFunction = (
    Callable[[T, AdmissionRequest], Awaitable[Mutated[T] | Allowed | Denied]]
    | ReadingMutateFunction[T]
)
