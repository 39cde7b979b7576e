"""The objects from which an API server knows which webhooks to call, and where.

What belongs here: rendering them from declared webhooks. What does not: keeping them so in a
cluster (`operatorkit.webhooks.registration`). Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from operatorkit.kinds import MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS
from operatorkit.names import PREFIX, ApiResource, shorten
from operatorkit.resource import Resource
from operatorkit.webhooks.declaration import Webhook

__all__ = [
    "CONFIGURATIONS",
    "MANAGER",
    "ServiceReference",
    "configuration_name",
    "configurations",
    "labels_of",
    "leaves_out_own_namespace",
    "url_path",
]

_GROUP = "admissionregistration.k8s.io"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # the API server sets it on every namespace, and no user can remove it
_SYSTEM = ["kube-system", "kube-node-lease"]
_SERVICE_MAX_LENGTH = 55  # without "-webhook"
MANAGER = "operatorkit"
"""The label app.kubernetes.io/managed-by of what operators register themselves."""

CONFIGURATIONS: dict[Literal["mutate", "validate"], ApiResource] = {
    "mutate": MUTATING_WEBHOOK_CONFIGURATIONS,
    "validate": VALIDATING_WEBHOOK_CONFIGURATIONS,
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
        """Return the Service that an operator in `namespace` has in front by default."""
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


def configuration_name(
    operator: str, *, service: ServiceReference | None = None, namespace: str | None = None
) -> str:
    """Return the name of both configurations of an operator: `pki-webhook.pki-system.operatorkit.dev`.

    Behind a Service it is made of that, so that two installations in one cluster do not share it;
    at a URL, of the operator's name and the only `namespace` that it works in, if there is one.
    """
    who = (operator, namespace) if service is None else (service.name, service.namespace)
    return ".".join(filter(None, (*who, PREFIX)))


def labels_of(operator: str, *, managed_by: str = MANAGER) -> dict[str, str]:
    """Return the labels by which the configurations of an operator are known, and whose they are."""
    return {"app.kubernetes.io/name": operator, "app.kubernetes.io/managed-by": managed_by}


def configurations(
    operator: str,
    webhooks: Sequence[Webhook],
    *,
    at: ServiceReference | str,
    ca_pem: bytes | None = None,
    namespace: str | None = None,
    managed_by: str = MANAGER,
) -> list[dict[str, Any]]:
    """Return the configurations of an operator: the mutating one, the validating one, or both, as it has webhooks.

    `at` is the Service to call, or a base URL such as `https://127.0.0.1:9443`. `ca_pem` of None
    leaves caBundle out, to be filled in when there is a CA. With `namespace`, only requests in it
    are asked about (cluster-scoped kinds aside): an operator does not validate what it does not
    reconcile. Requests for kinds that are not the operator's, such as Pods, are left out in the
    Service's own namespace: while no webhook answers, its own Pod must be created; and in
    kube-system and kube-node-lease, without which no cluster recovers, unless `namespace_selector`
    has a condition on the label kubernetes.io/metadata.name itself.
    """
    service = at if isinstance(at, ServiceReference) else None
    name = configuration_name(operator, service=service, namespace=namespace)
    found = []
    for verb, resource in CONFIGURATIONS.items():
        entries = [
            _entry(webhook, at, ca_pem, namespace, name)
            for webhook in webhooks
            if webhook.verb == verb
        ]
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


def url_path(webhook: Webhook, name: str) -> str:
    """Return the path of a webhook at a URL; `name` is its configuration's.

    It says how to remove the configuration. A process that was killed cannot, and of what is in a
    configuration, the API server shows only the webhook's name and the URL to those whose writes it
    rejects then.
    """
    return f"/if-nobody-answers-kubectl-delete/{CONFIGURATIONS[webhook.verb].plural}/{name}{webhook.path}"


def _entry(
    webhook: Webhook,
    at: ServiceReference | str,
    ca_pem: bytes | None,
    namespace: str | None,
    name: str,
) -> dict[str, Any]:
    resource = webhook.resource
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": [resource.version],
        "operations": list(webhook.operations),
        "resources": [
            resource.plural,
            *(f"{resource.plural}/{name}" for name in webhook.subresources),
        ],
        "scope": "Namespaced" if resource.namespaced else "Cluster",
    }
    entry: dict[str, Any] = {
        "name": webhook.name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": _client(webhook, at, ca_pem, name),
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


def _namespaces(
    webhook: Webhook, at: ServiceReference | str, namespace: str | None
) -> dict[str, Any]:
    declared = dict(webhook.namespace_selector or {})
    if not webhook.resource.namespaced:
        return declared
    more = [] if namespace is None else [_named("In", [namespace])]
    left_out: list[str] = []
    if leaves_out_own_namespace(webhook):
        left_out += [at.namespace] if isinstance(at, ServiceReference) else []
        left_out += _SYSTEM if namespace is None and not _names_namespaces(declared) else []
    if left_out:
        more.append(_named("NotIn", list(dict.fromkeys(left_out))))
    return (
        {**declared, "matchExpressions": [*declared.get("matchExpressions", ()), *more]}
        if more
        else declared
    )


def leaves_out_own_namespace(webhook: Webhook) -> bool:
    """Return whether a webhook is for objects in namespaces of a kind that is not the operator's own."""
    own = issubclass(webhook.kind, Resource) and not webhook.kind.external()
    return webhook.resource.namespaced and not own


def _named(operator: str, namespaces: list[str]) -> dict[str, Any]:
    return {"key": _NAMESPACE_LABEL, "operator": operator, "values": namespaces}


def _names_namespaces(selector: Mapping[str, Any]) -> bool:
    """Return whether a selector chooses namespaces by their names: its author has decided about each of them."""
    expressions = selector.get("matchExpressions", ())
    return _NAMESPACE_LABEL in selector.get("matchLabels", {}) or any(
        one.get("key") == _NAMESPACE_LABEL for one in expressions
    )


def _client(
    webhook: Webhook, at: ServiceReference | str, ca_pem: bytes | None, name: str
) -> dict[str, Any]:
    client: dict[str, Any] = {}
    if isinstance(at, str):
        client["url"] = at + url_path(webhook, name)
    else:
        client["service"] = {
            "namespace": at.namespace,
            "name": at.name,
            "port": at.port,
            "path": webhook.path,
        }
    if ca_pem is not None:
        client["caBundle"] = base64.b64encode(ca_pem).decode("ascii")
    return client
