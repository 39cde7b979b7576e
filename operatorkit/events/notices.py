"""What an Event is to say, and about which object.

What belongs here: `Reference`, `Notice`, and the limits of both. What does not: when it is written
(`recorder`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

__all__ = ["EventType", "FloodLimits", "Notice", "Reference", "message_key", "one_line"]

EventType = Literal["Normal", "Warning"]

MESSAGE_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Which object an Event is about. Without `uid`, `kubectl describe` does not show the Event."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    field_path: str = ""

    @classmethod
    def of(cls, obj: Any) -> Reference:
        """Refer to a typed object, to one as JSON, or return a reference as it is.

        Raises TypeError when the object does not say its kind or name.
        """
        if isinstance(obj, Reference):
            return obj
        if isinstance(obj, Mapping):
            meta: Mapping[str, Any] = obj.get("metadata") or {}
            facts = (
                obj.get("apiVersion"),
                obj.get("kind"),
                *(meta.get(k) for k in ("name", "namespace", "uid")),
            )
        else:
            held = getattr(obj, "metadata", None)
            facts = (
                *_type_of(obj),
                *(getattr(held, k, None) for k in ("name", "namespace", "uid")),
            )
        api_version, kind, name, namespace, uid = facts
        if not (api_version and kind and name):
            raise TypeError(
                f"an Event needs an object with apiVersion, kind and metadata.name; {type(obj).__name__} has "
                f"apiVersion={api_version!r}, kind={kind!r}, name={name!r}"
            )
        return cls(
            api_version=api_version, kind=kind, name=name, namespace=namespace or "", uid=uid or ""
        )

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Reference:
        """Read an ObjectReference as the API writes it; absent fields are empty."""
        return cls(
            api_version=written.get("apiVersion", ""),
            kind=written.get("kind", ""),
            name=written.get("name", ""),
            namespace=written.get("namespace", ""),
            uid=written.get("uid", ""),
            field_path=written.get("fieldPath", ""),
        )

    def write(self) -> dict[str, str]:
        """Return the ObjectReference, without empty fields."""
        fields = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
            "fieldPath": self.field_path,
        }
        return {key: value for key, value in fields.items() if value}

    @property
    def identity(self) -> str:
        """What distinguishes this subject from all others: its uid, or, lacking that, its full name."""
        return self.uid or f"{self.api_version}/{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an Event is to say.

    `key` distinguishes one series of occurrences from another where the message itself varies (a
    time, a number); None means the message. `occurrence` matters to `EventRecorder.hold` only: a
    held notice counts again when it changes.
    """

    regarding: Reference
    type: EventType
    reason: str
    message: str
    key: str | None = None
    action: str = "Reconcile"
    related: Reference | None = None
    occurrence: Hashable = None

    @classmethod
    def about(
        cls,
        type_: EventType,
        regarding: Any,
        reason: str,
        message: str,
        key: str | None,
        action: str,
        related: Any,
    ) -> Notice:
        """Return a notice about objects of any form that `Reference.of` takes. Raises TypeError as it does."""
        return cls(
            regarding=Reference.of(regarding),
            type=type_,
            reason=reason,
            message=message,
            key=key,
            action=action,
            related=None if related is None else Reference.of(related),
        )

    def repeats(self, known: Notice | None) -> bool:
        """Return whether it says what a notice of its series said before, about the same occurrence."""
        return known is not None and (known.message, known.occurrence) == (
            self.message,
            self.occurrence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodLimits:
    """How much may be written; the defaults of `burst`, `refill`, `combine_at` and `combine_within` are client-go's.

    Of each subject, `burst` writes, then one per `refill`; from the `combine_at`-th distinct
    message of one reason within `combine_within`, one combined Event. A held Event is written again
    after `refresh`. The recorder remembers `remembered` series and subjects; the oldest quiet ones
    are forgotten, and counted on from the server later.
    """

    burst: int = 25
    refill: timedelta = timedelta(seconds=300)
    combine_at: int = 10
    combine_within: timedelta = timedelta(seconds=600)
    refresh: timedelta = timedelta(minutes=25)
    remembered: int = 4096


def message_key(notice: Notice) -> str:
    """Return the message key; its first letter keeps a key and an equal message, and the word `combined`, apart."""
    return f"m:{one_line(notice.message)}" if notice.key is None else f"k:{notice.key}"


def one_line(message: str) -> str:
    """Return `message` on one line and within the server's limit, which counts bytes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    if len(line.encode()) <= MESSAGE_MAX_BYTES:
        return line
    return line.encode()[: MESSAGE_MAX_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def _type_of(obj: Any) -> tuple[str | None, str | None]:
    return getattr(obj, "api_version", None), getattr(obj, "kind", None)
