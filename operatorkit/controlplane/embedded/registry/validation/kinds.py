"""What built-in objects must be like, and what of them may not change, in the API server's words.

`validate` covers what is peculiar to a kind, its name included; the rest of `metadata` is the same for all kinds and is
checked elsewhere. Kinds without rules here are stored as they are, as long as their types are right.

Source: k8s.io/kubernetes/pkg/apis/*/validation
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.controlplane.embedded.registry.validation import webhooks, workloads
from operatorkit.controlplane.embedded.registry.validation.checks import (
    label_1123,
    label_key,
    labels,
    natural,
    port,
    port_name,
    subdomain,
)
from operatorkit.controlplane.embedded.registry.validation.pods import pod_spec, pod_spec_update
from operatorkit.controlplane.embedded.registry.validation.status import STATUS_RULES
from operatorkit.crd import FieldError
from operatorkit.crd.field_errors import (
    FieldErrors,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from operatorkit.crd.golang import Struct
from operatorkit.names import GroupVersionKind

__all__ = ["validate"]

JSONObject = Mapping[str, Any]

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_SECRET_MAX_BYTES = 1024 * 1024
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_ADDRESS_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_FAMILIES = ("IPv4", "IPv6")
_POLICIES = {
    "ipFamilyPolicy": ("PreferDualStack", "RequireDualStack", "SingleStack"),
    "internalTrafficPolicy": ("Cluster", "Local"),
}
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_FIXED = "field is immutable"
_FIXED_WHEN_SET = "field is immutable when `immutable` is set"
_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


def validate(
    kind: GroupVersionKind, obj: JSONObject, old: JSONObject | None, subresource: str = ""
) -> list[FieldError]:
    """Return the field errors of an object, with defaults, that is to replace `old` (None: created).

    Of subresources only the status of some kinds is checked.
    """
    key = (kind.group, kind.kind)
    if subresource:
        return (
            list(STATUS_RULES[key](obj)) if subresource == "status" and key in STATUS_RULES else []
        )
    found = list(_name(key, obj)) if old is None else []
    if key in _RULES:
        found += _RULES[key](obj)
    if old is not None and key in _CHANGES:
        found += _CHANGES[key](obj, old)
    return found


_PATH_SEGMENTS = {
    ("rbac.authorization.k8s.io", it)
    for it in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
}
_LABEL_NAMES = {("", "Namespace"), ("", "Service")}


def _name(key: tuple[str, str], obj: JSONObject) -> FieldErrors:
    name = obj["metadata"].get("name", "")
    path = "metadata.name"
    if not name:
        yield required(path, "name or generateName is required")
    elif key in _PATH_SEGMENTS:
        if name in {".", ".."}:
            yield invalid(path, name, f"may not be '{name}'")
        for letter in "/%":
            if letter in name:
                yield invalid(path, name, f"may not contain '{letter}'")
    elif key in _LABEL_NAMES:
        if "." in name:
            yield invalid(path, name, "must not contain dots")
        else:
            yield from label_1123(path, name)
    else:
        yield from subdomain(path, name)


# -------------------------------------------------------------------------------------------------------- configuration


def _data_keys(path: str, data: JSONObject | None) -> FieldErrors:
    for name in data or {}:
        here = f"{path}[{name}]"
        if len(name) > 253:
            yield invalid(here, name, "must be no more than 253 characters")
        if not _KEY.fullmatch(name):
            yield invalid(here, name, _KEY_TEXT)
        elif name in {".", ".."}:
            yield invalid(here, name, f"must not be '{name}'")


def _config_map(obj: JSONObject) -> FieldErrors:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    yield from _data_keys("data", data)
    for name in data:
        if name in binary:
            yield invalid(f"data[{name}]", name, "duplicate of key present in binaryData")
    yield from _data_keys("binaryData", binary)
    if (
        sum(len(it.encode()) for it in data.values())
        + sum(len(it) * 3 // 4 for it in binary.values())
        > _SECRET_MAX_BYTES
    ):
        yield FieldError(
            "[]", "FieldValueTooLong", f"Too long: may not be more than {_SECRET_MAX_BYTES} bytes"
        )


def _config_map_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    yield from _immutable(new, old, ("data", "binaryData"))


def _immutable(new: JSONObject, old: JSONObject, fields: tuple[str, ...]) -> FieldErrors:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", _FIXED_WHEN_SET)
    for field in fields:
        if not equal(new.get(field) or {}, old.get(field) or {}):
            yield forbidden(field, _FIXED_WHEN_SET)


def _secret(obj: JSONObject) -> FieldErrors:
    data, type_ = obj.get("data") or {}, obj.get("type", "")
    yield from _data_keys("data", data)
    if sum(len(it or "") * 3 // 4 for it in data.values()) > _SECRET_MAX_BYTES:
        yield FieldError(
            "data", "FieldValueTooLong", f"Too long: may not be more than {_SECRET_MAX_BYTES} bytes"
        )
    for name in _SECRET_KEYS.get(type_, ()):
        if name not in data:
            yield required(f"data[{name}]")
        elif type_.startswith("kubernetes.io/docker"):
            yield from _json(f"data[{name}]", data[name])
    if type_ == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        yield required("data[username]")
        yield required("data[password]")
    if type_ == "kubernetes.io/service-account-token":
        annotation = "kubernetes.io/service-account.name"
        if not (obj["metadata"].get("annotations") or {}).get(annotation):
            yield required(f"metadata.annotations[{annotation}]")


def _json(path: str, encoded: str) -> FieldErrors:
    try:
        json.loads(base64.b64decode(encoded))
    except (ValueError, binascii.Error) as error:
        text = base64.b64decode(encoded).decode(errors="replace").strip()
        why = (
            f"invalid character '{text[:1]}' looking for beginning of value" if text else str(error)
        )
        yield invalid(path, "<secret contents redacted>", why)


def _secret_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    if new.get("type") != old.get("type"):
        yield invalid("type", new.get("type"), _FIXED)
    yield from _immutable(new, old, ("data",))


# ------------------------------------------------------------------------------------------------------------- services


def _service(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    type_, ports = spec.get("type", ""), spec.get("ports") or ()
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and type_ != "ExternalName":
        yield required("spec.ports")
    if type_ == "LoadBalancer" and headless:
        yield invalid(
            "spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services"
        )
    if type_ == "NodePort" and headless:
        yield invalid(
            "spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"
        )
    if type_ == "ExternalName":
        if not spec.get("externalName"):
            yield required("spec.externalName")
        else:
            yield from subdomain("spec.externalName", spec["externalName"].rstrip("."))
    yield from _service_ports(ports)
    yield from labels("spec.selector", spec.get("selector"))
    if spec.get("sessionAffinity") not in {"ClientIP", "None"}:
        yield not_supported(
            "spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None")
        )
    if type_ != "ExternalName":
        yield from _addresses(spec)
        yield from _policies(spec)
    elif spec.get("clusterIP"):
        yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    for position, address in enumerate(spec.get("externalIPs") or ()):
        if not _is_address(address):
            yield invalid(f"spec.externalIPs[{position}]", address, _ADDRESS_TEXT)
    if type_ not in _SERVICE_TYPES:
        yield not_supported("spec.type", type_, _SERVICE_TYPES)
    if type_ == "ClusterIP":
        for position, it in enumerate(ports):
            if it.get("nodePort"):
                yield forbidden(
                    f"spec.ports[{position}].nodePort", "may not be used when `type` is 'ClusterIP'"
                )


def _policies(spec: JSONObject) -> FieldErrors:
    for position, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in _FAMILIES:
            yield not_supported(f"spec.ipFamilies[{position}]", family, _FAMILIES)
        elif family == "IPv6" and spec.get("ipFamilyPolicy") != "PreferDualStack":
            yield invalid(f"spec.ipFamilies[{position}]", family, "not configured on this cluster")
    for name, allowed in _POLICIES.items():
        if spec.get(name) is not None and spec[name] not in allowed:
            yield not_supported(f"spec.{name}", spec[name], allowed)


def _addresses(spec: JSONObject) -> FieldErrors:
    for position, address in enumerate(
        spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else ())
    ):
        if address in {"", "None"}:
            continue
        if not _is_address(address):
            yield invalid(f"spec.clusterIPs[{position}]", address, _ADDRESS_TEXT)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _service_ports(ports: Any) -> FieldErrors:
    names: set[str] = set()
    for position, it in enumerate(ports):
        here, name = f"spec.ports[{position}]", it.get("name", "")
        if name:
            yield from label_1123(f"{here}.name", name)
            if name in names:
                yield duplicate(f"{here}.name", name)
            names.add(name)
        elif len(ports) > 1:
            yield required(f"{here}.name")
        yield from port(f"{here}.port", it.get("port", 0))
        if it.get("protocol") not in _PROTOCOLS:
            yield not_supported(f"{here}.protocol", it.get("protocol"), _PROTOCOLS)
        target = it.get("targetPort", 0)
        yield from (
            port_name(f"{here}.targetPort", target)
            if isinstance(target, str)
            else port(f"{here}.targetPort", target)
        )
    seen: set[tuple[Any, ...]] = set()
    for position, it in enumerate(ports):
        same = (it.get("protocol"), it.get("port", 0))
        if same in seen:
            written = {
                "Name": "",
                "Protocol": same[0],
                "AppProtocol": None,
                "Port": same[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            yield duplicate(f"spec.ports[{position}]", Struct(written))
        seen.add(same)


def _service_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    kept = {"ExternalName", ""}
    if before.get("type", "") in kept or after.get("type", "") in kept:
        return
    was = before.get("clusterIPs") or []
    now = after.get("clusterIPs") or []
    if not all(it == "None" or _is_address(it) for it in now):
        return  # which is an error already
    if was and now[:1] != was[:1]:
        yield invalid("spec.clusterIPs[0]", now, "may not change once set")
    elif before.get("clusterIP") and after.get("clusterIP") != before["clusterIP"]:
        yield invalid("spec.clusterIPs[0]", [after.get("clusterIP")], "may not change once set")


# --------------------------------------------------------------------------------------------------------------- others


def _pod(obj: JSONObject) -> FieldErrors:
    yield from pod_spec("spec", obj.get("spec") or {})


def _pod_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    yield from pod_spec_update(new.get("spec") or {}, old.get("spec") or {})


def _claim(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    yield from workloads.claim_spec("spec", spec, _ACCESS_MODES)


def _claim_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    after, before = dict(new.get("spec") or {}), dict(old.get("spec") or {})
    bound = (old.get("status") or {}).get("phase") == "Bound"
    for spec in (after, before):
        for field in ("volumeName", *(("resources", "volumeAttributesClassName") if bound else ())):
            spec.pop(field, None)
    if not equal(after, before) or (
        before.get("volumeName") and after.get("volumeName") != before["volumeName"]
    ):
        yield forbidden("spec", _CLAIM_FIXED)


_EVENT_LIMITS = {"reportingInstance": 128, "action": 128, "reason": 128}


def _any_event(obj: JSONObject, about: str, reporter: str, text: str) -> FieldErrors:
    """Check an Event by the names that its group has for the fields; messages name those of the core group."""
    namespace, place = obj["metadata"].get("namespace", ""), "involvedObject.namespace"
    involved = (obj.get(about) or {}).get("namespace", "")
    mismatch = invalid(place, involved, "does not match event.namespace")
    if not obj.get("eventTime"):
        if involved != namespace and (involved or namespace != "default"):
            yield mismatch
        return
    if not involved and namespace not in {"default", "kube-system"}:
        yield mismatch
    controller = obj.get(reporter, "")
    if not controller:
        yield required(reporter)
    yield from label_key(reporter, controller)
    for field, limit in _EVENT_LIMITS.items():
        if not obj.get(field):
            yield required(field)
        elif len(obj[field]) > limit:
            yield invalid(field, "", f"can have at most {limit} characters")
    if len(obj.get(text, "")) > 1024:
        yield invalid("message", "", "can have at most 1024 characters")


def _event(obj: JSONObject) -> FieldErrors:
    yield from _any_event(obj, "involvedObject", "reportingComponent", "message")


def _new_event(obj: JSONObject) -> FieldErrors:
    yield from _any_event(obj, "regarding", "reportingController", "note")
    if not obj.get("eventTime"):
        yield required("eventTime")
    if obj.get("type") not in {"Normal", "Warning"}:
        yield invalid("type", "", f"has invalid value: {obj.get('type', '')}")
    old = ("firstTimestamp", "lastTimestamp", "count", "source")
    for name in old:
        if obj.get(f"deprecated{name[0].upper()}{name[1:]}"):
            yield invalid(name, "", "needs to be unset")


def _lease(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from natural("spec.leaseTransitions", spec.get("leaseTransitions"))


def _rules(obj: JSONObject, *, namespaced: bool) -> FieldErrors:
    for position, rule in enumerate(obj.get("rules") or ()):
        here = f"rules[{position}]"
        if not rule.get("verbs"):
            yield required(f"{here}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                yield invalid(f"{here}.nonResourceURLs", rule["nonResourceURLs"], why)
            elif rule.get("resources") or rule.get("apiGroups") or rule.get("resourceNames"):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{here}.nonResourceURLs", rule["nonResourceURLs"], why)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{here}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{here}.resources", "resource rules must supply at least one resource")


def _role(obj: JSONObject) -> FieldErrors:
    yield from _rules(obj, namespaced=True)


def _cluster_role(obj: JSONObject) -> FieldErrors:
    if not obj.get("aggregationRule"):
        yield from _rules(obj, namespaced=False)


def _binding(obj: JSONObject) -> FieldErrors:
    role = obj.get("roleRef") or {}
    kinds = ("Role", "ClusterRole") if obj.get("kind") == "RoleBinding" else ("ClusterRole",)
    if role.get("apiGroup") != "rbac.authorization.k8s.io":
        yield not_supported(
            "roleRef.apiGroup", role.get("apiGroup", ""), ("rbac.authorization.k8s.io",)
        )
    if role.get("kind") not in kinds:
        yield not_supported("roleRef.kind", role.get("kind", ""), kinds)
    if not role.get("name"):
        yield required("roleRef.name")
    for position, subject in enumerate(obj.get("subjects") or ()):
        here, kind = f"subjects[{position}]", subject.get("kind", "")
        if not subject.get("name"):
            yield required(f"{here}.name")
        if kind not in {"ServiceAccount", "User", "Group"}:
            yield not_supported(f"{here}.kind", kind, ("ServiceAccount", "User", "Group"))
        elif (
            kind == "ServiceAccount"
            and not subject.get("namespace")
            and obj.get("kind") == "ClusterRoleBinding"
        ):
            yield required(f"{here}.namespace")


def _binding_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    if not equal(new.get("roleRef"), old.get("roleRef")):
        role = {
            f"{name[0].upper()}{name[1:]}".replace("Api", "API"): it
            for name, it in new["roleRef"].items()
        }
        written = Struct({it: role.get(it, "") for it in ("APIGroup", "Kind", "Name")})
        yield invalid("roleRef", written, "cannot change roleRef")


def _storage_class(obj: JSONObject) -> FieldErrors:
    if not obj.get("provisioner"):
        yield required("provisioner")
    if obj.get("reclaimPolicy") not in {"Delete", "Retain"}:
        yield not_supported("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"))
    if obj.get("volumeBindingMode") not in {"Immediate", "WaitForFirstConsumer"}:
        yield not_supported(
            "volumeBindingMode", obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer")
        )


def _storage_class_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    if not equal(new.get("parameters") or {}, old.get("parameters") or {}):
        yield forbidden("parameters", "updates to parameters are forbidden.")
    if new.get("provisioner") != old.get("provisioner"):
        yield invalid("provisioner", new.get("provisioner", ""), _FIXED)
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        yield forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
    if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
        yield invalid("volumeBindingMode", new.get("volumeBindingMode"), _FIXED)


def _priority_class(obj: JSONObject) -> FieldErrors:
    if obj.get("value", 0) > 10**9 and not obj["metadata"].get("name", "").startswith("system-"):
        yield forbidden("value", f"maximum allowed value of a user defined priority is {10**9}")


def _priority_class_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    if new.get("value", 0) != old.get("value", 0):
        yield forbidden("value", "may not be changed in an update.")


_RBAC = "rbac.authorization.k8s.io"
_RULES: Mapping[tuple[str, str], Callable[[JSONObject], FieldErrors]] = {
    ("", "ConfigMap"): _config_map,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Event"): _event,
    ("events.k8s.io", "Event"): _new_event,
    ("coordination.k8s.io", "Lease"): _lease,
    (_RBAC, "Role"): _role,
    (_RBAC, "ClusterRole"): _cluster_role,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    **workloads.RULES,
    **webhooks.RULES,
}
_CHANGES: Mapping[tuple[str, str], Callable[[JSONObject, JSONObject], FieldErrors]] = {
    ("", "ConfigMap"): _config_map_change,
    ("", "Secret"): _secret_change,
    ("", "Service"): _service_change,
    ("", "Pod"): _pod_change,
    ("", "PersistentVolumeClaim"): _claim_change,
    (_RBAC, "RoleBinding"): _binding_change,
    (_RBAC, "ClusterRoleBinding"): _binding_change,
    ("storage.k8s.io", "StorageClass"): _storage_class_change,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class_change,
    **workloads.CHANGES,
}
