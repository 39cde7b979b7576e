"""petset: pods with stable names, addresses and volumes, updated in order.

What belongs here: all that apps/v1 StatefulSet does, and what its users miss. What does not: how operators run.

    api        the kind PetSet                            reasons    the words of conditions and Events
    ordinals   numbers of members, and ranges of them     identity   names and labels of members
    template   pod templates: equality, overrides         selector   label selectors, matched
    state      what is observed, as values                observe    reading it from the caches
    plan       what to do next; steps are its values      objects    pods, claims, revisions
    admission  what is rejected before it is stored       execute    one request for each step
    status     counts and conditions                      gates      checks that allow disruptions
    snapshots  of claims, before an update                target     which revision members get
    expression CEL, by a published package                reconcile  observe, plan, execute, report
"""

from __future__ import annotations

import operators.petset.reconcile  # noqa: F401 - declares the reconcile function
from operators.petset.api import PetSet
from operators.petset.app import app

__all__ = ["PetSet", "app"]
