"""Admission: Pods and objects with a pod template are denied when an image lacks the attestations that policy asks for.

What belongs here: which requests are judged, and the words of the answer. What does not: the decision (`policy`) and
the facts (`facts`).

A request that changes no image is admitted: whatever runs already must be able to change its labels, its status and
its finalizers, and to be deleted. Deletions and status updates are never asked about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubernetes.client.models import (
    V1CronJob,
    V1DaemonSet,
    V1Deployment,
    V1Job,
    V1Pod,
    V1ReplicaSet,
    V1ReplicationController,
    V1StatefulSet,
)

from operatorkit import AdmissionRequest, Allowed, Denied
from operatorkit.context import Reader
from operatorkit.webhooks import invalid
from operators.attestation.api import ClusterImagePolicy, ImagePolicy
from operators.attestation.app import app
from operators.attestation.facts import look_up
from operators.attestation.images import ImageReferenceError, parse_pattern
from operators.attestation.memory import FactMemory
from operators.attestation.observe import authorities_for, policies_for, servers
from operators.attestation.policy import Authority, AuthorityKey, Judgement, Verdict, judge, plan, questions
from operators.attestation.workloads import images_in

__all__ = ["judge_request", "validate_policy"]

TIMEOUT: Final = timedelta(seconds=5)
_LOOK_UP_SECONDS = 3.0
_EXCLUDED = {
    "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]
}
_memory = FactMemory()
_log = logging.getLogger("operators.attestation")

WORKLOADS: Final[tuple[type[Any], ...]] = (
    V1Pod,
    V1Deployment,
    V1ReplicaSet,
    V1StatefulSet,
    V1DaemonSet,
    V1Job,
    V1CronJob,
    V1ReplicationController,
)


async def judge_request(new: Any, old: Any, request: AdmissionRequest, *, reader: Reader) -> Allowed | Denied:
    """Judge the images of one request."""
    del new, old  # the objects as they were sent have all images, also those in fields that are newer than the models
    kind = request.kind.kind
    uses = images_in(kind, request.object)
    known = {use.image for use in images_in(kind, request.old_object)}
    fresh = [use for use in uses if use.image not in known]
    if not fresh:
        return Allowed()
    now = datetime.now(UTC)
    judgements = plan(fresh, policies_for(request.namespace, reader))
    if not judgements:
        return Allowed()
    verdict = await _verdict(judgements, authorities_for(request.namespace, reader), reader, now)
    warnings = [str(problem) for problem in verdict.warned]
    for problem in verdict.audited:
        _log.warning(
            "%s %s/%s is admitted by an audit: %s", request.kind.kind, request.namespace, request.name, problem
        )
    if verdict.denied:
        return Denied(*(str(problem) for problem in verdict.denied), warnings=warnings)
    return Allowed(warnings=warnings)


async def _verdict(
    judgements: Sequence[Judgement], authorities: Mapping[AuthorityKey, Authority], reader: Reader, now: datetime
) -> Verdict:
    """Judge by what is remembered if that suffices to admit, and otherwise by what is there now."""
    asked = questions(judgements, authorities)
    moment = asyncio.get_running_loop().time
    known = _memory.recall(asked, authorities, moment())
    if asked and len(known) == len(asked):
        verdict = judge(judgements, authorities, known, now)
        if verdict == Verdict():
            return verdict
    begun = moment()
    facts = await look_up(asked, authorities, servers(reader), now=now, seconds=_LOOK_UP_SECONDS) if asked else {}
    _memory.remember(facts, authorities, begun)
    return judge(judgements, authorities, facts, now)


for _kind in WORKLOADS:
    app.validate(
        _kind,
        subresources=["ephemeralcontainers"] if _kind is V1Pod else [],
        timeout=TIMEOUT,
        namespace_selector=_EXCLUDED,
    )(judge_request)


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
                "spec.match.namespaceSelector", {}, "an ImagePolicy is about its own namespace: remove the selector"
            )
        )
    require = spec.require
    references = [*(require.all_of or ()), *(require.any_of or ())]
    if require.threshold is not None:
        references += require.threshold.authorities
        if require.threshold.count > len(require.threshold.authorities):
            total = len(require.threshold.authorities)
            causes.append(
                invalid("spec.require.threshold.count", require.threshold.count, f"there are {total} authorities only")
            )
    if not policy.metadata.namespace and any(one.kind == "AttestationAuthority" for one in references):
        causes.append(
            invalid(
                "spec.require",
                "AttestationAuthority",
                "a ClusterImagePolicy refers to ClusterAttestationAuthorities: others can be changed in a namespace",
            )
        )
    return Denied(*causes) if causes else Allowed()
