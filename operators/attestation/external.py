"""Kinds of others that admission covers.

What belongs here: as much of their classes as it takes to be called for them. What does not: their fields; images are
found in objects as they were sent (`workloads`).
"""

from __future__ import annotations

from operatorkit.resource import Model, NoStatus, Resource

__all__ = ["PetSet"]


class AnySpec(Model):
    """A spec of which no field is read here."""


class PetSet(
    Resource[AnySpec, NoStatus], group="apps.operatorkit.dev", version="v1alpha1", external=True
):
    """A workload of operators.petset, where that is installed."""
