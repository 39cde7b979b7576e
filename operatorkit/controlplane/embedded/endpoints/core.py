"""The API itself, without HTTP: storage, the table of resources, and what can be done with them.

What belongs here: joining the parts. What does not: HTTP (`dispatch`, `server`), and who may do what (`access`):
code with a `Core` may do everything.
"""

from __future__ import annotations

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.controlplane.embedded.admission import Webhooks
from operatorkit.controlplane.embedded.endpoints.container_logs import ContainerLogs
from operatorkit.controlplane.embedded.endpoints.crds import CrdController
from operatorkit.controlplane.embedded.endpoints.deleting import Deleter
from operatorkit.controlplane.embedded.endpoints.field_managers import FieldManagers
from operatorkit.controlplane.embedded.endpoints.writing import Writer
from operatorkit.controlplane.embedded.registry.builtin import builtin_strategy
from operatorkit.controlplane.embedded.registry.table import Registry
from operatorkit.controlplane.embedded.storage.store import Storage, first_revision

__all__ = ["Core"]


class Core:
    """The parts of one embedded API server."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.storage: Storage = Storage(first_revision())
        self.registry: Registry = Registry(builtin_strategy)
        self.field_managers: FieldManagers = FieldManagers(self.registry, clock)
        self.writer: Writer = Writer(self.storage, self.registry, clock)
        self.deleter: Deleter = Deleter(self.storage, clock)
        self.webhooks: Webhooks = Webhooks(self.storage, self.registry)
        self.logs: ContainerLogs = ContainerLogs(self.storage, self.registry)
        self.crds: CrdController = CrdController(self.storage, self.registry, self.deleter, clock)
