"""Which Secrets a Pod uses, and who else should hear what its Secret is waiting for.

What belongs here: reading Pods. What does not: what is reported to them (`operators.pki.report`).
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kubernetes.client.models import V1Pod

from operatorkit.events import Reference

__all__ = [
    "MAX_PODS",
    "controller_reference",
    "has_ended",
    "interesting",
    "need_changed",
    "required_secrets",
    "secrets_changed",
    "secrets_of",
    "waits",
]

MAX_PODS = 10


def secrets_of(pod: V1Pod) -> set[str]:
    """Return the names of the Secrets that a Pod mounts or reads into its environment, in any of its containers."""
    return {name for name, _ in _references(pod) if name}


def required_secrets(pod: V1Pod) -> set[str]:
    """Return the names of the Secrets without which a Pod cannot start: those of `secrets_of` that are not optional."""
    return {name for name, optional in _references(pod) if name and not optional}


def _references(pod: V1Pod) -> Iterator[tuple[str | None, bool | None]]:
    """Yield the name in each reference to a Secret, and whether it is optional."""
    spec = pod.spec
    if spec is None:
        return
    for volume in spec.volumes or ():
        if volume.secret is not None:
            yield volume.secret.secret_name, volume.secret.optional
        for source in (volume.projected and volume.projected.sources) or ():
            if source.secret is not None:
                yield source.secret.name, source.secret.optional
    for container in (
        *(spec.containers or ()),
        *(spec.init_containers or ()),
        *(spec.ephemeral_containers or ()),
    ):
        yield from _environment(container)


def _environment(container: Any) -> Iterator[tuple[str | None, bool | None]]:
    for variable in container.env or ():
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            yield (
                variable.value_from.secret_key_ref.name,
                variable.value_from.secret_key_ref.optional,
            )
    for source in container.env_from or ():
        if source.secret_ref is not None:
            yield source.secret_ref.name, source.secret_ref.optional


def secrets_changed(old: V1Pod | None, new: V1Pod) -> bool:
    """Predicate: the Pod is new, or has ended, or uses other Secrets than before (it got an ephemeral container)."""
    return old is None or has_ended(old) != has_ended(new) or secrets_of(old) != secrets_of(new)


def need_changed(old: V1Pod | None, new: V1Pod) -> bool:
    """Predicate: what `secrets_changed` returns, or the Pod has started: it no longer waits for a Secret."""
    return (old is not None and waits(old) != waits(new)) or secrets_changed(old, new)


def waits(pod: V1Pod) -> bool:
    """Return whether a Pod has not started yet, and is meant to."""
    phase = pod.status.phase if pod.status is not None else None
    return phase in {None, "Pending"} and (
        pod.metadata is None or pod.metadata.deletion_timestamp is None
    )


def has_ended(pod: V1Pod) -> bool:
    """Return whether a Pod's containers run no more, and never will again."""
    return pod.status is not None and pod.status.phase in {"Succeeded", "Failed"}


def interesting(pods: Iterable[V1Pod]) -> list[V1Pod]:
    """Return the Pods to notify, at most `MAX_PODS`: those that wait before those that run, by name."""
    living = [
        pod
        for pod in pods
        if pod.metadata is not None
        and pod.metadata.deletion_timestamp is None
        and not has_ended(pod)
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
