"""The roles and bindings that every cluster has from its first moment.

What belongs here: the ones that people and charts refer to, as a fresh API server of Kubernetes 1.36 has them. What
does not: roles of Kubernetes' own components, none of which runs here, and deciding by roles (`rbac`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.embedded.auth.rbac import MASTERS

__all__ = ["default_objects"]

_GROUP = "rbac.authorization.k8s.io"
_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"
_EVERYONE = ("system:authenticated", "system:unauthenticated")


def _on(groups: str, resources: str, verbs: str) -> JSONObject:
    return {
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }


def _at(urls: str, verbs: str = "get") -> JSONObject:
    return {"nonResourceURLs": urls.split(), "verbs": verbs.split()}


_ROLES: dict[str, list[JSONObject]] = {
    "cluster-admin": [_on("*", "*", "*"), _at("*", "*")],
    "system:aggregate-to-admin": [
        _on("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        _on("rbac.authorization.k8s.io", "rolebindings roles", _ALL),
    ],
    "system:aggregate-to-edit": [
        _on(
            "core",
            "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
            _READ,
        ),
        _on("core", "serviceaccounts", "impersonate"),
        _on("core", "pods pods/attach pods/exec pods/portforward pods/proxy", _WRITE),
        _on("core", "pods/eviction", "create"),
        _on(
            "core",
            "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale "
            "secrets serviceaccounts services services/proxy",
            _WRITE,
        ),
        _on("core", "serviceaccounts/token", "create"),
        _on("core events.k8s.io", "events", _WRITE),
        _on(
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets "
            "replicasets/scale statefulsets statefulsets/scale",
            _WRITE,
        ),
        _on("autoscaling", "horizontalpodautoscalers", _WRITE),
        _on("batch", "cronjobs jobs", _WRITE),
        _on(
            "extensions",
            "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies "
            "replicasets replicasets/scale replicationcontrollers/scale",
            _WRITE,
        ),
        _on("policy", "poddisruptionbudgets", _WRITE),
        _on("networking.k8s.io", "ingresses networkpolicies", _WRITE),
        _on("coordination.k8s.io", "leases", _ALL),
        _on("resource.k8s.io", "resourceclaims resourceclaimtemplates", _WRITE),
    ],
    "system:aggregate-to-view": [
        _on(
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
            "replicationcontrollers replicationcontrollers/scale serviceaccounts services "
            "services/status",
            _READ,
        ),
        _on(
            "core",
            "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
            "resourcequotas resourcequotas/status",
            _READ,
        ),
        _on("core", "namespaces", _READ),
        _on("core events.k8s.io", "events", _READ),
        _on("discovery.k8s.io", "endpointslices", _READ),
        _on(
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
            "deployments/status replicasets replicasets/scale replicasets/status statefulsets "
            "statefulsets/scale statefulsets/status",
            _READ,
        ),
        _on("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
        _on("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
        _on(
            "extensions",
            "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses "
            "ingresses/status networkpolicies replicasets replicasets/scale replicasets/status "
            "replicationcontrollers/scale",
            _READ,
        ),
        _on("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
        _on("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
        _on(
            "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", _READ
        ),
    ],
    "system:auth-delegator": [
        _on("authentication.k8s.io", "tokenreviews", "create"),
        _on("authorization.k8s.io", "subjectaccessreviews", "create"),
    ],
    "system:basic-user": [
        _on("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        _on("authentication.k8s.io", "selfsubjectreviews", "create"),
    ],
    "system:discovery": [
        _at(
            "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
        ),
    ],
    "system:monitoring": [
        _at(
            "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz"
        ),
        _on("core", "nodes/metrics", "get"),
    ],
    "system:public-info-viewer": [_at("/healthz /livez /readyz /version /version/")],
    "system:service-account-issuer-discovery": [
        _at(
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
        ),
    ],
}

# A role that is the sum of those labelled for it -> the roles that it is labelled to be part of.
_AGGREGATES = {"admin": (), "edit": ("admin",), "view": ("edit",)}
_PARTS = {f"system:aggregate-to-{name}": (name,) for name in _AGGREGATES}

_BINDINGS = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": _EVERYONE[:1],
    "system:discovery": _EVERYONE[:1],
    "system:monitoring": ("system:monitoring",),
    "system:public-info-viewer": _EVERYONE,
    "system:service-account-issuer-discovery": ("system:serviceaccounts",),
}


def _metadata(name: str, parts: tuple[str, ...] = ()) -> JSONObject:
    return {
        "name": name,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        "labels": {
            "kubernetes.io/bootstrapping": "rbac-defaults",
            **{f"{_GROUP}/aggregate-to-{part}": "true" for part in parts},
        },
    }


def _object(kind: str, metadata: JSONObject, **rest: Any) -> JSONObject:
    return {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": metadata, **rest}


def _sum_of(name: str, roles: Sequence[JSONObject]) -> list[JSONObject]:
    """Return the rules that the controller of aggregation would write, which saves its writes at each start."""
    label, rules = f"{_GROUP}/aggregate-to-{name}", list[JSONObject]()
    for role in sorted(roles, key=lambda it: str(it["metadata"]["name"])):
        if label in role["metadata"]["labels"]:
            rules += [it for it in role["rules"] or () if it not in rules]
    return rules


def default_objects() -> list[JSONObject]:
    """Return the ClusterRoles and ClusterRoleBindings of a new cluster, ready to be created."""
    roles = [
        _object("ClusterRole", _metadata(name, _PARTS.get(name, ())), rules=rules)
        for name, rules in _ROLES.items()
    ]
    aggregates = [
        _object(
            "ClusterRole",
            _metadata(name, parts),
            rules=None,
            aggregationRule={
                "clusterRoleSelectors": [{"matchLabels": {f"{_GROUP}/aggregate-to-{name}": "true"}}]
            },
        )
        for name, parts in _AGGREGATES.items()
    ]
    for aggregate in reversed(aggregates):  # view is part of edit, and edit of admin
        aggregate["rules"] = _sum_of(aggregate["metadata"]["name"], [*roles, *aggregates])
    bindings = [
        _object(
            "ClusterRoleBinding",
            _metadata(name),
            roleRef={"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
            subjects=[{"apiGroup": _GROUP, "kind": "Group", "name": group} for group in groups],
        )
        for name, groups in _BINDINGS.items()
    ]
    return [*roles, *aggregates, *bindings]
