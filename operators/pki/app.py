"""The operator `pki`: its name and what it needs beyond its caches."""

from __future__ import annotations

from kubernetes.client.models import V1ReplicaSet, V1Secret

from operatorkit import Operator
from operators.pki.api import ClusterIssuer, Issuer

__all__ = ["app"]

app = Operator("pki")

app.cache(
    V1Secret, contents="children"
)  # not the keys of all the cluster; a CA is read when it changed
app.needs(V1ReplicaSet, "get", reason="the Deployment above it receives Events about its Pods")
app.needs(Issuer, "get", reason="it is reported as missing only if the API server has none")
app.needs(ClusterIssuer, "get", reason="it is reported as missing only if the API server has none")
app.needs(V1Secret, "get", reason="it is reported as missing only if the API server has none")
app.needs(V1Secret, "get", reason="the CA of an issuer is read when it changes")
