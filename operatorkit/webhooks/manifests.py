"""The objects that tell an API server which webhooks to call, and where.

What belongs here: rendering them from declared webhooks. What does not: keeping them so in a cluster
(`operatorkit.webhooks.registration`). Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from operatorkit.names import PREFIX, ApiResource, shorten
from operatorkit.resource import Resource
from operatorkit.webhooks.declaration import Webhook

__all__ = ["CONFIGURATIONS", "ServiceReference", "configuration_name", "configurations", "labels_of"]

_GROUP = "admissionregistration.k8s.io"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # every namespace bears it, and nobody can take it away
_SERVICE_MAX_LENGTH = 55  # without "-webhook"
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

    @classmethod
    def of(cls, operator: str, *, namespace: str) -> ServiceReference:
        """Return the Service that an operator in `namespace` has in front when nobody says otherwise."""
        return cls(namespace=namespace, name=f"{shorten(operator, _SERVICE_MAX_LENGTH)}-webhook")

    @property
    def secret_name(self) -> str:
        """The name of the Secret, in the Service's namespace, that holds the certificates of its servers."""
        return f"{self.name}-tls"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which it is called; an API server asks for the first."""
        short = f"{self.name}.{self.namespace}"
        return (f"{short}.svc", f"{short}.svc.cluster.local", short)


def configuration_name(operator: str, *, service: ServiceReference | None = None, namespace: str | None = None) -> str:
    """Return the name of both configurations of an operator: `pki-webhook.pki-system.operatorkit.dev`.

    Behind a Service it is made of that, so that two installations in one cluster do not share it; at a URL, of the
    operator's name and the only `namespace` that it works in, if there is one.
    """
    who = (operator, namespace) if service is None else (service.name, service.namespace)
    return ".".join(filter(None, (*who, PREFIX)))


def labels_of(operator: str, *, managed_by: str = "operatorkit") -> dict[str, str]:
    """Return the labels by which the configurations of an operator are known, and whose they are."""
    return {"app.kubernetes.io/name": operator, "app.kubernetes.io/managed-by": managed_by}


def configurations(
    operator: str,
    webhooks: Sequence[Webhook],
    *,
    at: ServiceReference | str,
    ca_pem: bytes | None = None,
    namespace: str | None = None,
    managed_by: str = "operatorkit",
) -> list[dict[str, Any]]:
    """Return the configurations of an operator: the mutating one, the validating one, or both, as it has webhooks.

    `at` is the Service to call, or a base URL such as `https://127.0.0.1:9443`. `ca_pem` of None leaves caBundle out,
    to be filled in when there is a CA. With `namespace`, only requests in it are asked about (cluster-scoped kinds
    aside): what an operator does not reconcile, it does not judge. Without, requests in the Service's own namespace for
    kinds that are not the operator's, such as Pods, are left out: while nobody answers, its own Pod must be made.
    """
    service = at if isinstance(at, ServiceReference) else None
    name = configuration_name(operator, service=service, namespace=namespace)
    found = []
    for verb, resource in CONFIGURATIONS.items():
        entries = [_entry(webhook, at, ca_pem, namespace) for webhook in webhooks if webhook.verb == verb]
        if entries:
            labels = labels_of(operator, managed_by=managed_by)
            found.append(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": name, "labels": labels},
                    "webhooks": entries,
                }
            )
    return found


def _entry(webhook: Webhook, at: ServiceReference | str, ca_pem: bytes | None, namespace: str | None) -> dict[str, Any]:
    resource = webhook.resource
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "operations": list(webhook.operations),
        "resources": [resource.plural, *(f"{resource.plural}/{name}" for name in webhook.subresources)],
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
        "namespaceSelector": _namespaces(webhook, at, namespace),
        "objectSelector": dict(webhook.object_selector or {}),
    }
    if webhook.verb == "mutate":
        entry["reinvocationPolicy"] = "IfNeeded" if webhook.reinvocation else "Never"
    return entry


def _namespaces(webhook: Webhook, at: ServiceReference | str, namespace: str | None) -> dict[str, Any]:
    declared = dict(webhook.namespace_selector or {})
    if not webhook.resource.namespaced:
        return declared
    if namespace is not None:
        more = {"key": _NAMESPACE_LABEL, "operator": "In", "values": [namespace]}
    elif isinstance(at, ServiceReference) and not issubclass(webhook.kind, Resource):
        more = {"key": _NAMESPACE_LABEL, "operator": "NotIn", "values": [at.namespace]}
    else:
        return declared
    return {**declared, "matchExpressions": [*declared.get("matchExpressions", ()), more]}


def _client(webhook: Webhook, at: ServiceReference | str, ca_pem: bytes | None) -> dict[str, Any]:
    client: dict[str, Any] = {}
    if isinstance(at, str):
        client["url"] = at + webhook.path
    else:
        client["service"] = {"namespace": at.namespace, "name": at.name, "port": at.port, "path": webhook.path}
    if ca_pem is not None:
        client["caBundle"] = base64.b64encode(ca_pem).decode("ascii")
    return client
