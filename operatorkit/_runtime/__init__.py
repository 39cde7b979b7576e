"""The engine room: informers feed keyed work queues, work queues feed reconcile functions, kopf hosts the process.

What belongs here: everything that runs. What does not: what an operator's author calls (`operatorkit.operator`,
`operatorkit.context`). Nobody imports this room but `operatorkit.cli` and `operatorkit.testing`; kopf is known here
only.

    API server ══ watch ══> Informer ── Change ──> Controller ── key ──> WorkQueue ── key ──> worker
                               │                   (maps to keys:                               │
                             Cache <── reads ───── own, owned, watched)                 reconcile(obj, ctx)
                               ^                                                                │
                               └───────────── answers of its own writes are put in at once ─────┘
"""

from __future__ import annotations

from operatorkit._runtime.engine import Engine
from operatorkit._runtime.install import install_definitions

__all__ = ["Engine", "install_definitions"]
