"""operatorkit: one typed class and one function become a production Kubernetes operator.

The packages, from the highest layer to the lowest; each may import those below it, never those above:

    cli            the commands: run, dev, controlplane, crd, package, demo
    testing        the pytest plugin: control planes, FakeClock, eventually, writes, idle
    controlplane   Kubernetes APIs to develop and test against: an embedded one and a launcher of the real one
    chart          Helm charts and roles, derived from what an operator declares
    _runtime       the engine: informers into work queues into reconcile functions, hosted by kopf
    permissions    what an operator must be allowed to do: the start-up check and the chart's roles
    definitions    which definitions are an operator's own, and which kinds are external
    operator       what an operator declares: Operator, Watch, Requeue
    context        what a reconcile function is given: Context
    claiming, live adoption of orphans; typed requests past the caches
    children       what an apply sends
    applied        what an operator owns of a live object, and when an apply changes nothing
    webhooks       reviews, decisions, the server that answers them, its certificates and configurations
    events         EventRecorder: one Event for each subject, reason and message, counted, rate-limited
    rollout        ordered rolling updates as a decision
    listed         reading objects that were listed once, where there are no caches
    revisions      the history of a template
    cluster        the ClusterAPI protocol, the live client, informers and caches
    serving        HTTP ports whose connections are bounded
    unstructured   kinds of third parties without a class
    resource       Resource[Spec, Status]: a kind as a class
    conditions     a Condition and its transitions
    crd            schemas, rules and custom resource definitions
    kinds, tls      Kubernetes' own kinds as they are served; certificates between our servers and their clients
    cache_filters  which objects of a kind are cached
    requeue        what a reconcile function returns to be called again
    settings, fairness, selectors, transitions, names, clock, errors

Importing this package does nothing else: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operatorkit.conditions import Condition
    from operatorkit.context import Context, ObjectReader, Reader
    from operatorkit.errors import (
        Cause,
        ChildConflict,
        ClusterError,
        DefinitionError,
        InputError,
        OperatorKitError,
        RetryLater,
        TerminalError,
    )
    from operatorkit.names import ObjectKey
    from operatorkit.operator import Operator, Requeue, Watch
    from operatorkit.resource import Model, PrinterColumn, Resource, Rule
    from operatorkit.settings import BackOff, LeaderElection, Settings
    from operatorkit.unstructured import AnyFields, Unstructured
    from operatorkit.webhooks import AdmissionRequest, Allowed, Denied, Mutated

__all__ = [
    "AdmissionRequest",
    "Allowed",
    "AnyFields",
    "BackOff",
    "Cause",
    "ChildConflict",
    "ClusterError",
    "Condition",
    "Context",
    "DefinitionError",
    "Denied",
    "InputError",
    "LeaderElection",
    "Model",
    "Mutated",
    "ObjectKey",
    "ObjectReader",
    "Operator",
    "OperatorKitError",
    "PrinterColumn",
    "Reader",
    "Requeue",
    "Resource",
    "RetryLater",
    "Rule",
    "Settings",
    "TerminalError",
    "Unstructured",
    "Watch",
]

_HOME = {
    "AdmissionRequest": "webhooks",
    "Allowed": "webhooks",
    "Cause": "errors",
    "Denied": "webhooks",
    "Mutated": "webhooks",
    "BackOff": "settings",
    "LeaderElection": "settings",
    "ChildConflict": "errors",
    "ClusterError": "errors",
    "Condition": "conditions",
    "Context": "context",
    "DefinitionError": "errors",
    "InputError": "errors",
    "Model": "resource",
    "ObjectKey": "names",
    "ObjectReader": "context",
    "Operator": "operator",
    "OperatorKitError": "errors",
    "PrinterColumn": "resource",
    "Reader": "context",
    "Requeue": "operator",
    "Resource": "resource",
    "RetryLater": "errors",
    "Rule": "resource",
    "Settings": "settings",
    "TerminalError": "errors",
    "AnyFields": "unstructured",
    "Unstructured": "unstructured",
    "Watch": "operator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
