"""Webhooks that read and record: their functions are given what the engine that serves them has.

What belongs here: binding the arguments. What does not: calling the functions (`operatorkit.webhooks.dispatch`).
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from operatorkit.cluster import ClusterAPI
from operatorkit.context import Reader
from operatorkit.events import EventRecorder
from operatorkit.operator import Operator
from operatorkit.webhooks import Webhook

__all__ = ["reading"]


def reading(app: Operator, reader: Reader, *, events: EventRecorder, api: ClusterAPI) -> Operator:
    """Return the operator with `reader`, `events` and `api` bound to the webhook functions that have such arguments.

    It is a copy: two engines of one operator have caches of their own.
    """
    given = {"reader": reader, "events": events, "api": api}
    bound = copy.copy(app)
    bound.webhooks = [_bound(webhook, given) for webhook in app.webhooks]
    return bound


def _bound(webhook: Webhook, given: Mapping[str, Any]) -> Webhook:
    wanted = inspect.signature(webhook.function).parameters
    arguments = {name: value for name, value in given.items() if name in wanted}
    if not arguments:
        return webhook
    return replace(webhook, function=functools.partial(webhook.function, **arguments))
