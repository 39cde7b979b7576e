"""The controllers of the embedded control plane, as kube-controller-manager runs them for a real one.

What belongs here: one module per controller, under the name that kube-controller-manager gives it,
written against `ClusterAPI` alone; its class goes into the table of `manager`. What does not: anything
that responds to a request (`operatorkit.controlplane.embedded`), and nodes
(`operatorkit.controlplane.nodes`).

    discovery ──► Inventory: the metadata of every object of every kind
                      │
                      ├──► garbage-collector-controller
                      ├──► namespace-controller
                      ├──► serviceaccount-controller
                      └──► root-ca-certificate-publisher-controller

    informers ──► deployment-controller, replicaset-controller, disruption-controller,
                  persistentvolumeclaim-protection-controller, persistentvolume-binder-controller
"""

from __future__ import annotations

from operatorkit.controlplane.controllers.manager import CONTROLLERS, Controllers

__all__ = ["CONTROLLERS", "Controllers"]
