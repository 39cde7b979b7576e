"""serviceaccount-controller: every namespace has the ServiceAccount `default`.

What belongs here: that account. What does not: tokens, which the server issues on request.
"""

from __future__ import annotations

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.per_namespace import PerNamespaceController
from operatorkit.kinds import SERVICE_ACCOUNTS as _SERVICE_ACCOUNTS

__all__ = ["ServiceAccountController"]


class ServiceAccountController(PerNamespaceController):
    """Keeps the ServiceAccount `default` in every active namespace."""

    name = "serviceaccount-controller"

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context, _SERVICE_ACCOUNTS, "default", self._account)

    @staticmethod
    def _account() -> JSONObject:
        return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
