"""Continuous validation: running Pods are evaluated again when what admitted them changes.

What belongs here: which changes concern which Pods, and what is reported. What does not: the decision (`policy`), and
following metadata servers (`changes`). It reports, and never stops a Pod.

    policy, authority, exception, revocation, namespace ──┐
    GrafeasServer.status: the digests that have changed ──┴──> Pods ──> facts ──> verdict ──> Event, policy report
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from kubernetes.client.models import V1Namespace, V1Pod

from operatorkit.context import Context, Reader
from operatorkit.events import Notice, Reference
from operatorkit.names import ObjectKey
from operatorkit.operator import Requeue, Watch, generation_changed, labels_changed
from operatorkit.resource import write
from operators.attestation import reasons
from operators.attestation.api import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
)
from operators.attestation.app import app
from operators.attestation.exceptions import excuse
from operators.attestation.facts import look_up, look_up_scans
from operators.attestation.flights import Flights
from operators.attestation.images import ImageReferenceError, parse_image
from operators.attestation.observe import (
    authorities_for,
    exceptions_of_pod,
    policies_for,
    revocations,
    servers,
)
from operators.attestation.owners import top_owner
from operators.attestation.policy import (
    Judgement,
    Problem,
    decide,
    plan,
    questions,
    revoked_images,
    scan_questions,
)
from operators.attestation.reports import report
from operators.attestation.workloads import ImageUse, images_in

__all__ = ["validate_running"]

_INDEX: Final = "digest"
_EVERY: Final = timedelta(hours=1)
_AFTER_A_FAILURE: Final = timedelta(seconds=30)
_LOOK_UP_SECONDS: Final = 5.0
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_SYSTEM: Final = frozenset({"kube-system", "kube-node-lease"})


def _digests(pod: V1Pod) -> Iterable[str]:
    """Return the digests of a Pod's images."""
    for use in images_in("Pod", write(pod)):
        try:
            digest = parse_image(use.image).digest
        except ImageReferenceError:
            continue
        if digest is not None:
            yield digest


app.index(V1Pod, _INDEX, _digests)


def _images_changed(old: V1Pod | None, new: V1Pod) -> bool:
    """Predicate: the Pod is new, has other images, or has ended."""
    if old is None or _has_ended(old) != _has_ended(new):
        return True
    return images_in("Pod", write(old)) != images_in("Pod", write(new))


def _has_ended(pod: V1Pod) -> bool:
    return pod.status is not None and pod.status.phase in _ENDED


def _all_pods(changed: Any, reader: Reader) -> Iterable[ObjectKey]:
    del changed
    return _keys(reader.list(V1Pod))


def _pods_beside(changed: Any, reader: Reader) -> Iterable[ObjectKey]:
    return _keys(reader.list(V1Pod, namespace=changed.metadata.namespace))


def _pods_within(namespace: V1Namespace, reader: Reader) -> Iterable[ObjectKey]:
    name = namespace.metadata.name if namespace.metadata is not None else None
    return _keys(reader.list(V1Pod, namespace=name)) if name else ()


def _revoked_pods(revocation: ImageRevocation, reader: Reader) -> Iterable[ObjectKey]:
    digest = revocation.spec.digest
    return (
        _all_pods(revocation, reader)
        if digest is None
        else reader.keys(V1Pod, index=(_INDEX, digest))
    )


def _changed_pods(server: GrafeasServer, reader: Reader) -> Iterable[ObjectKey]:
    if server.status.changed_all:
        return _all_pods(server, reader)
    found = (reader.keys(V1Pod, index=(_INDEX, digest)) for digest in server.status.changed_digests)
    return dict.fromkeys(key for keys in found for key in keys)


def _keys(pods: Iterable[V1Pod]) -> list[ObjectKey]:
    named = [pod.metadata for pod in pods if pod.metadata is not None]
    return [ObjectKey(metadata.namespace or "", metadata.name or "") for metadata in named]


@app.reconcile(
    V1Pod,
    workers=4,
    only_reads=True,
    predicate=_images_changed,
    watches=[
        Watch(ClusterImagePolicy, to=_all_pods, predicate=generation_changed),
        Watch(ClusterAttestationAuthority, to=_all_pods, predicate=generation_changed),
        Watch(ImagePolicy, to=_pods_beside, predicate=generation_changed),
        Watch(AttestationAuthority, to=_pods_beside, predicate=generation_changed),
        Watch(ImagePolicyException, to=_pods_beside, predicate=generation_changed),
        Watch(ImageRevocation, to=_revoked_pods, predicate=generation_changed),
        Watch(V1Namespace, to=_pods_within, predicate=labels_changed),
        Watch(GrafeasServer, to=_changed_pods),
    ],
)
async def validate_running(pod: V1Pod, ctx: Context) -> Requeue | None:
    """Report a Pod that would not be admitted any more."""
    obj, namespace = write(pod), ctx.key.namespace
    scope = ("continuous", ctx.key)
    ends = (obj.get("metadata") or {}).get("deletionTimestamp") is not None or _has_ended(pod)
    if ends or namespace in {*_SYSTEM, app.settings.own_namespace}:
        await ctx.events.hold(scope, [])
        return None
    now, uses = ctx.clock.now(), images_in("Pod", obj)
    judgements = plan(uses, policies_for(namespace, ctx))
    problems = [*revoked_images(uses, revocations(ctx)), *await _problems(judgements, ctx, now)]
    left = excuse(problems, exceptions_of_pod(ctx.key, ctx), now).left
    await _notify(obj, left, ctx)
    await report(ctx.api, obj, _results(judgements, left), now)
    if any(problem.reason == reasons.BACKEND_UNAVAILABLE for problem in left):
        return Requeue(after=_AFTER_A_FAILURE)
    return Requeue(after=_EVERY) if judgements else None


async def _problems(judgements: list[Judgement], ctx: Context, now: datetime) -> list[Problem]:
    """Return what the images lack, whatever the mode of the policy."""
    if not judgements:
        return []
    authorities = authorities_for(ctx.key.namespace, ctx)
    asked, where = questions(judgements, authorities), servers(ctx)
    flights = ctx.memory(Flights)
    facts = await look_up(
        asked,
        authorities,
        where,
        now=now,
        seconds=_LOOK_UP_SECONDS,
        flights=flights,
        fresh=True,  # what has changed is why this runs: nothing older would be looked at again
    )
    scans = await look_up_scans(
        scan_questions(judgements), where, seconds=_LOOK_UP_SECONDS, flights=flights
    )
    verdict = decide(judgements, authorities, facts, now, revocations(ctx), scans)
    return [*verdict.denied, *verdict.warned, *verdict.audited]


async def _notify(obj: Mapping[str, Any], problems: Iterable[Problem], ctx: Context) -> None:
    """Hold a Warning on the Pod and on its top-level owner while there is a problem."""
    about = Reference.of({"apiVersion": "v1", "kind": "Pod", **obj})
    warned = [about]
    scope = ("continuous", ctx.key)
    problems = list(problems)
    if problems:
        owner = await top_owner(ctx.api, obj.get("metadata") or {}, ctx.key.namespace)
        warned += [owner] if owner is not None else []
    notices = [
        Notice(
            regarding=reference,
            type="Warning",
            reason=problem.reason,
            message=f"running Pod {ctx.key.name}: {problem}",
            action="Validate",
            related=about,
        )
        for problem in problems
        for reference in warned
    ]
    await ctx.events.hold(scope, notices)
    if not notices:
        for reference in await ctx.events.recipients(about):
            await ctx.events.normal(
                reference,
                reasons.IMAGE_ATTESTED,
                f"the images of running Pod {ctx.key.name} have the attestations that policies "
                f"require",
                action="Validate",
                related=about,
            )


def _results(
    judgements: Iterable[Judgement], problems: Iterable[Problem]
) -> list[tuple[ImageUse, str, Problem | None]]:
    """Return for each image and policy what came of it: the problem, or None."""
    found: dict[tuple[ImageUse, str], Problem | None] = {
        (judgement.use, judgement.policy.shown): None for judgement in judgements
    }
    found |= {(problem.use, problem.policy.shown): problem for problem in problems}
    return [(use, policy, problem) for (use, policy), problem in found.items()]
