"""A Kubernetes API server in Python: for development and tests, not for production.

What belongs here: everything that the embedded server does; see the modules' own words. What does not: a real
kube-apiserver (`operatorkit.controlplane.real`), and simulated nodes, which work against either through the API alone
(`operatorkit.controlplane.nodes`).

    server ── dispatch ── reading ── watching           HTTP, requests, reads
                 │            └────────┴── storage      bytes, revisions, the log
                 ├── writing ── strategy                the one write path
                 │                 ├── native           Kubernetes' own kinds (builtin)
                 │                 └── custom           kinds of CRDs (crds)
                 ├── deleting                           finalizers and grace
                 ├── discovery, openapi                 documents
                 └── authn, access, rbac                who, and whether they may
"""

from __future__ import annotations

from operatorkit.controlplane.embedded.control_plane import EmbeddedControlPlane
from operatorkit.controlplane.embedded.server import EmbeddedServer

__all__ = ["EmbeddedControlPlane", "EmbeddedServer"]
