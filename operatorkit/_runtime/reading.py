"""Webhooks that read: their functions are given the caches of the engine that serves them.

What belongs here: binding the argument. What does not: calling the functions (`operatorkit.webhooks.dispatch`).
"""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import replace

from operatorkit.context import Reader
from operatorkit.operator import Operator
from operatorkit.webhooks import Webhook

__all__ = ["reading"]


def reading(app: Operator, reader: Reader) -> Operator:
    """Return the operator with `reader` bound to each webhook function that has an argument of that name.

    It is a copy: two engines of one operator have caches of their own.
    """
    bound = copy.copy(app)
    bound.webhooks = [_bound(webhook, reader) for webhook in app.webhooks]
    return bound


def _bound(webhook: Webhook, reader: Reader) -> Webhook:
    if "reader" not in inspect.signature(webhook.function).parameters:
        return webhook
    return replace(webhook, function=functools.partial(webhook.function, reader=reader))
