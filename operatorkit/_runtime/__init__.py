"""The engine: informers feed keyed work queues, work queues feed reconcile functions, kopf hosts the process.

What belongs here: everything that runs. What does not: what an operator's author calls (`operatorkit.operator`,
`operatorkit.context`). Only `operatorkit.cli` and `operatorkit.testing` import this package; only this package imports
kopf.

    API server ══ watch ══> Informer ── Change ──> Controller ── key ──> WorkQueue ── key ──> worker
                               │                   (maps to keys:                               │
                             Cache <── reads ───── own, owned, watched)                 reconcile(obj, ctx)
                               ^                                                                │
                               └──────── responses to own writes are put in at once ────────────┘
"""

from __future__ import annotations

from operatorkit._runtime.engine import Engine
from operatorkit._runtime.install import install_definitions

__all__ = ["Engine", "install_definitions"]
