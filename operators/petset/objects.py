"""The objects of a PetSet: pods, claims, revisions, and the Service and budget beside them.

What belongs here: their content, as JSON. What does not: when they are written (`plan`, `execute`). Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from kubernetes.client.models import V1PodDisruptionBudget, V1Service

from operatorkit import selectors
from operatorkit.resource import write
from operatorkit.revisions import Revision
from operators.petset.api import GROUP, PetSet, PetSetStatus
from operators.petset.identity import (
    ANNOTATION_OVERRIDE,
    ANNOTATION_REQUESTED,
    FINALIZER,
    LABEL_POD_INDEX,
    LABEL_POD_NAME,
    LABEL_REVISION,
    claim_name,
    pod_name,
)
from operators.petset.state import ClaimOwner

__all__ = [
    "budget_of",
    "claim_of",
    "identity_labels",
    "owner_reference",
    "pod_of",
    "revision_object",
    "selector_text",
    "service_of",
    "spec_of",
]

JSON = dict[str, Any]


def spec_of(pets: PetSet) -> JSON:
    """Return the spec as JSON, without encoding the status: that of a large set is longer than all else."""
    spec: JSON = pets.model_copy(update={"status": PetSetStatus()}).write()["spec"]
    return spec


def owner_reference(pets: PetSet, *, controller: bool = True) -> JSON:
    """Return the owner reference to a PetSet."""
    return {
        "apiVersion": PetSet.api_version,
        "kind": PetSet.kind,
        "name": pets.metadata.name,
        "uid": pets.metadata.uid,
        **({"controller": True, "blockOwnerDeletion": True} if controller else {}),
    }


def identity_labels(set_name: str, ordinal: int) -> dict[str, str]:
    """Return the labels by which StatefulSet's tools find a member."""
    return {LABEL_POD_NAME: pod_name(set_name, ordinal), LABEL_POD_INDEX: str(ordinal)}


def pod_of(
    pets: PetSet, template: Mapping[str, Any], ordinal: int, *, revision: str, override: str
) -> JSON:
    """Return a member's pod, made from a template that its overrides have been applied to."""
    name = pod_name(pets.metadata.name, ordinal)
    metadata = copy.deepcopy(dict(template.get("metadata") or {}))
    spec = copy.deepcopy(dict(template.get("spec") or {}))
    labels = {
        **(metadata.get("labels") or {}),
        **identity_labels(pets.metadata.name, ordinal),
        LABEL_REVISION: revision,
    }
    annotations = {
        **(metadata.get("annotations") or {}),
        **({ANNOTATION_OVERRIDE: override} if override else {}),
    }
    finalizers = [
        *(metadata.get("finalizers") or ()),
        *([FINALIZER] if pets.spec.member_safety == "Strict" else ()),
    ]
    spec["hostname"] = name
    if pets.spec.service_name:
        spec["subdomain"] = pets.spec.service_name
    claims = _claim_volumes(pets, ordinal)
    if claims:
        spec["volumes"] = [
            *claims.values(),
            *(each for each in spec.get("volumes") or () if each["name"] not in claims),
        ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": pets.metadata.namespace,
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            **({"finalizers": finalizers} if finalizers else {}),
            "ownerReferences": [owner_reference(pets)],
        },
        "spec": spec,
    }


def _claim_volumes(pets: PetSet, ordinal: int) -> dict[str, JSON]:
    names = [
        each.metadata.name for each in pets.spec.volume_claim_templates if each.metadata is not None
    ]
    return {
        name: {
            "name": name,
            "persistentVolumeClaim": {"claimName": claim_name(name, pets.metadata.name, ordinal)},
        }
        for name in names
        if name
    }


def claim_of(pets: PetSet, template: str, ordinal: int, *, owner: ClaimOwner) -> JSON:
    """Return a member's claim; its labels are those of the selector, as StatefulSet sets them."""
    source = next(
        each
        for each in pets.spec.volume_claim_templates
        if each.metadata is not None and each.metadata.name == template
    )
    body = write(source)
    metadata = body.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **(pets.spec.selector.match_labels or {})}
    requests = ((body.get("spec") or {}).get("resources") or {}).get("requests") or {}
    requested = {ANNOTATION_REQUESTED: requests["storage"]} if requests.get("storage") else {}
    annotations = {**(metadata.get("annotations") or {}), **requested}
    references = [owner_reference(pets, controller=False)] if owner == "set" else []
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(template, pets.metadata.name, ordinal),
            "namespace": pets.metadata.namespace,
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            **({"ownerReferences": references} if references else {}),
        },
        "spec": body.get("spec") or {},
    }


def revision_object(pets: PetSet, revision: Revision) -> JSON:
    """Return the ControllerRevision of a template.

    Its data has sorted keys: an API server compares their bytes, and a patch may sort them.
    """
    labels = {
        **(pets.spec.selector.match_labels or {}),
        LABEL_REVISION: revision.name.rpartition("-")[2],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision.name,
            "namespace": pets.metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(pets)],
        },
        "data": _sorted(revision.data),
        "revision": revision.number,
    }


def _sorted(value: Any) -> Any:
    """Return a copy of a JSON value in which the keys of every object are in order."""
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def service_of(pets: PetSet) -> V1Service:
    """Return the headless Service that gives members their DNS names, where the user has none."""
    ports = {
        int(port["containerPort"]): {
            "name": port.get("name") or f"port-{port['containerPort']}",
            "port": port["containerPort"],
        }
        for container in (spec_of(pets)["template"].get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
    }
    return V1Service(
        metadata={
            "name": pets.spec.service_name,
            "namespace": pets.metadata.namespace,
            "labels": {f"{GROUP}/petset": pets.metadata.name},
        },
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": dict(pets.spec.selector.match_labels or {}),
            **({"ports": list(ports.values())} if ports else {}),
        },
    )


def budget_of(pets: PetSet) -> V1PodDisruptionBudget:
    """Return the PodDisruptionBudget of `spec.disruption.budget`; unready members may always be evicted."""
    return V1PodDisruptionBudget(
        metadata={"name": pets.metadata.name, "namespace": pets.metadata.namespace},
        spec={
            "maxUnavailable": pets.spec.disruption.budget,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": write_selector(pets),
        },
    )


def write_selector(pets: PetSet) -> JSON:
    """Return the selector as JSON."""
    selector: JSON = spec_of(pets)["selector"]
    return selector


def selector_text(pets: PetSet) -> str:
    """Return the selector as text, as `kubectl get -l` takes it."""
    return selectors.selector_text(pets.spec.selector)
