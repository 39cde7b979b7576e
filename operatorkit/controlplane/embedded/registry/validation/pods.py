"""What a pod's spec must be like, in a Pod and in every template of pods.

Covers what people get wrong: names, images, ports, environment, mounts of volumes that are not there, probes, limits,
policies. What only cluster administrators set (overheads, claims for devices, Windows options) is taken as it comes.

Source: k8s.io/kubernetes/pkg/apis/core/validation
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from operatorkit.controlplane import _quantity as quantity
from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.controlplane.embedded.registry.validation.checks import (
    label_1123,
    labels,
    natural,
    port,
    port_name,
    subdomain,
)
from operatorkit.crd.field_errors import (
    FieldErrors,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
)
from operatorkit.crd.golang import Struct

__all__ = ["pod_spec", "pod_spec_update"]

JSONObject = Mapping[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_SOURCES = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_PLAIN_FIELDS = {
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
}
_RESOURCES = {"cpu", "memory", "ephemeral-storage"}
_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MAX_INT32 = 2**31 - 1


def pod_spec(path: str, spec: JSONObject) -> FieldErrors:
    """Check the spec of a pod or of a template."""
    volumes = spec.get("volumes") or ()
    yield from _volumes(f"{path}.volumes", volumes)
    known = {it.get("name") for it in volumes}
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    yield from _containers(f"{path}.containers", spec.get("containers") or (), known)
    yield from _init_containers(path, spec, known)
    if spec.get("restartPolicy") not in _RESTART:
        yield not_supported(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    if spec.get("dnsPolicy") not in _DNS:
        yield not_supported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    yield from labels(f"{path}.nodeSelector", spec.get("nodeSelector"))
    yield from _host_ports(path, spec)
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            yield from subdomain(f"{path}.{field}", spec[field])
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        yield invalid(
            f"{path}.activeDeadlineSeconds",
            deadline,
            f"must be between 1 and {_MAX_INT32}, inclusive",
        )
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            yield from label_1123(f"{path}.{field}", spec[field])
    yield from _tolerations(f"{path}.tolerations", spec.get("tolerations") or ())


# ------------------------------------------------------------------------------------------------------------- volumes


def _volumes(path: str, volumes: Sequence[JSONObject]) -> FieldErrors:
    seen: set[str] = set()
    for position, volume in enumerate(volumes):
        here, name = f"{path}[{position}]", volume.get("name", "")
        if not name:
            yield required(f"{here}.name")
        elif name in seen:
            yield duplicate(f"{here}.name", name)
        else:
            yield from label_1123(f"{here}.name", name)
        seen.add(name)
        yield from _volume_source(here, volume)


def _volume_source(path: str, volume: JSONObject) -> FieldErrors:
    sources = [it for it in volume if it != "name"]
    # The first of the server's order counts; emptyDir is the first, the others are reported.
    order = ("emptyDir", "hostPath")
    sources.sort(key=lambda it: (order.index(it) if it in order else len(order), it))
    for extra in sources[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    if len(sources) != 1:
        return
    source, here = volume[sources[0]] or {}, f"{path}.{sources[0]}"
    match sources[0]:
        case "hostPath" if not source.get("path"):
            yield required(f"{here}.path")
        case "secret":
            if not source.get("secretName"):
                yield required(f"{here}.secretName")
            yield from _files(here, source)
        case "configMap":
            if not source.get("name"):
                yield required(f"{here}.name")
            yield from _files(here, source)
        case "persistentVolumeClaim" if not source.get("claimName"):
            yield required(f"{here}.claimName")
        case "nfs":
            for field in ("server", "path"):
                if not source.get(field):
                    yield required(f"{here}.{field}")
        case "csi" if not source.get("driver"):
            yield required(f"{here}.driver")


def _files(path: str, source: JSONObject) -> FieldErrors:
    mode = source.get("defaultMode", 0)
    if not 0 <= mode <= 0o777:
        yield invalid(
            f"{path}.defaultMode",
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        )
    for position, it in enumerate(source.get("items") or ()):
        here = f"{path}.items[{position}]"
        if not it.get("key"):
            yield required(f"{here}.key")
        yield from _inner_path(f"{here}.path", it.get("path", ""))


def _inner_path(path: str, value: str) -> FieldErrors:
    if not value:
        yield required(path)
    elif value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    elif ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


# ----------------------------------------------------------------------------------------------------------- containers


def _containers(path: str, containers: Sequence[JSONObject], volumes: set[Any]) -> FieldErrors:
    seen: set[str] = set()
    for position, container in enumerate(containers):
        here, name = f"{path}[{position}]", container.get("name", "")
        yield from _container(here, container, volumes)
        if name and name in seen:
            yield duplicate(f"{here}.name", name)
        seen.add(name)
        yield from _lifecycle(f"{here}.lifecycle", container.get("lifecycle") or {})
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            yield from _probe(
                f"{here}.{probe}", container.get(probe), once=probe != "readinessProbe"
            )


def _init_containers(path: str, spec: JSONObject, volumes: set[Any]) -> FieldErrors:
    seen = {it.get("name") for it in spec.get("containers") or ()}
    for position, container in enumerate(spec.get("initContainers") or ()):
        here, name = f"{path}.initContainers[{position}]", container.get("name", "")
        yield from _container(here, container, volumes)
        if name and name in seen:
            yield duplicate(f"{here}.name", name)
        seen.add(name)
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if field in container and container.get("restartPolicy") != "Always":
                yield forbidden(
                    f"{here}.{field}",
                    "may not be set for init containers without restartPolicy=Always",
                )


def _container(path: str, container: JSONObject, volumes: set[Any]) -> FieldErrors:
    if not container.get("name"):
        yield required(f"{path}.name")
    else:
        yield from label_1123(f"{path}.name", container["name"])
    if not container.get("image"):
        yield required(f"{path}.image")
    policy = container.get("terminationMessagePolicy")
    if policy not in {"File", "FallbackToLogsOnError"}:
        yield not_supported(
            f"{path}.terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError")
        )
    yield from _ports(f"{path}.ports", container.get("ports") or ())
    for position, variable in enumerate(container.get("env") or ()):
        yield from _variable(f"{path}.env[{position}]", variable)
    for source in container.get("envFrom") or ():
        if not source.keys() & {"configMapRef", "secretRef"}:
            yield invalid(
                f"{path}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`"
            )
    yield from _mounts(f"{path}.volumeMounts", container.get("volumeMounts") or (), volumes)
    if container.get("imagePullPolicy") not in _PULL:
        yield not_supported(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    yield from _container_resources(f"{path}.resources", container.get("resources") or {})
    yield from _security(f"{path}.securityContext", container.get("securityContext") or {})


def _ports(path: str, ports: Sequence[JSONObject]) -> FieldErrors:
    seen: set[str] = set()
    for position, it in enumerate(ports):
        here, name = f"{path}[{position}]", it.get("name", "")
        if name:
            yield from port_name(f"{here}.name", name)
            if name in seen:
                yield duplicate(f"{here}.name", name)
            seen.add(name)
        if not it.get("containerPort"):
            yield required(f"{here}.containerPort")
        else:
            yield from port(f"{here}.containerPort", it["containerPort"])
        if it.get("hostPort"):
            yield from port(f"{here}.hostPort", it["hostPort"])
        if it.get("protocol") not in _PROTOCOLS:
            yield not_supported(f"{here}.protocol", it.get("protocol"), _PROTOCOLS)


def _host_ports(path: str, spec: JSONObject) -> FieldErrors:
    if not spec.get("hostNetwork"):
        return
    for position, container in enumerate(spec.get("containers") or ()):
        for index, it in enumerate(container.get("ports") or ()):
            if it.get("hostPort") != it.get("containerPort"):
                here = f"{path}.containers[{position}].ports[{index}].hostPort"
                why = "must match `containerPort` when `hostNetwork` is true"
                yield invalid(here, it.get("hostPort", 0), why)


def _variable(path: str, variable: JSONObject) -> FieldErrors:
    name = variable.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif "=" in name or not name.isascii() or not name.isprintable():
        why = "a valid environment variable name must consist only of printable ASCII characters other than '='"
        yield invalid(f"{path}.name", name, why)
    source = variable.get("valueFrom")
    if source is None:
        return
    here = f"{path}.valueFrom"
    if not source:
        yield invalid(here, "", f"must specify one of: {_SOURCES}")
    elif variable.get("value"):
        yield invalid(here, "", "may not be specified when `value` is not empty")
    elif len(source) > 1:
        yield invalid(here, "", "may not have more than one field specified at a time")
    for field in ("configMapKeyRef", "secretKeyRef"):
        if field in source and not source[field].get("key"):
            yield required(f"{here}.{field}.key")
    if "fieldRef" in source:
        yield from _field_path(
            f"{here}.fieldRef.fieldPath", source["fieldRef"].get("fieldPath", "")
        )


def _field_path(path: str, value: str) -> FieldErrors:
    if not value:
        yield required(path)
    elif value not in _PLAIN_FIELDS and not value.startswith(
        ("metadata.labels['", "metadata.annotations['")
    ):
        yield invalid(
            path, value, f"error converting fieldPath: field label not supported: {value}"
        )


def _mounts(path: str, mounts: Sequence[JSONObject], volumes: set[Any]) -> FieldErrors:
    places: set[str] = set()
    for position, mount in enumerate(mounts):
        here, name, place = f"{path}[{position}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield required(f"{here}.name")
        if name not in volumes or not name:
            yield not_found(f"{here}.name", name)
        if not place:
            yield required(f"{here}.mountPath")
        if place in places:
            yield invalid(f"{here}.mountPath", place, "must be unique")
        places.add(place)
        if mount.get("subPath"):
            yield from _inner_path(f"{here}.subPath", mount["subPath"])


def _container_resources(path: str, resources: JSONObject) -> FieldErrors:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            here = f"{path}.{field}[{name}]"
            if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
                yield invalid(here, name, "must be a standard resource type or fully qualified")
                yield invalid(here, name, "must be a standard resource for containers")
            if quantity.parse(str(value)) < 0:
                yield invalid(here, str(value), "must be greater than or equal to 0")
    for name, value in requests.items():
        if name in limits and quantity.parse(str(value)) > quantity.parse(str(limits[name])):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.requests", str(value), why)


def _security(path: str, context: JSONObject) -> FieldErrors:
    for field in ("runAsUser", "runAsGroup"):
        value = context.get(field, 0)
        if not 0 <= value <= _MAX_INT32:
            yield invalid(
                f"{path}.{field}", value, f"must be between 0 and {_MAX_INT32}, inclusive"
            )
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        yield invalid(
            path,
            Struct(context),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        )


def _handler(path: str, holder: JSONObject) -> FieldErrors:
    found = [it for it in _HANDLERS if it in holder]
    if not found:
        yield required(path, "must specify a handler type")
    for extra in found[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    if not found or len(found) > 1:
        return
    handler, here = holder[found[0]] or {}, f"{path}.{found[0]}"
    match found[0]:
        case "exec" if not handler.get("command"):
            yield required(f"{here}.command")
        case "httpGet" | "tcpSocket" | "grpc":
            value = handler.get("port", 0)
            yield from (
                port_name(f"{here}.port", value)
                if isinstance(value, str)
                else port(f"{here}.port", value)
            )


def _probe(path: str, probe: JSONObject | None, *, once: bool) -> FieldErrors:
    if probe is None:
        return
    yield from _handler(path, probe)
    fields = (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    )
    for field in fields:
        yield from natural(f"{path}.{field}", probe.get(field))
    if once and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _lifecycle(path: str, lifecycle: JSONObject) -> FieldErrors:
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            yield from _handler(f"{path}.{hook}", lifecycle[hook])


def _tolerations(path: str, tolerations: Sequence[JSONObject]) -> FieldErrors:
    for position, it in enumerate(tolerations):
        here = f"{path}[{position}]"
        operator = it.get("operator", "")
        if not it.get("key") and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{here}.operator", operator, why)
        if operator == "Exists" and it.get("value"):
            yield invalid(
                f"{here}.operator", it["value"], "value must be empty when `operator` is 'Exists'"
            )
        if operator not in {"", "Equal", "Exists"}:
            yield not_supported(f"{here}.operator", operator, ("Equal", "Exists"))


# -------------------------------------------------------------------------------------------------------------- updates


def pod_spec_update(new: JSONObject, old: JSONObject) -> FieldErrors:
    """Check what an update of a Pod changes in its spec: images, deadline and more tolerations, and nothing else."""
    for field in ("containers", "initContainers"):
        if len(new.get(field) or ()) != len(old.get(field) or ()):
            yield forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    free = copy.deepcopy(dict(new))
    for field in ("containers", "initContainers"):
        for after, before in zip(free.get(field) or (), old.get(field) or (), strict=True):
            after["image"] = before.get("image", "")
    for field in ("activeDeadlineSeconds", "tolerations"):
        if field in old:
            free[field] = old[field]
        else:
            free.pop(field, None)
    if (
        old.get("terminationGracePeriodSeconds", 0) < 0
        and new.get("terminationGracePeriodSeconds") == 1
    ):
        free["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    added = new.get("tolerations") or []
    if any(it not in added for it in old.get("tolerations") or ()):
        yield forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        )
    if not equal(free, dict(old)):
        yield forbidden("spec", _IMMUTABLE)
