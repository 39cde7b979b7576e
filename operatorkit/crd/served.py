"""How API servers serve the kinds that the official client has models of.

What belongs here: plural, scope and model of each built-in kind, so that a class like
`V1Deployment` is enough to build a URL or an RBAC rule, with no request. What does not: kinds of
custom resources (their classes say it) and discovery (`operatorkit.cluster`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from operatorkit.names import ApiResource

__all__ = ["resources_by_model"]

# Per group and version: Kind=plural, with * when it is cluster-scoped, and with Prefix: where the official client puts
# one before the name of the model to distinguish equal kinds of several groups (CoreV1Event, EventsV1Event).
# From the paths of Kubernetes' OpenAPI document; tests/unit/crd/test_served.py compares it with a server's discovery.
_TABLE = """
core/v1
    Binding=bindings ComponentStatus=componentstatuses* ConfigMap=configmaps Endpoints=endpoints
    Core:Event=events LimitRange=limitranges Namespace=namespaces* Node=nodes*
    PersistentVolume=persistentvolumes* PersistentVolumeClaim=persistentvolumeclaims Pod=pods
    PodTemplate=podtemplates ReplicationController=replicationcontrollers ResourceQuota=resourcequotas
    Secret=secrets Service=services ServiceAccount=serviceaccounts
admissionregistration.k8s.io/v1
    MutatingAdmissionPolicy=mutatingadmissionpolicies*
    MutatingAdmissionPolicyBinding=mutatingadmissionpolicybindings*
    MutatingWebhookConfiguration=mutatingwebhookconfigurations*
    ValidatingAdmissionPolicy=validatingadmissionpolicies*
    ValidatingAdmissionPolicyBinding=validatingadmissionpolicybindings*
    ValidatingWebhookConfiguration=validatingwebhookconfigurations*
admissionregistration.k8s.io/v1alpha1
    MutatingAdmissionPolicy=mutatingadmissionpolicies*
    MutatingAdmissionPolicyBinding=mutatingadmissionpolicybindings*
admissionregistration.k8s.io/v1beta1
    MutatingAdmissionPolicy=mutatingadmissionpolicies*
    MutatingAdmissionPolicyBinding=mutatingadmissionpolicybindings*
apiextensions.k8s.io/v1
    CustomResourceDefinition=customresourcedefinitions*
apiregistration.k8s.io/v1
    APIService=apiservices*
apps/v1
    ControllerRevision=controllerrevisions DaemonSet=daemonsets Deployment=deployments ReplicaSet=replicasets
    StatefulSet=statefulsets
authentication.k8s.io/v1
    SelfSubjectReview=selfsubjectreviews* TokenReview=tokenreviews*
authorization.k8s.io/v1
    LocalSubjectAccessReview=localsubjectaccessreviews SelfSubjectAccessReview=selfsubjectaccessreviews*
    SelfSubjectRulesReview=selfsubjectrulesreviews* SubjectAccessReview=subjectaccessreviews*
autoscaling/v1
    HorizontalPodAutoscaler=horizontalpodautoscalers
autoscaling/v2
    HorizontalPodAutoscaler=horizontalpodautoscalers
batch/v1
    CronJob=cronjobs Job=jobs
certificates.k8s.io/v1
    CertificateSigningRequest=certificatesigningrequests*
certificates.k8s.io/v1beta1
    ClusterTrustBundle=clustertrustbundles* PodCertificateRequest=podcertificaterequests
coordination.k8s.io/v1
    Lease=leases
coordination.k8s.io/v1alpha2
    LeaseCandidate=leasecandidates
coordination.k8s.io/v1beta1
    LeaseCandidate=leasecandidates
discovery.k8s.io/v1
    EndpointSlice=endpointslices
events.k8s.io/v1
    Events:Event=events
flowcontrol.apiserver.k8s.io/v1
    FlowSchema=flowschemas* PriorityLevelConfiguration=prioritylevelconfigurations*
internal.apiserver.k8s.io/v1alpha1
    StorageVersion=storageversions*
networking.k8s.io/v1
    IPAddress=ipaddresses* Ingress=ingresses IngressClass=ingressclasses* NetworkPolicy=networkpolicies
    ServiceCIDR=servicecidrs*
node.k8s.io/v1
    RuntimeClass=runtimeclasses*
policy/v1
    PodDisruptionBudget=poddisruptionbudgets
rbac.authorization.k8s.io/v1
    ClusterRole=clusterroles* ClusterRoleBinding=clusterrolebindings* Role=roles RoleBinding=rolebindings
resource.k8s.io/v1
    DeviceClass=deviceclasses* Resource:ResourceClaim=resourceclaims
    ResourceClaimTemplate=resourceclaimtemplates ResourceSlice=resourceslices*
resource.k8s.io/v1alpha3
    DeviceTaintRule=devicetaintrules* ResourcePoolStatusRequest=resourcepoolstatusrequests*
resource.k8s.io/v1beta1
    DeviceClass=deviceclasses* ResourceClaim=resourceclaims ResourceClaimTemplate=resourceclaimtemplates
    ResourceSlice=resourceslices*
resource.k8s.io/v1beta2
    DeviceClass=deviceclasses* DeviceTaintRule=devicetaintrules* ResourceClaim=resourceclaims
    ResourceClaimTemplate=resourceclaimtemplates ResourceSlice=resourceslices*
scheduling.k8s.io/v1
    PriorityClass=priorityclasses*
storage.k8s.io/v1
    CSIDriver=csidrivers* CSINode=csinodes* CSIStorageCapacity=csistoragecapacities
    StorageClass=storageclasses* VolumeAttachment=volumeattachments*
    VolumeAttributesClass=volumeattributesclasses*
storagemigration.k8s.io/v1beta1
    StorageVersionMigration=storageversionmigrations*
"""


@cache
def resources_by_model() -> Mapping[str, ApiResource]:
    """Return the built-in kinds by the name of their model: `V1Deployment`, `CoreV1Event`, ..."""
    resources: dict[str, ApiResource] = {}
    group, version = "", ""
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            group, _, version = line.partition("/")
            group = "" if group == "core" else group
            continue
        for entry in line.split():
            name, _, plural = entry.partition("=")
            prefix, _, kind = name.rpartition(":")
            model = f"{prefix}{version[0].upper()}{version[1:]}{kind}"
            resources[model] = ApiResource(
                group, version, kind, plural.rstrip("*"), namespaced=not plural.endswith("*")
            )
    return MappingProxyType(resources)
