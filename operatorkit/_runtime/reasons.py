"""The reasons of the Events and conditions that the engine itself sends.

What belongs here: every such reason, once, with what happened. What does not: the reasons of operators, and messages,
which are written where the cause is known. docs/reference/events.md lists them for users.

Reasons are part of the interface: docs/adr/0005-labels-annotations-and-reasons.md. A contract test compares this list
with a snapshot and with the documentation.
"""

from __future__ import annotations

from enum import StrEnum

from operatorkit.errors import ChildConflict

__all__ = ["EngineReason"]


class EngineReason(StrEnum):
    """Why the engine sends an Event about an object, or sets Ready=False."""

    RECONCILED = "Reconciled"
    """Ready=True: the last run of the reconcile function returned."""
    RECOVERED = "Recovered"
    """The reconcile function returned after it had failed."""
    RETRY_LATER = "RetryLater"
    """The reconcile function raised a RetryLater."""
    RECONCILE_FAILED = "ReconcileFailed"
    """The reconcile function raised an error that is retried."""
    TERMINAL_ERROR = "TerminalError"
    """The reconcile function raised a TerminalError that gives no reason of its own."""
    INVALID_OBJECT = "InvalidObject"
    """The object cannot be decoded as the class of its kind."""
    CHILD_CONFLICT = ChildConflict.reason
    """An object to apply has another owner."""
    CHILD_DELETED = "ChildDeleted"
    """A child is deleted as often as it is created."""
    FIELD_CONFLICT = "FieldConflict"
    """Another program sets a field as often as the operator does."""
    DELETION_BLOCKED = "DeletionBlocked"
    """A finalizer that no running program removes blocks the deletion."""
