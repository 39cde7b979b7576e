"""Simulated nodes: pods get scheduled, run and end, though nothing is executed.

What belongs here: what a scheduler and a kubelet do to the API, and nothing else, so that it works against any control
plane through `ClusterAPI` alone. What does not: controllers (`operatorkit.controlplane.controllers`, or
kube-controller-manager), and containers that run for real.

    pod ──► fitting ──────► bound ──► references there? ──yes──► containers start ──► Running, Ready
              │ no node fits              │ no                        │ deleted
              ▼                           ▼                           ▼
         FailedScheduling       ContainerCreating, FailedMount    Killing, terminated, gone
         (again when a node     (again when the Secret or
          changes)               ConfigMap appears)
"""

from __future__ import annotations

from operatorkit.controlplane.nodes.hosting import NodesThread
from operatorkit.controlplane.nodes.simulated import SimulatedNodes

__all__ = ["NodesThread", "SimulatedNodes"]
