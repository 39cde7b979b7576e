"""The rules of Kubernetes' own kinds.

What belongs here: `BuiltinStrategy`, which joins the tables of `builtin` into a `Strategy`. What does not: the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.errors.errors import internal_error, invalid
from operatorkit.controlplane.embedded.registry import preparation, selectable, warnings
from operatorkit.controlplane.embedded.registry.node_ports import allocate_node_ports
from operatorkit.controlplane.embedded.registry.validation import kinds, object_meta
from operatorkit.controlplane.embedded.registry.validation.crds import (
    default_crd,
    validate_crd,
    warnings_of_crd,
)
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.defaults import set_defaults
from operatorkit.controlplane.embedded.scheme.resources import BuiltinResource
from operatorkit.crd.field_errors import FieldError

__all__ = ["BuiltinStrategy", "CrdStrategy", "WebhookConfigurationStrategy", "builtin_strategy"]

Object = dict[str, Any]

_RETURNED = frozenset(
    {
        "CSIDriver",
        "CSINode",
        "DeviceClass",
        "DeviceTaintRule",
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "ResourceQuota",
        "ResourceSlice",
        "Service",
        "ServiceAccount",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)
_CONDITIONAL = frozenset(
    {
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "ClusterTrustBundle",
        "CustomResourceDefinition",
        "Lease",
        "LeaseCandidate",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PodDisruptionBudget",
        "RuntimeClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)
_CREATED_BY_UPDATE = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "Endpoints",
        "Event",
        "Lease",
        "LeaseCandidate",
        "LimitRange",
        "Role",
        "RoleBinding",
        "RuntimeClass",
        "Service",
    }
)

# Subresources that change a part of their own making: nothing of it is taken back.
_FREE = frozenset({"approval", "binding", "finalize"})


class BuiltinStrategy:
    """The rules of one built-in resource."""

    def __init__(self, resource: BuiltinResource) -> None:
        self._resource = resource
        self.graceful: bool = resource.gvk.api_version == "v1" and resource.kind == "Pod"
        self.owns: bool = resource.kind != "Event"
        self.returns_deleted: bool = resource.kind in _RETURNED
        self.unconditional_update: bool = resource.kind not in _CONDITIONAL
        self.create_on_update: bool = resource.kind in _CREATED_BY_UPDATE

    def knows_field(self, field: str) -> bool:
        """Whether objects can be selected by this field."""
        return field in self.fields({"metadata": {}})

    def unknown_field(self, field: str) -> str:
        """Return the error text of a selector with an unknown field."""
        return selectable.unknown_field(self._resource.gvk, field)

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the selectable fields of an object."""
        return selectable.selectable_fields(
            self._resource.gvk, obj, namespaced=self._resource.namespaced
        )

    def decode(self, obj: Object, *, validation: str, warnings: list[str]) -> Object:
        """Return a request's object with nothing in it that the kind does not have."""
        decoded = codec.decode(self._resource.gvk, obj)
        if decoded.unexpected and validation == "Strict":
            raise decoded.strict_error(self._resource.gvk)
        if validation == "Warn":
            warnings.extend(decoded.unexpected)
        return decoded.object

    def default(self, obj: Object) -> None:
        """Fill in what was left out."""
        set_defaults(self._resource.gvk, obj)

    def shape(self, obj: Object) -> None:
        """Do nothing: the types of built-in kinds do not change."""

    def complete(self, obj: Object) -> None:
        """Give a pod its service account, priority and tolerations."""
        preparation.complete(self._resource.gvk, obj)

    def prepare_create(self, obj: Object) -> None:
        """Take away what a creation cannot set, and set what it implies."""
        preparation.prepare_create(self._resource.gvk, obj)
        codec.compact(self._resource.gvk, obj)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        """Take back what an update cannot change; count generations."""
        if subresource not in _FREE:
            preparation.prepare_update(self._resource.gvk, obj, old, subresource=subresource)
            codec.compact(self._resource.gvk, obj)

    def allocate(self, obj: Object, others: Callable[[], Iterable[Object]]) -> None:
        """Give a Service its address and a Job its selector, unless they have them."""
        match self._resource.group, self._resource.kind:
            case "", "Service":
                self._allocate_to_service(obj, others)
            case "batch", "Job":
                preparation.generate_job_selector(obj)

    @staticmethod
    def _allocate_to_service(obj: Object, others: Callable[[], Iterable[Object]]) -> None:
        specs = [
            it.get("spec", {}) for it in others() if it["metadata"]["uid"] != obj["metadata"]["uid"]
        ]
        try:
            preparation.allocate_cluster_ip(obj, (it.get("clusterIP", "") for it in specs))
        except OverflowError as error:
            text = f"failed to allocate IP for Service: {error}"
            raise internal_error(text) from None
        errors = allocate_node_ports(obj, specs)
        if errors:
            raise invalid("", "Service", obj["metadata"]["name"], errors)

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        """Return the field errors of an object."""
        common = object_meta.validate(obj, old, namespaced=self._resource.namespaced, builtin=True)
        own = kinds.validate(self._resource.gvk, obj, old, subresource)
        # The rules of names differ by kind, so they are among the kind's own; metadata is reported first.
        names = [it for it in own if it.path == "metadata.name"]
        others = [it for it in common if it.path != "metadata.name"]
        return [*names, *others, *(it for it in own if it.path != "metadata.name")]

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Return the warnings of a write that is accepted."""
        return [*object_meta.warnings(obj, old), *warnings.warnings(self._resource.gvk, obj, old)]


class CrdStrategy(BuiltinStrategy):
    """The rules of CustomResourceDefinitions."""

    def default(self, obj: Object) -> None:
        """Fill in what was left out."""
        super().default(obj)
        default_crd(obj)

    def prepare_create(self, obj: Object) -> None:
        """Begin to count generations, and with a status that says nothing."""
        super().prepare_create(obj)
        storage = [
            it["name"] for it in obj.get("spec", {}).get("versions") or () if it.get("storage")
        ]
        obj["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": storage,
        }

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        """Return the field errors of an object."""
        errors = super().validate(obj, old, subresource)
        return [*errors, *(validate_crd(obj, old) if not subresource else ())]

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Return which of the definition's demands are not met here."""
        if old is not None and old.get("spec") == obj.get("spec"):
            return ()
        return list(warnings_of_crd(obj))


class WebhookConfigurationStrategy(BuiltinStrategy):
    """The rules of the configurations of admission webhooks."""

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Return which of the configuration's demands are not met here."""
        texts = [
            f"webhooks[{position}].matchConditions: the embedded control plane does not evaluate them: the webhook is "
            "called whenever its rules and selectors match"
            for position, webhook in enumerate(obj.get("webhooks") or ())
            if webhook.get("matchConditions")
        ]
        return [*super().warnings(obj, old), *texts]


def builtin_strategy(resource: BuiltinResource) -> BuiltinStrategy:
    """Return the rules of a built-in resource."""
    if resource.plural in {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}:
        return WebhookConfigurationStrategy(resource)
    if resource.plural == "customresourcedefinitions":
        return CrdStrategy(resource)
    return BuiltinStrategy(resource)
