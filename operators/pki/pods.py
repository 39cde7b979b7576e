"""Which Secrets a Pod uses, and who else should hear what its Secret is waiting for.

What belongs here: reading Pods. What does not: what they are told (`operators.pki.report`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kubernetes.client.models import V1Pod

from operatorkit.events import Reference

__all__ = ["MAX_PODS", "controller_reference", "has_ended", "interesting", "secrets_changed", "secrets_of"]

MAX_PODS = 10


def secrets_of(pod: V1Pod) -> set[str]:
    """Return the names of the Secrets that a Pod mounts or reads into its environment, in any of its containers."""
    spec = pod.spec
    if spec is None:
        return set()
    names: set[str | None] = set()
    for volume in spec.volumes or ():
        if volume.secret is not None:
            names.add(volume.secret.secret_name)
        if volume.projected is not None:
            names.update(source.secret.name for source in volume.projected.sources or () if source.secret is not None)
    for container in (*(spec.containers or ()), *(spec.init_containers or ()), *(spec.ephemeral_containers or ())):
        names.update(_environment(container))
    return {name for name in names if name}


def _environment(container: Any) -> Iterator[str | None]:
    for variable in container.env or ():
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            yield variable.value_from.secret_key_ref.name
    for source in container.env_from or ():
        if source.secret_ref is not None:
            yield source.secret_ref.name


def secrets_changed(old: V1Pod | None, new: V1Pod) -> bool:
    """Predicate: the Pod is new, or has ended, or uses other Secrets than before (it got an ephemeral container)."""
    return old is None or has_ended(old) != has_ended(new) or secrets_of(old) != secrets_of(new)


def has_ended(pod: V1Pod) -> bool:
    """Tell whether a Pod's containers run no more, and never will again."""
    return pod.status is not None and pod.status.phase in {"Succeeded", "Failed"}


def interesting(pods: Iterable[V1Pod]) -> list[V1Pod]:
    """Return the Pods to tell, at most `MAX_PODS`: those that wait before those that run, by name; none that ended."""
    living = [
        pod
        for pod in pods
        if pod.metadata is not None and pod.metadata.deletion_timestamp is None and not has_ended(pod)
    ]
    living.sort(
        key=lambda pod: (
            pod.status is not None and pod.status.phase == "Running",
            (pod.metadata and pod.metadata.name) or "",
        )
    )
    return living[:MAX_PODS]


def controller_reference(metadata: Any) -> Reference | None:
    """Return a reference to the object that controls the one with this metadata, or None."""
    for owner in metadata.owner_references or ():
        if owner.controller:
            return Reference(
                api_version=owner.api_version,
                kind=owner.kind,
                name=owner.name,
                namespace=metadata.namespace or "",
                uid=owner.uid,
            )
    return None
