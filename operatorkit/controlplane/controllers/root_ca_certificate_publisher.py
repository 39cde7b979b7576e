"""root-ca-certificate-publisher-controller: every namespace has the ConfigMap `kube-root-ca.crt`.

What belongs here: that ConfigMap. What does not: making certificates
(`operatorkit.controlplane._credentials`).
"""

from __future__ import annotations

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.per_namespace import PerNamespaceController
from operatorkit.kinds import CONFIG_MAPS as _CONFIG_MAPS

__all__ = ["RootCertificatePublisher"]


_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCertificatePublisher(PerNamespaceController):
    """Keeps the ConfigMap `kube-root-ca.crt`, the CA bundle of the API server, in every namespace."""

    name = "root-ca-certificate-publisher-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._ca_pem = context.ca_pem
        super().__init__(context, _CONFIG_MAPS, "kube-root-ca.crt", self._bundle)

    def _bundle(self) -> JSONObject:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "kube-root-ca.crt",
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            },
            "data": {"ca.crt": self._ca_pem.decode()},
        }
