"""Events: telling the people who look at an object what happened to it, in few words and few objects.

What belongs here: `EventRecorder`, which turns occurrences into core/v1 Event objects (one per
subject, reason and message key; counted, flood-controlled, kept alive while their cause lasts), and
`Reference`, which names the subject. What does not: deciding what deserves an Event, or when
(operators), and the loop that calls `run` (the engine).

    notices      what an Event says, and about which object
    series       one Event object: its count, and how much of a subject may be written
    recipients   who was warned of what, and not yet of its end
    recorder     when an Event is written
"""

from __future__ import annotations

from operatorkit.events.notices import EventType, FloodLimits, Notice, Reference
from operatorkit.events.recorder import EventRecorder
from operatorkit.kinds import EVENTS

__all__ = ["EVENTS", "EventRecorder", "EventType", "FloodLimits", "Notice", "Reference"]
