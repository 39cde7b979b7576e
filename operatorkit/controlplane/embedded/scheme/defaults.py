"""What the server adds to built-in objects: the defaults that the OpenAPI definitions do not carry.

A table by type says what a field gets when it is not there; functions do what depends on other fields. Both are applied
to every struct of an object, the outer ones first.

Source: https://kubernetes.io/docs/reference/kubernetes-api/ (each field's description), and what a server of that
release makes of minimal objects: `tests/unit/controlplane/embedded/scheme/test_defaults.py` compares.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping
from typing import Any

from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = ["set_defaults"]

JSONObject = dict[str, Any]
_CORE, _APPS, _BATCH = "io.k8s.api.core.v1.", "io.k8s.api.apps.v1.", "io.k8s.api.batch.v1."
_NETWORK, _RBAC = "io.k8s.api.networking.v1.", "io.k8s.api.rbac.v1."
_ADMISSION, _STORAGE = "io.k8s.api.admissionregistration.v1.", "io.k8s.api.storage.v1."
_RBAC_GROUP = "rbac.authorization.k8s.io"
_MODE = 0o644

_WEBHOOK = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}

_ABSENT: Mapping[str, JSONObject] = {
    _CORE + "PodSpec": {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
    },
    _CORE + "Probe": {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    },
    _CORE + "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    _CORE + "GRPCAction": {"service": ""},
    _CORE + "SecretVolumeSource": {"defaultMode": _MODE},
    _CORE + "ConfigMapVolumeSource": {"defaultMode": _MODE},
    _CORE + "DownwardAPIVolumeSource": {"defaultMode": _MODE},
    _CORE + "ProjectedVolumeSource": {"defaultMode": _MODE},
    _CORE + "HostPathVolumeSource": {"type": ""},
    _CORE + "ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    _CORE + "ObjectFieldSelector": {"apiVersion": "v1"},
    _CORE + "Secret": {"type": "Opaque"},
    _CORE + "PersistentVolumeSpec": {
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    },
    _CORE + "PersistentVolumeStatus": {"phase": "Pending"},
    _CORE + "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    _CORE + "PersistentVolumeClaimStatus": {"phase": "Pending"},
    _CORE + "NamespaceStatus": {"phase": "Active"},
    _CORE + "EndpointPort": {"protocol": "TCP"},
    _APPS + "DeploymentSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    },
    _APPS + "DeploymentStrategy": {"type": "RollingUpdate"},
    _APPS + "DaemonSetSpec": {"revisionHistoryLimit": 10},
    _APPS + "DaemonSetUpdateStrategy": {"type": "RollingUpdate"},
    _APPS + "ReplicaSetSpec": {"replicas": 1},
    _APPS + "StatefulSetSpec": {
        "podManagementPolicy": "OrderedReady",
        "persistentVolumeClaimRetentionPolicy": {},
        "replicas": 1,
        "revisionHistoryLimit": 10,
    },
    _APPS + "StatefulSetPersistentVolumeClaimRetentionPolicy": {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    },
    _APPS + "RollingUpdateStatefulSetStrategy": {"partition": 0},
    _BATCH + "CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    _BATCH + "PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    _NETWORK + "NetworkPolicyPort": {"protocol": "TCP"},
    _NETWORK + "IngressClassParametersReference": {"scope": "Cluster"},
    _RBAC + "RoleRef": {"apiGroup": _RBAC_GROUP},
    _STORAGE + "StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    _STORAGE + "CSIDriverSpec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
    },
    "io.k8s.api.scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    "io.k8s.api.discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    _ADMISSION + "ValidatingWebhook": _WEBHOOK,
    _ADMISSION + "MutatingWebhook": {**_WEBHOOK, "reinvocationPolicy": "Never"},
    _ADMISSION + "RuleWithOperations": {"scope": "*"},
    _ADMISSION + "NamedRuleWithOperations": {"scope": "*"},
    _ADMISSION + "ServiceReference": {"port": 443},
    _ADMISSION + "ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    _ADMISSION + "MutatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    _ADMISSION + "MatchResources": {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
    },
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec": {
        "conversion": {"strategy": "None"}
    },
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference": {"port": 443},
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference": {"port": 443},
}


def set_defaults(kind: GroupVersionKind, obj: JSONObject) -> JSONObject:
    """Set the defaults of a built-in object, in place, and return it. Setting them twice changes nothing."""
    _walk(kinds()[kind], obj)
    return obj


def _walk(name: str, value: JSONObject) -> None:
    schema = definitions()[name]
    for field, default in _ABSENT.get(name, {}).items():
        if value.get(field) in (None, ""):
            value[field] = copy.deepcopy(default)
    for function in _FUNCTIONS.get(name, ()):
        function(value)
    for field, below in schema.get("properties", {}).items():
        if field in value:
            _descend(below, value[field])
        elif "default" in below and below["default"] not in ("", 0, False, {}):
            value[field] = copy.deepcopy(below["default"])


def _descend(schema: Mapping[str, Any], value: Any) -> None:
    target = schema.get("$ref")
    if isinstance(target, str):
        name = target.removeprefix(REF_PREFIX)
        if isinstance(value, dict) and "properties" in definitions()[name]:
            _walk(name, value)
    elif isinstance(value, list) and "$ref" in schema.get("items", {}):
        for item in value:
            _descend(schema["items"], item)
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for item in value.values():
            _descend(schema["additionalProperties"], item)


def _image_policy(image: str) -> str:
    """Say when to pull: always what is called latest, or nothing."""
    last = image.rpartition("/")[2]
    tag = last.partition("@")[0].partition(":")[2]
    return "Always" if tag == "latest" or (not tag and "@" not in last) else "IfNotPresent"


def _container(container: JSONObject) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _image_policy(container.get("image", "")))


def _volume(volume: JSONObject) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    image = volume.get("image")
    if image is not None:
        image.setdefault("pullPolicy", _image_policy(image.get("reference", "")))


def _service_account_name(spec: JSONObject) -> None:
    """Make the old field and the new one say the same."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _requests_from_limits(resources: JSONObject) -> None:
    """Take limits for requests where there are none."""
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **resources.get("requests", {})}


def _pod(pod: JSONObject) -> None:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for container in containers:
        _requests_from_limits(container.get("resources", {}))
        for port in container.get("ports", ()) if spec.get("hostNetwork") else ():
            port.setdefault("hostPort", port.get("containerPort"))
    spec.setdefault("enableServiceLinks", True)


def _pod_level_resources(pod: JSONObject) -> None:
    resources = (pod.get("spec") or {}).get("resources") or {}
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **resources.get("requests", {})}


def _service(service: JSONObject) -> None:
    spec = service.setdefault("spec", {})
    affinity = spec.setdefault("sessionAffinity", "None")
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    type_ = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    external = type_ in {"NodePort", "LoadBalancer"} or (
        type_ == "ClusterIP" and spec.get("externalIPs")
    )
    if external:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if type_ in {"NodePort", "LoadBalancer", "ClusterIP"}:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _deployment_strategy(strategy: JSONObject) -> None:
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _daemon_set_strategy(strategy: JSONObject) -> None:
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _stateful_set_strategy(strategy: JSONObject) -> None:
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})


def _claim_template(spec: JSONObject) -> None:
    for template in spec.get("volumeClaimTemplates", ()):
        template.setdefault("kind", "PersistentVolumeClaim")
        template.setdefault("apiVersion", "v1")


def _replication_controller(controller: JSONObject) -> None:
    spec = controller.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        spec.setdefault("selector", dict(labels))
        controller.setdefault("metadata", {}).setdefault("labels", dict(labels))


def _job(job: JSONObject) -> None:
    """Set the defaults of a Job; those in the template of a CronJob wait until it makes one."""
    _job_spec(job.setdefault("spec", {}))
    labels = (((job.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        job.setdefault("metadata", {}).setdefault("labels", dict(labels))


def _job_spec(spec: JSONObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault(
        "podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    )


def _autoscaler(spec: JSONObject) -> None:
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        up = {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        }
        down = {
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        }
        behavior["scaleUp"] = {**up, **behavior.get("scaleUp", {})}
        behavior["scaleDown"] = {**down, **behavior.get("scaleDown", {})}


def _network_policy(spec: JSONObject) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _subject(subject: JSONObject) -> None:
    if not subject.get("apiGroup") and subject.get("kind") in {"User", "Group"}:
        subject["apiGroup"] = _RBAC_GROUP


def _namespace(namespace: JSONObject) -> None:
    metadata = namespace.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def _node(status: JSONObject) -> None:
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _limit_range(item: JSONObject) -> None:
    if item.get("type") == "Container":
        limits = {**item.get("max", {}), **item.get("default", {})}
        requests = {**item.get("min", {}), **limits, **item.get("defaultRequest", {})}
        item |= {name: it for name, it in (("default", limits), ("defaultRequest", requests)) if it}


def _definition_names(definition: JSONObject) -> None:
    names = definition.setdefault("spec", {}).setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"
    status = definition.setdefault("status", {})
    if not status.get("storedVersions"):
        stored = [
            it["name"] for it in definition["spec"].get("versions") or () if it.get("storage")
        ]
        status["storedVersions"] = stored[:1]


def _pod_addresses(status: JSONObject) -> None:
    """Let the first of a pod's addresses and its address agree; the latter counts."""
    address, addresses = status.get("podIP"), status.get("podIPs") or []
    if address and (not addresses or addresses[0].get("ip") != address):
        status["podIPs"] = [{"ip": address}]
    elif addresses and not address:
        status["podIP"] = addresses[0].get("ip", "")


def _secret(secret: JSONObject) -> None:
    """Turn what was given as text into data: `stringData` has a manager only where it is applied."""
    text = secret.pop("stringData", None)
    if text:
        encoded = {name: base64.b64encode(it.encode()).decode() for name, it in text.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


_FUNCTIONS: Mapping[str, tuple[Callable[[JSONObject], None], ...]] = {
    _CORE + "Container": (_container,),
    _CORE + "EphemeralContainer": (_container,),
    _CORE + "Volume": (_volume,),
    _CORE + "Pod": (_pod, _pod_level_resources),
    _CORE + "PodSpec": (_service_account_name,),
    _CORE + "PodStatus": (_pod_addresses,),
    _CORE + "Secret": (_secret,),
    _CORE + "Service": (_service,),
    _CORE + "ReplicationController": (_replication_controller,),
    _CORE + "Namespace": (_namespace,),
    _CORE + "NodeStatus": (_node,),
    _CORE + "LimitRangeItem": (_limit_range,),
    _APPS + "DeploymentStrategy": (_deployment_strategy,),
    _APPS + "DaemonSetUpdateStrategy": (_daemon_set_strategy,),
    _APPS + "StatefulSetUpdateStrategy": (_stateful_set_strategy,),
    _APPS + "StatefulSetSpec": (_claim_template,),
    _BATCH + "Job": (_job,),
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec": (_autoscaler,),
    _NETWORK + "NetworkPolicySpec": (_network_policy,),
    _RBAC + "Subject": (_subject,),
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition": (
        _definition_names,
    ),
}
