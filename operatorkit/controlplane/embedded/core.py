"""The API itself, without HTTP: storage, the table of resources, and what can be done with them.

What belongs here: joining the parts. What does not: HTTP (`dispatch`, `server`), and who may do what (`access`):
whoever holds a `Core` may do everything.
"""

from __future__ import annotations

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.controlplane.embedded.admission import Webhooks
from operatorkit.controlplane.embedded.crds import CrdController
from operatorkit.controlplane.embedded.deleting import Deleter
from operatorkit.controlplane.embedded.native import native_strategy
from operatorkit.controlplane.embedded.ownership import Owners
from operatorkit.controlplane.embedded.registry import Registry
from operatorkit.controlplane.embedded.storage import Storage, first_revision
from operatorkit.controlplane.embedded.writing import Writer

__all__ = ["Core"]


class Core:
    """The parts of one embedded API server."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.storage: Storage = Storage(first_revision())
        self.registry: Registry = Registry(native_strategy)
        self.owners: Owners = Owners(self.registry, clock)
        self.writer: Writer = Writer(self.storage, self.registry, clock)
        self.deleter: Deleter = Deleter(self.storage, clock)
        self.webhooks: Webhooks = Webhooks(self.storage, self.registry)
        self.crds: CrdController = CrdController(self.storage, self.registry, self.deleter, clock)
