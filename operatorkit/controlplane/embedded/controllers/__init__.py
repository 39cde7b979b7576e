"""The controllers without which an API server feels dead: what kube-controller-manager is for a real one.

What belongs here: one module per controller, each under the name that kube-controller-manager gives it, written
against `ClusterAPI` alone. What does not: anything that answers a request (`operatorkit.controlplane.embedded`), and
nodes (`operatorkit.controlplane.nodes`).

    discovery ──► Inventory: the metadata of every object of every kind
                      │
                      ├──► garbage-collector-controller
                      ├──► namespace-controller
                      ├──► serviceaccount-controller
                      └──► root-ca-certificate-publisher-controller

    Deployments, ReplicaSets, Pods ──► deployment-controller, replicaset-controller
"""

from __future__ import annotations

from operatorkit.controlplane.embedded.controllers.running import CONTROLLERS, Controllers

__all__ = ["CONTROLLERS", "Controllers"]
