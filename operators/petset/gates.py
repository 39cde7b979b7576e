"""Gates: checks that have to allow a disruption of a member, before its pod is evicted.

What belongs here: one evaluation, with its timeout. What does not: which members are checked, and what a denial causes
(`execute`).

    gate ──► allowed                        true; 200 to 299
         ──► denied, with a message         false; 400 to 499, the message is the body's
         ──► failed, with a message         timeout, no connection, another response, an error of the expression:
                                            denied, or with `failure: Allow` allowed
"""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import dataclass

import aiohttp
from kubernetes.client.models import V1Pod
from yarl import URL

from operatorkit import Context
from operatorkit.resource import write
from operators.petset.api import Gate, HttpGet, PetSet
from operators.petset.expression import ExpressionError, evaluate_expression, uses
from operators.petset.observe import pods_of

__all__ = ["Verdict", "evaluate"]

_LONGEST_MESSAGE = 200
_LONGEST_BODY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a gate; `failed` where it could not be evaluated, and `message` says what it said."""

    allowed: bool
    message: str = ""
    failed: bool = False
    timed_out: bool = False


async def evaluate(gate: Gate, pets: PetSet, pod_name: str, ctx: Context) -> Verdict:
    """Return whether a gate allows to disrupt a member; never later than its timeout."""
    pod = ctx.get(V1Pod, pod_name)
    if pod is None:
        return Verdict(False, f"cannot be evaluated: pod {pod_name} is not found", failed=True)
    try:
        async with asyncio.timeout(gate.timeout_seconds):
            if gate.http_get is not None:
                return await _request(gate.http_get, pod)
            return _evaluate_cel(gate.cel or "", pets, pod, ctx)
    except TimeoutError:
        message = f"did not answer within {gate.timeout_seconds} s"
        return Verdict(False, message, failed=True, timed_out=True)


# CEL ------------------------------------------------------------------------------------------------------------------


def _evaluate_cel(text: str, pets: PetSet, pod: V1Pod, ctx: Context) -> Verdict:
    variables = {
        "object": pets.write(),
        "pod": write(pod),
        "pods": [write(each) for each in pods_of(pets, ctx)] if uses(text, "pods") else [],
        "now": ctx.clock.now(),
    }
    try:
        allowed = evaluate_expression(text, variables)
    except ExpressionError as error:
        return Verdict(False, f"cannot be evaluated: {_printable(str(error))}", failed=True)
    return Verdict(allowed, "" if allowed else f"is false: {_printable(text)}")


# HTTP -----------------------------------------------------------------------------------------------------------------


async def _request(request: HttpGet, pod: V1Pod) -> Verdict:
    """Request a member's own answer: no other address can be reached through a gate, and no redirect is followed."""
    address = (pod.status.pod_ip if pod.status is not None else None) or ""
    port = _port(request.port, pod)
    if not address or port is None:
        what = "has no address" if not address else f"has no port {request.port}"
        return Verdict(False, f"cannot be evaluated: the pod {what}", failed=True)
    path, _, query = _expanded(request.path, pod).partition("?")
    url = URL.build(
        scheme=request.scheme.lower(), host=address, port=port, path=path, query_string=query
    )
    headers = {each.name: _expanded(each.value, pod) for each in request.http_headers}
    connector = aiohttp.TCPConnector(ssl=False)  # as a kubelet's probe: the member has what it has
    try:
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            body = await response.content.read(_LONGEST_BODY_BYTES)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        message = f"cannot be evaluated: {_printable(str(error) or type(error).__name__)}"
        return Verdict(False, message, failed=True)
    return _verdict_of(response.status, _printable(body.decode(errors="replace")))


def _verdict_of(status: int, body: str) -> Verdict:
    said = f"answered {status}" + (f": {body}" if body else "")
    if 200 <= status < 300:
        return Verdict(True)
    return Verdict(False, said, failed=not 400 <= status < 500)


def _port(port: int | str, pod: V1Pod) -> int | None:
    """Return the number of a port, which a container may have named."""
    if str(port).isdecimal():
        return int(port)
    containers = pod.spec.containers if pod.spec is not None else []
    named = [each for container in containers or () for each in container.ports or ()]
    return next((int(each.container_port) for each in named if each.name == port), None)


def _expanded(text: str, pod: V1Pod) -> str:
    """Return a text with the references to a member's name and namespace replaced."""
    metadata = pod.metadata
    assert metadata is not None
    values = {"POD_NAME": metadata.name or "", "POD_NAMESPACE": metadata.namespace or ""}
    for name, value in values.items():
        text = text.replace(f"$({name})", value)
    return text


def _printable(text: str) -> str:
    """Return one line of a text by others, fit for conditions: no control characters, and not long."""
    line = " ".join(text.split())
    shown = "".join(each for each in line if not unicodedata.category(each).startswith("C"))
    return shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[: _LONGEST_MESSAGE - 3]}..."
