"""Admission webhooks: an operator's own word on objects before they are stored.

What belongs here: what a webhook is declared as, reviews and decisions, the server that answers
them, its certificates and its configurations. What does not: declaring them on an operator
(`operatorkit.operator`), running all of it in a process (`operatorkit._runtime`), and the other
side, a control plane that asks (`operatorkit.controlplane`).

    API server ── AdmissionReview ──> server ──> dispatch ──> validate(new, old, request) or mutate(obj, request)
        ^                               ^            │
        │ caBundle                      │ leaf       └──> Allowed, Denied(causes) or Mutated (as a JSON patch)
    registration <── certificates (a Secret) ──┘

Whatever goes wrong on the way (a review that makes no sense, an exception, a function that is too
slow) is an error answer, never an allow.
"""

from __future__ import annotations

from operatorkit.webhooks.decision import (
    Allowed,
    Decision,
    Denied,
    Mutated,
    invalid,
    not_supported,
    required,
)
from operatorkit.webhooks.declaration import (
    FailurePolicy,
    Operation,
    SideEffects,
    Webhook,
    WebhookOptions,
)
from operatorkit.webhooks.manifests import ServiceReference, configuration_name, configurations
from operatorkit.webhooks.review import AdmissionRequest, UserInfo

__all__ = [
    "AdmissionRequest",
    "Allowed",
    "Decision",
    "Denied",
    "FailurePolicy",
    "Mutated",
    "Operation",
    "ServiceReference",
    "SideEffects",
    "UserInfo",
    "Webhook",
    "WebhookOptions",
    "configuration_name",
    "configurations",
    "invalid",
    "not_supported",
    "required",
]
