"""A real control plane: Kubernetes' own kube-apiserver, etcd and kube-controller-manager on this machine.

What belongs here: finding the programs or building them once, starting and stopping them, and nothing that depends on
what they do. What does not: nodes (`operatorkit.controlplane.nodes`), which neither backend has of itself.

`python -m operatorkit.controlplane.real install` finds or builds the programs and prints where they are.
"""

from __future__ import annotations

from operatorkit.controlplane.real.binaries import VERSION, Binaries, find
from operatorkit.controlplane.real.build import ensure_binaries
from operatorkit.controlplane.real.launcher import RealControlPlane

__all__ = ["VERSION", "Binaries", "RealControlPlane", "ensure_binaries", "find"]
