"""Admission: Pods and objects with a pod template are denied when an image lacks the attestations that policy asks for.

What belongs here: which requests are evaluated, and the words of the answer. What does not: the decision (`policy`),
the facts (`facts`) and exceptions (`exceptions`, `breakglass`).

A request that changes no image is admitted: whatever runs already must be able to change its labels, its status and
its finalizers, and to be deleted. Deletions and status updates are never asked about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubernetes.client.models import V1Pod

from operatorkit import AdmissionRequest, Allowed, Denied
from operatorkit.cluster import ClusterAPI
from operatorkit.context import Reader
from operatorkit.errors import ClusterError
from operatorkit.events import EventRecorder
from operatorkit.webhooks import invalid, required
from operators.attestation.api import GROUP, ClusterImagePolicy, ImagePolicy, ImagePolicyException
from operators.attestation.app import app
from operators.attestation.breakglass import VERB, may_break_glass, record_use
from operators.attestation.exceptions import excuse
from operators.attestation.facts import look_up, look_up_scans
from operators.attestation.flights import Flights
from operators.attestation.images import ImageReferenceError, parse_pattern
from operators.attestation.kinds import EXCLUDED, WORKLOADS
from operators.attestation.memory import FactMemory
from operators.attestation.observe import (
    authorities_for,
    exceptions_for,
    policies_for,
    revocations,
    servers,
)
from operators.attestation.owners import top_owner
from operators.attestation.policy import (
    Authority,
    AuthorityKey,
    Judgement,
    Problem,
    Revocations,
    Verdict,
    decide,
    plan,
    questions,
    revoked_images,
    scan_questions,
)
from operators.attestation.workloads import images_in

__all__ = ["decide_request", "validate_policy"]

TIMEOUT: Final = timedelta(seconds=5)
_LOOK_UP_SECONDS = 3.0
_OWNER_SECONDS = 1.0
_log = logging.getLogger("operators.attestation")


async def decide_request(
    new: Any,
    old: Any,
    request: AdmissionRequest,
    *,
    reader: Reader,
    events: EventRecorder,
    api: ClusterAPI,
) -> Allowed | Denied:
    """Decide about the images of one request."""
    del (
        new,
        old,
    )  # the objects as they were sent have all images, also those in fields that are newer than the models
    kind = request.kind.kind
    if request.object is None:
        return Denied(f"the {request.operation} of a {kind} has no object", reason="BadRequest")
    known = {use.image for use in images_in(kind, request.old_object)}
    fresh = [use for use in images_in(kind, request.object) if use.image not in known]
    if not fresh:
        return Allowed()
    now, revoked = datetime.now(UTC), revocations(reader)
    denied = revoked_images(fresh, revoked)
    judgements = plan(fresh, policies_for(request.namespace, reader))
    warnings: list[str] = []
    if judgements:
        authorities = authorities_for(request.namespace, reader)
        verdict = await _verdict(judgements, authorities, revoked, reader, now)
        denied += verdict.denied
        warnings += [str(problem) for problem in verdict.warned]
        for problem in verdict.audited:
            _log.warning(
                "%s %s/%s is admitted by an audit: %s",
                kind,
                request.namespace,
                request.name,
                problem,
            )
    excused = excuse(denied, exceptions_for(request.namespace, reader), now)
    if excused.left:
        await _report_denial(excused.left, request, events, api)
        return Denied(*(str(problem) for problem in excused.left), warnings=warnings)
    for name, images in excused.images.items():
        if (why_not := await _use(name, images, request, events, api, now)) is not None:
            return Denied(why_not, warnings=warnings)
        warnings.append(
            f"ImagePolicyException {request.namespace}/{name} admits {', '.join(images)}"
        )
    return Allowed(warnings=warnings)


async def _verdict(
    judgements: Sequence[Judgement],
    authorities: Mapping[AuthorityKey, Authority],
    revoked: Revocations,
    reader: Reader,
    now: datetime,
) -> Verdict:
    """Decide by what is remembered if that suffices to admit, and otherwise by what is there now."""
    asked = questions(judgements, authorities)
    moment = asyncio.get_running_loop().time
    memory = reader.memory(FactMemory)
    known = memory.recall(asked, authorities, moment())
    scans_asked = scan_questions(judgements)
    if asked and len(known) == len(asked) and not scans_asked:
        verdict = decide(judgements, authorities, known, now, revoked)
        if verdict == Verdict():
            return verdict
    where, flights = servers(reader), reader.memory(Flights)
    facts, scans = await asyncio.gather(
        look_up(
            asked,
            authorities,
            where,
            now=now,
            seconds=_LOOK_UP_SECONDS,
            flights=flights,
            memory=memory,
        ),
        look_up_scans(scans_asked, where, seconds=_LOOK_UP_SECONDS, flights=flights),
    )
    return decide(judgements, authorities, facts, now, revoked, scans)


async def _use(
    name: str,
    images: Sequence[str],
    request: AdmissionRequest,
    events: EventRecorder,
    api: ClusterAPI,
    now: datetime,
) -> str | None:
    """Record the use of an exception by a Pod. Workloads are admitted uncounted: their Pods are counted."""
    if request.dry_run or request.kind.kind != "Pod":
        return None
    pod = request.name or str((request.object or {}).get("metadata", {}).get("name") or "")
    return await record_use(api, events, request, name, images, pod=pod, now=now)


async def _report_denial(
    problems: Sequence[Problem], request: AdmissionRequest, events: EventRecorder, api: ClusterAPI
) -> None:
    """Report a denial on the top-level owner: what is denied does not exist. What a user sends has no owner."""
    if request.dry_run:
        return
    metadata = (request.object or {}).get("metadata") or {}
    try:
        async with asyncio.timeout(_OWNER_SECONDS):
            owner = await top_owner(api, metadata, request.namespace)
    except TimeoutError:
        return
    if owner is None:
        return
    for problem in problems:
        await events.warning(owner, problem.reason, str(problem), action="Admit")


for _kind in WORKLOADS:
    app.validate(
        _kind,
        subresources=["ephemeralcontainers"] if _kind is V1Pod else [],
        timeout=TIMEOUT,
        side_effects="NoneOnDryRun",
        namespace_selector=EXCLUDED,
    )(decide_request)


@app.validate(ImagePolicyException, side_effects="NoneOnDryRun")
async def validate_exception(
    new: ImagePolicyException,
    old: ImagePolicyException | None,
    request: AdmissionRequest,
    *,
    reader: Reader,
    events: EventRecorder,
    api: ClusterAPI,
) -> Allowed | Denied:
    """Deny an exception of a user without the verb breakglass; one that is only relabelled is left alone."""
    del reader, events
    if old is not None and old.spec == new.spec:
        return Allowed()
    try:
        allowed = await may_break_glass(api, request.user, request.namespace, new.metadata.name)
    except ClusterError as error:
        return Denied(
            f"whether {request.user.username!r} may use breakglass is not known: {error}; try again"
        )
    if not allowed:
        return Denied(
            f"{request.user.username!r} has no verb {VERB} on imagepolicyexceptions.{GROUP} in namespace "
            f"{request.namespace}: bind a Role with this verb to the user"
        )
    return Allowed()


@app.validate(ClusterImagePolicy)
async def validate_cluster_policy(
    new: ClusterImagePolicy, old: ClusterImagePolicy | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Deny patterns that could never match, and authorities that are not the cluster's."""
    del old, request
    return validate_policy(new)


@app.validate(ImagePolicy)
async def validate_namespaced_policy(
    new: ImagePolicy, old: ImagePolicy | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Deny patterns that could never match."""
    del old, request
    return validate_policy(new)


def validate_policy(policy: ImagePolicy | ClusterImagePolicy) -> Allowed | Denied:
    """Return what is wrong with a policy by itself."""
    spec, causes = policy.spec, []
    for path, patterns in (("spec.match.images", spec.match.images), ("spec.exempt", spec.exempt)):
        for index, text in enumerate(patterns):
            try:
                parse_pattern(text)
            except ImageReferenceError as error:
                causes.append(invalid(f"{path}[{index}]", text, str(error)))
    if policy.metadata.namespace and spec.match.namespace_selector is not None:
        causes.append(
            invalid(
                "spec.match.namespaceSelector",
                {},
                "an ImagePolicy applies to its own namespace: remove the selector",
            )
        )
    require = spec.require
    if require is None and spec.vulnerability is None:
        causes.append(required("spec.require", "set spec.require or spec.vulnerability"))
    if require is None and spec.provenance is not None:
        causes.append(
            required(
                "spec.require",
                "spec.provenance needs spec.require: it applies to the attestations in it",
            )
        )
    references = [] if require is None else [*(require.all_of or ()), *(require.any_of or ())]
    if require is not None and require.threshold is not None:
        references += require.threshold.authorities
        if require.threshold.count > len(require.threshold.authorities):
            total = len(require.threshold.authorities)
            causes.append(
                invalid(
                    "spec.require.threshold.count",
                    require.threshold.count,
                    f"there are only {total} authorities",
                )
            )
    if not policy.metadata.namespace and any(
        one.kind == "AttestationAuthority" for one in references
    ):
        causes.append(
            invalid(
                "spec.require",
                "AttestationAuthority",
                "a ClusterImagePolicy must refer to ClusterAttestationAuthorities: others can be "
                "changed in a namespace",
            )
        )
    return Denied(*causes) if causes else Allowed()
