"""The objects that tell an API server which webhooks to call, and where.

What belongs here: rendering them from declared webhooks. What does not: keeping them so in a cluster
(`operatorkit.webhooks.registration`). Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from operatorkit.names import PREFIX, ApiResource
from operatorkit.webhooks.declaration import Webhook

__all__ = ["CONFIGURATIONS", "ServiceReference", "configuration_name", "configurations"]

_GROUP = "admissionregistration.k8s.io"
CONFIGURATIONS: dict[Literal["mutate", "validate"], ApiResource] = {
    "mutate": ApiResource(
        _GROUP, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False
    ),
    "validate": ApiResource(
        _GROUP, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", namespaced=False
    ),
}
"""The kinds of configuration, by what their webhooks do, in the order in which an API server calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReference:
    """The Service in front of the servers of an operator."""

    namespace: str
    name: str
    port: int = 443

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which it is called; an API server asks for the first."""
        short = f"{self.name}.{self.namespace}"
        return (f"{short}.svc", f"{short}.svc.cluster.local", short)


def configuration_name(operator: str) -> str:
    """Return the name of both configurations of an operator."""
    return f"{operator}.{PREFIX}"


def configurations(
    operator: str,
    webhooks: Sequence[Webhook],
    *,
    at: ServiceReference | str,
    ca_pem: bytes | None = None,
    managed_by: str = "operatorkit",
) -> list[dict[str, Any]]:
    """Return the configurations of an operator: the mutating one, the validating one, or both, as it has webhooks.

    `at` is the Service to call, or a base URL such as `https://127.0.0.1:9443`. `ca_pem` of None leaves caBundle out,
    to be filled in when there is a CA.
    """
    found = []
    for verb, resource in CONFIGURATIONS.items():
        entries = [_entry(webhook, at, ca_pem) for webhook in webhooks if webhook.verb == verb]
        if entries:
            labels = {"app.kubernetes.io/name": operator, "app.kubernetes.io/managed-by": managed_by}
            found.append(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": configuration_name(operator), "labels": labels},
                    "webhooks": entries,
                }
            )
    return found


def _entry(webhook: Webhook, at: ServiceReference | str, ca_pem: bytes | None) -> dict[str, Any]:
    resource = webhook.resource
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "operations": list(webhook.operations),
        "resources": [resource.plural],
        "scope": "Namespaced" if resource.namespaced else "Cluster",
    }
    entry: dict[str, Any] = {
        "name": webhook.name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": _client(webhook, at, ca_pem),
        "rules": [rule],
        "failurePolicy": webhook.failure_policy,
        "matchPolicy": "Equivalent",
        "sideEffects": webhook.side_effects,
        "timeoutSeconds": int(webhook.timeout.total_seconds()),
        "namespaceSelector": dict(webhook.namespace_selector or {}),
        "objectSelector": dict(webhook.object_selector or {}),
    }
    if webhook.verb == "mutate":
        entry["reinvocationPolicy"] = "IfNeeded" if webhook.reinvocation else "Never"
    return entry


def _client(webhook: Webhook, at: ServiceReference | str, ca_pem: bytes | None) -> dict[str, Any]:
    client: dict[str, Any] = {}
    if isinstance(at, str):
        client["url"] = at + webhook.path
    else:
        client["service"] = {"namespace": at.namespace, "name": at.name, "port": at.port, "path": webhook.path}
    if ca_pem is not None:
        client["caBundle"] = base64.b64encode(ca_pem).decode("ascii")
    return client
