"""The kinds that schedulers and kubelets work with."""

from __future__ import annotations

from operatorkit.kinds import CONFIG_MAPS, LEASES, NODES, PODS, SECRETS, SERVICES

__all__ = ["CONFIG_MAPS", "LEASES", "NODES", "PODS", "SECRETS", "SERVICES"]
