"""The values of an operator's chart: one table, from which values.yaml and its schema are made.

What belongs here: names, types, bounds, defaults and descriptions of values. What does not: what they do (the
templates).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from operatorkit.names import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN

__all__ = ["crd_values", "operator_values", "schema_text", "values_text"]

Schema = dict[str, Any]

_QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$"
_RESOURCE = r"^(cpu|memory|ephemeral-storage|hugepages-.+|[^/]+/.+)$"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"^({DNS_SUBDOMAIN_PATTERN}/)?{_WORD}$"
_LABEL = rf"^({_WORD})?$"
_REPOSITORY = r"^([^\s/@]+/)*[^\s/@:]+$"
_AFFINITY = r"^(node|pod|podAnti)Affinity$"
_VARIABLE = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
_TAG = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"


def operator_values(
    image: str, *, grace_seconds: int, webhooks: bool = False, writes_secrets: bool = False
) -> Schema:
    """Return the schema, defaults included, of the values of an operator's chart.

    `webhooks` says that it serves some, `writes_secrets` that it may write Secrets of others.
    """
    return _object(
        "Values of the operator's chart.",
        **_image(image),
        **_availability(),
        watchNamespace=_string(
            "Work in this namespace only, with a Role instead of most of the ClusterRole; by "
            "default in all namespaces.",
            pattern=f"^({DNS_LABEL_PATTERN})?$",
            maxLength=63,
        ),
        verbose=_value("boolean", "Log more details.", False),
        **_access(),
        networkPolicy=_network_policy(webhooks=webhooks),
        **({"secretPolicy": _secret_policy()} if writes_secrets else {}),
        resources=_object(
            "Resources of the container.",
            requests=_quantities("Requested resources.", {"cpu": "50m", "memory": "128Mi"}),
            limits=_quantities("Limits of resources.", {"memory": "512Mi"}),
        ),
        terminationGracePeriodSeconds=_value(
            "integer",
            "Seconds that running reconciles have to finish.",
            grace_seconds,
            minimum=1,
        ),
        **_extras(),
        podAnnotations=_texts("Annotations of the Pods."),
        podLabels=_labels("Labels of the Pods; those of the chart take precedence."),
        **_scheduling(),
        nameOverride=_string(
            "Replaces the name of the chart.", pattern=f"^({DNS_LABEL_PATTERN})?$"
        ),
        fullnameOverride=_string(
            "Replaces the name of the release.", pattern=f"^({DNS_LABEL_PATTERN})?$"
        ),
    )


def _image(image: str) -> dict[str, Schema]:
    """Return what is run, and how it is pulled."""
    return {
        "image": _object(
            "The image to run. It must contain operatorkit and the operator.",
            repository=_string(
                "Repository of the image, without a tag.", image, pattern=_REPOSITORY
            ),
            tag=_string("Tag of the image; by default the chart's appVersion.", pattern=_TAG),
            digest=_string(
                "Digest of the image; takes precedence over the tag.",
                pattern=r"^(sha256:[0-9a-f]{64})?$",
            ),
            pullPolicy=_string(
                "Pull policy of the image.",
                "IfNotPresent",
                enum=["Always", "IfNotPresent", "Never"],
            ),
        ),
        "imagePullSecrets": _list(
            "Secrets for pulling the image.",
            _closed(
                {
                    "name": {
                        "type": "string",
                        "pattern": f"^{DNS_SUBDOMAIN_PATTERN}$",
                        "maxLength": 253,
                    }
                },
                required=["name"],
            ),
        ),
    }


def _availability() -> dict[str, Schema]:
    """Return how many Pods run, also while nodes are drained."""
    return {
        "replicas": _value(
            "integer",
            "Number of replicas. The leader reconciles; the others keep their caches in sync, and take over when the "
            "leader stops or fails. 0 pauses the operator.",
            2,
            minimum=0,
        ),
        "podDisruptionBudget": _object(
            "The PodDisruptionBudget of the Pods.",
            enabled=_value("boolean", "Create it.", True),
            maxUnavailable=_value(
                ["integer", "string"],
                "Maximum number or percentage of Pods that evictions may make unavailable.",
                1,
                minimum=0,
                pattern=r"^[0-9]+%$",
            ),
        ),
    }


def _access() -> dict[str, Schema]:
    """Return who the operator is, what it may do, and who may read its metrics."""
    return {
        "serviceAccount": _object(
            "The identity of the operator.",
            create=_value("boolean", "Create it.", True),
            name=_name(
                "Its name; by default the name of the release if it is created, and default if not."
            ),
            annotations=_texts("Its annotations."),
        ),
        "rbac": _object(
            "Its permissions.", create=_value("boolean", "Create the roles and bind them.", True)
        ),
        "metrics": _object(
            "Metrics at /metrics on the port of probes. The image must contain prometheus-client.",
            enabled=_value(
                "boolean",
                "Create a ClusterRole that permits the operator to review the tokens of clients, and one that permits "
                "a client to read metrics; bind it to Prometheus. Otherwise, only clients in the Pod can read metrics.",
                False,
            ),
            serviceMonitor=_object(
                "A ServiceMonitor, for the operator of Prometheus; set metrics.enabled, too.",
                enabled=_value("boolean", "Create it, and the Service that it selects.", False),
                interval=_string(
                    "How often metrics are read.", "30s", pattern=r"^[0-9]+(ms|s|m|h)$"
                ),
                labels=_labels("Labels by which Prometheus selects it."),
            ),
            dashboard=_object(
                "A dashboard for Grafana, in a ConfigMap with the label grafana_dashboard.",
                enabled=_value("boolean", "Create it.", False),
                labels=_labels("More labels of the ConfigMap."),
                annotations=_texts(
                    "Annotations of the ConfigMap, such as the folder of the dashboard."
                ),
            ),
        ),
    }


def _network_policy(*, webhooks: bool) -> Schema:
    peers = "in the syntax of `from` in a NetworkPolicy; by default all."
    values = {
        "enabled": _value("boolean", "Create it. All other ports of the Pod are closed.", True),
        "healthSources": _list(f"Sources that may connect to the port of probes, {peers}", _peer()),
    }
    if webhooks:
        text = (
            "Sources that may connect to the port of webhooks: the API servers, usually one "
            "ipBlock each, "
            f"{peers} If a source is missing, its reviews fail."
        )
        values["webhookSources"] = _list(text, _peer())
    return _object("The NetworkPolicy of the Pods, for ingress only.", **values)


def _peer() -> Schema:
    selector: Schema = {"type": "object"}
    block: dict[str, Schema] = {
        "cidr": {"type": "string"},
        "except": {"type": "array", "items": {"type": "string"}},
    }
    peer = {
        "ipBlock": _closed(block, required=["cidr"]),
        "namespaceSelector": selector,
        "podSelector": selector,
    }
    return _closed(peer, minProperties=1)


def _secret_policy() -> Schema:
    return _object(
        "A ValidatingAdmissionPolicy (Kubernetes 1.30 or newer) that limits which Secrets the "
        "operator may write. The permission to write every Secret is equivalent to "
        "cluster-admin, because a Secret of type kubernetes.io/service-account-token receives a "
        "token of any ServiceAccount. The policy always denies that type and bootstrap tokens. "
        "It does not limit reads.",
        enabled=_value("boolean", "Create it.", False),
        types=_texts_list(
            "Types of Secrets that the operator may write.",
            ["Opaque", "kubernetes.io/tls"],
            r"^[A-Za-z0-9]([-A-Za-z0-9_./]*)$",
        ),
        names=_texts_list(
            "Regular expressions (RE2). The whole name of a Secret must match one of them; by "
            "default any name is allowed.",
            [],
            r"^[^\n\r]+$",
        ),
    )


def _extras() -> dict[str, Schema]:
    reference: Schema = {"type": "object"}
    name: Schema = {"type": "string", "minLength": 1}
    path: Schema = {"type": "string", "pattern": "^/"}
    variable = {
        "name": {"type": "string", "pattern": _VARIABLE},
        "value": {"type": "string"},
        "valueFrom": reference,
    }
    source = {"prefix": {"type": "string"}, "configMapRef": reference, "secretRef": reference}
    mount: dict[str, Schema] = {
        "name": name,
        "mountPath": path,
        "readOnly": {"type": "boolean"},
        **{
            field: {"type": "string"}
            for field in ("subPath", "subPathExpr", "mountPropagation", "recursiveReadOnly")
        },
    }
    return {
        "extraArgs": _texts_list("Additional arguments of `operatorkit run`.", [], r"^[^\n\r]+$"),
        "env": _list(
            "Environment variables of the container, as in a Pod; those of the chart take "
            "precedence.",
            _closed(variable, required=["name"]),
        ),
        "envFrom": _list(
            "ConfigMaps and Secrets with environment variables, as in a Pod.",
            _closed(source, minProperties=1),
        ),
        "extraVolumes": _list(
            "Additional volumes, as in a Pod.",
            {
                "type": "object",
                "properties": {"name": name},
                "required": ["name"],
                "minProperties": 2,
            },
        ),
        "extraVolumeMounts": _list(
            "Additional volume mounts of the container, as in a Pod.",
            _closed(mount, required=["name", "mountPath"]),
        ),
    }


def _scheduling() -> dict[str, Schema]:
    constraint: dict[str, Schema] = {
        "topologyKey": {"type": "string", "pattern": _KEY},
        "maxSkew": {"type": "integer", "minimum": 1},
        "minDomains": {"type": "integer", "minimum": 1},
        "whenUnsatisfiable": {"type": "string", "enum": ["DoNotSchedule", "ScheduleAnyway"]},
        "nodeAffinityPolicy": {"type": "string", "enum": ["Honor", "Ignore"]},
        "nodeTaintsPolicy": {"type": "string", "enum": ["Honor", "Ignore"]},
        "matchLabelKeys": {"type": "array", "items": {"type": "string", "pattern": _KEY}},
    }
    return {
        "topologySpreadConstraints": _list(
            "Topology spread constraints, as in a Pod, without labelSelector, which the chart "
            "adds; by default Pods are spread over nodes and zones if possible.",
            _closed(constraint, required=["topologyKey", "maxSkew", "whenUnsatisfiable"]),
        ),
        "priorityClassName": _name("PriorityClass of the Pods."),
        "nodeSelector": _labels("Node selector of the Pods."),
        "tolerations": _list("Tolerations of the Pods.", _toleration()),
        "affinity": _map("Affinity of the Pods.", {}, _AFFINITY, {"type": "object"}),
    }


def _toleration() -> Schema:
    fields: dict[str, Schema] = {name: {"type": "string"} for name in ("key", "operator", "value")}
    fields["effect"] = {"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}
    fields["tolerationSeconds"] = {"type": "integer"}
    return _closed(fields)


def crd_values() -> Schema:
    """Return the schema, defaults included, of the values of a chart of definitions."""
    keep = "Keep the definitions and all objects of their kinds when the release is uninstalled."
    return _object("Values of the chart of definitions.", keep=_value("boolean", keep, True))


def schema_text(schema: Schema) -> str:
    """Return values.schema.json."""
    top = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_nested_defaults(schema),
    }
    top["properties"] = {
        **top["properties"],
        "global": {"type": "object", "description": "Values of parent charts."},
    }
    return json.dumps(top, indent=2) + "\n"


def values_text(schema: Schema) -> str:
    """Return values.yaml: each default, below its description."""
    return (
        "\n".join(
            "\n".join(_entry(name, below, "")) for name, below in schema["properties"].items()
        )
        + "\n"
    )


def _entry(name: str, schema: Schema, indent: str) -> list[str]:
    lines = [f"{indent}# {line}" for line in wrap(_described(schema), 110 - len(indent))]
    default = schema["default"]
    if isinstance(default, Mapping) and default:
        nested = schema.get("properties")
        lines.append(f"{indent}{name}:")
        if nested:
            for inner, below in nested.items():
                lines += _entry(inner, below, indent + "  ")
        else:
            lines += [f"{indent}  {inner}: {json.dumps(value)}" for inner, value in default.items()]
        return lines
    return [*lines, f"{indent}{name}: {json.dumps(default)}"]


def _described(schema: Schema) -> str:
    choices = schema.get("enum")
    return (
        f"{schema['description']} One of {', '.join(choices)}."
        if choices
        else str(schema["description"])
    )


def _without_nested_defaults(schema: Schema) -> Schema:
    """Leave a default at each leaf: an object's own would only repeat those of its fields."""
    if "properties" not in schema:
        return schema
    below = {name: _without_nested_defaults(inner) for name, inner in schema["properties"].items()}
    return {
        **{name: value for name, value in schema.items() if name != "default"},
        "properties": below,
    }


def _value(type_: str | list[str], description: str, default: Any, **bounds: Any) -> Schema:
    return {"type": type_, "description": description, "default": default, **bounds}


def _string(description: str, default: str = "", **bounds: Any) -> Schema:
    return _value("string", description, default, **bounds)


def _list(description: str, items: Schema) -> Schema:
    return _value("array", description, [], items=items)


def _texts_list(description: str, default: list[str], pattern: str) -> Schema:
    return _value("array", description, default, items={"type": "string", "pattern": pattern})


def _name(description: str) -> Schema:
    return _string(description, pattern=f"^({DNS_SUBDOMAIN_PATTERN})?$", maxLength=253)


def _texts(description: str, **bounds: Any) -> Schema:
    """Return a map of texts whose keys Kubernetes takes for labels and annotations."""
    texts = {"type": "string", **bounds}
    return _map(description, {}, _KEY, texts)


def _labels(description: str) -> Schema:
    return _texts(description, pattern=_LABEL)


def _quantities(description: str, default: dict[str, str]) -> Schema:
    amount = {"type": ["string", "integer", "number"], "pattern": _QUANTITY, "minimum": 0}
    return _map(description, default, _RESOURCE, amount)


def _map(description: str, default: Mapping[str, Any], keys: str, values: Schema) -> Schema:
    """Return a map with keys of a pattern; `propertyNames` would do, but Helm names the wrong place of a wrong one."""
    return _value(
        "object", description, default, patternProperties={keys: values}, additionalProperties=False
    )


def _closed(properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _object(description: str, **properties: Schema) -> Schema:
    default = {name: schema["default"] for name, schema in properties.items()}
    return _closed(properties, description=description, default=default)
