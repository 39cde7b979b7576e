"""What decides about the objects of a kind: which fields it has, what is defaulted, kept, rejected.

What belongs here: the `Strategy` protocol. What does not: the two families of it, Kubernetes' own kinds (`builtin`) and
those of CRDs (`custom`), and the order in which the steps are taken (`writing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from operatorkit.crd.field_errors import FieldError

__all__ = ["Strategy"]

Object = dict[str, Any]


class Strategy(Protocol):
    """The rules of one kind in one version. Objects are given in that version, and may be changed in place."""

    returns_deleted: bool
    """Whether a deletion answers with the object, and not with a Status."""

    unconditional_update: bool
    """Whether an update may leave out `metadata.resourceVersion`."""

    create_on_update: bool
    """Whether an update of what is not there creates it."""

    graceful: bool
    """Whether a deletion waits until the object's work has ended: pods."""

    owns: bool
    """Whether objects may own others, so that a deletion may say what becomes of those: all kinds but events."""

    def knows_field(self, field: str) -> bool:
        """Whether objects can be selected by this field."""

    def unknown_field(self, field: str) -> str:
        """Return the error text of a selector with an unknown field."""

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the selectable fields of an object as it is stored."""

    def decode(self, obj: Object, *, validation: str, warnings: list[str]) -> Object:
        """Return a request's object with nothing in it that the kind does not have.

        Unknown and duplicate fields are rejected, warned of or ignored, as `validation` says. Raises `ApiError` or
        `DecodeError`.
        """

    def default(self, obj: Object) -> None:
        """Fill in what was left out."""

    def shape(self, obj: Object) -> None:
        """Bring an object, stored by another schema, into the shape of this one."""

    def complete(self, obj: Object) -> None:
        """Give a new object what the server's own admission plugins do. Webhooks see it; it may be done twice."""

    def prepare_create(self, obj: Object) -> None:
        """Take away what a creation cannot set, and set what it implies."""

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        """Take back what an update, of the object or of a subresource, cannot change; count generations."""

    def allocate(self, obj: Object, others: Callable[[], Iterable[Object]]) -> None:
        """Give an object, prepared and named, what must be unique among `others`, all objects of the resource."""

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        """Return the field errors of an object; `old` is None for a creation."""

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Return the warnings of a write that is accepted."""
