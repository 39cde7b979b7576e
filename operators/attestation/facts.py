"""Facts: the attestations of digests, from a metadata server, verified.

What belongs here: requests to metadata servers, bounded in time and number, and verifying what comes. What does not:
what follows (`policy`).

An attestation counts for an authority only if it refers to the authority's note: the server is asked for the
occurrences of the note, and each is checked again. Occurrences that prove nothing are passed over; when there are more
than MAX_OCCURRENCES, or they take longer than a second, the rest is not looked at.

The same question at the same time is one request (`flights`): of many replicas of a Deployment, say, or of a validation
that runs beside an admission.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from operators.attestation.api import GrafeasServer, GrafeasServerSpec
from operators.attestation.flights import Flights
from operators.attestation.memory import FactMemory
from operators.attestation.policy import Authority, AuthorityKey, Evidence, Question
from operators.attestation.signatures import Rejected, SignedBytes, Verified, verify
from operators.attestation.signatures.pgp import claimed_issuer, fingerprints_of
from operators.attestation.vulnerabilities import Scan, ScanQuestion, read_scan

__all__ = [
    "MAX_OCCURRENCES",
    "headers_for",
    "look_up",
    "look_up_scans",
    "signed_bytes",
    "tls_for",
    "verified",
]

Q = TypeVar("Q")
A = TypeVar("A")

MAX_OCCURRENCES: Final = 1000
MAX_VULNERABILITIES: Final = 10_000
_PAGE_SIZE = 200
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_AT_ONCE = 8
_VERIFY_SECONDS = 1.0
# What takes less than the way to a thread and back, which waits for two turns of the scheduler.
_FEW_SIGNATURES = 4
_FEW_BYTES = 64 * 1024


class _UnavailableError(Exception):
    """A server did not answer; the message says what happened."""


async def look_up(
    questions: Sequence[Question],
    authorities: Mapping[AuthorityKey, Authority],
    servers: Mapping[str, GrafeasServer],
    *,
    now: datetime,
    seconds: float,
    flights: Flights | None = None,
    memory: FactMemory | None = None,
    fresh: bool = False,
) -> dict[Question, Evidence]:
    """Answer all questions within `seconds`; what is not known by then is unavailable.

    `flights` are the look-ups under way that this joins; with `fresh`, only those that begin after the call. `memory`
    keeps what was verified.
    """
    shared = Flights() if flights is None else flights

    async def one(question: Question) -> Evidence:
        authority = authorities[question.authority]
        server = servers.get(authority.server)
        if server is None:
            return Evidence(unavailable=f"there is no GrafeasServer {authority.server!r}")

        async def request() -> Evidence:
            begun = asyncio.get_running_loop().time()
            async with _session(seconds) as session:
                found = await _evidence(session, server, authority, question.digest, now)
            if memory is not None:
                memory.remember({question: found}, authorities, begun)
            return found

        key = (*_identity(server), authority, question.digest)
        return await shared.join(
            key, request, suffices=lambda found: not fresh and bool(found.verified)
        )

    return await _answered(questions, one, lambda why: Evidence(unavailable=why), seconds)


async def look_up_scans(
    questions: Sequence[ScanQuestion],
    servers: Mapping[str, GrafeasServer],
    *,
    seconds: float,
    flights: Flights | None = None,
) -> dict[ScanQuestion, Scan]:
    """Answer all questions about scans within `seconds`; what is not known by then is unavailable.

    `flights` are the look-ups under way that this joins, if they begin after the call: whether an older one would
    deny is for the policy to say.
    """
    shared = Flights() if flights is None else flights

    async def one(question: ScanQuestion) -> Scan:
        server = servers.get(question.server)
        if server is None:
            return Scan(unavailable=f"there is no GrafeasServer {question.server!r}")

        async def request() -> Scan:
            async with _session(seconds) as session:
                return await _scan(session, server, question)

        return await shared.join((*_identity(server), question), request, suffices=lambda _: False)

    return await _answered(questions, one, lambda why: Scan(unavailable=why), seconds)


def _session(seconds: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds), trust_env=False)


def _identity(server: GrafeasServer) -> tuple[str, str | None, str | None]:
    """Return what makes two requests to a server the same."""
    return server.spec.url, server.spec.ca_bundle, server.spec.token_file


async def _answered(
    questions: Sequence[Q],
    answer: Callable[[Q], Awaitable[A]],
    unavailable: Callable[[str], A],
    seconds: float,
) -> dict[Q, A]:
    """Answer questions, a few at a time; an error of a server is the answer `unavailable`."""
    if not questions:
        return {}
    limit = asyncio.Semaphore(_AT_ONCE)
    deadline = asyncio.get_running_loop().time() + seconds

    async def one(question: Q) -> A:
        try:
            async with asyncio.timeout_at(deadline), limit:
                return await answer(question)
        except _UnavailableError as error:
            return unavailable(str(error))
        except TimeoutError:
            return unavailable(f"it did not answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return unavailable(" ".join(str(error).split()) or type(error).__name__)

    found = await asyncio.gather(*(one(question) for question in questions))
    return dict(zip(questions, found, strict=True))


async def _scan(
    session: aiohttp.ClientSession, server: GrafeasServer, question: ScanQuestion
) -> Scan:
    """Return what a scanner says of a digest. Raises _UnavailableError when that is more than can be read."""
    filter_ = f'digest="{question.digest}" AND (kind="VULNERABILITY" OR kind="DISCOVERY")'
    found: list[Any] = []
    token = ""
    while len(found) < MAX_VULNERABILITIES:
        page = await _page(session, server, question.parent, filter_, token)
        found += [one for one in page.get("occurrences") or [] if isinstance(one, Mapping)]
        token = page.get("nextPageToken") or ""
        if not token:
            return read_scan(found, question.digest)
    raise _UnavailableError(
        f"{question.parent} has more than {MAX_VULNERABILITIES} vulnerabilities for it"
    )


async def _evidence(
    session: aiohttp.ClientSession,
    server: GrafeasServer,
    authority: Authority,
    digest: str,
    now: datetime,
) -> Evidence:
    """Return the statements that the authority's keys have made, and why other signatures do not count."""
    found: list[SignedBytes] = []
    token, seen = "", 0
    while seen < MAX_OCCURRENCES:
        page = await _page(session, server, authority.note, f'digest="{digest}"', token)
        occurrences = page.get("occurrences") or []
        for occurrence in occurrences:
            found += signed_bytes(occurrence, authority.note)
        seen += len(occurrences)
        token = page.get("nextPageToken") or ""
        if not token or not occurrences:
            break
    clock = asyncio.get_running_loop().time
    arguments = (found, authority, digest, now, clock, clock() + _VERIFY_SECONDS)
    if len(found) <= _FEW_SIGNATURES and all(
        len(one.signature) + len(one.payload) <= _FEW_BYTES for one in found
    ):
        return verified(*arguments)
    return await asyncio.to_thread(verified, *arguments)


def verified(
    found: Sequence[SignedBytes],
    authority: Authority,
    digest: str,
    now: datetime,
    clock: Callable[[], float],
    deadline: float,
) -> Evidence:
    """Verify signatures until the deadline; what has been verified by then counts."""
    statements: dict[tuple[str, str | None], Verified] = {}
    rejection: str | None = None
    of_authority = frozenset().union(
        *(fingerprints_of(key) for key in authority.keys if key.type == "PGP")
    )
    distinct = dict.fromkeys(found)  # a copy says nothing new
    # those that claim to be by one of the keys first: junk around them must not use up the time
    for signed in sorted(
        distinct, key=lambda one: claimed_issuer(one.signature) not in of_authority
    ):
        if clock() > deadline:
            rejection = f"not all of {len(found)} signatures for it were verified in time"
            break
        result = verify(signed, authority.keys, now)
        if isinstance(result, Rejected):
            rejection = rejection or result.message
        elif result.statement.digest != digest:
            rejection = (
                rejection or f"an occurrence holds a signature over {result.statement.digest}"
            )
        else:
            key = (result.fingerprint, result.statement.reference or result.statement.name)
            statements[key] = _younger(statements.get(key), result)
    return Evidence(tuple(statements.values()), rejection)


def _younger(known: Verified | None, found: Verified) -> Verified:
    if known is None or known.signed_at is None:
        return found
    return found if found.signed_at is not None and found.signed_at > known.signed_at else known


def signed_bytes(occurrence: Any, note: str) -> Iterator[SignedBytes]:
    """Return the signatures of an occurrence of v1, if it is an attestation of the note."""
    if not isinstance(occurrence, Mapping) or occurrence.get("noteName") != note:
        return
    if isinstance(attestation := occurrence.get("attestation"), Mapping):
        yield from _of_attestation(attestation)
    dsse = occurrence.get("dsseAttestation")
    envelope = dsse.get("envelope") if isinstance(dsse, Mapping) else None
    if isinstance(envelope, Mapping):
        yield from _of_envelope(envelope)


def _of_attestation(attestation: Mapping[str, Any]) -> Iterator[SignedBytes]:
    payload = _decoded(attestation.get("serializedPayload", ""))
    for signature in attestation.get("signatures") or ():
        content = (
            _decoded(signature.get("signature", "")) if isinstance(signature, Mapping) else None
        )
        if content and payload is not None:
            yield SignedBytes(content, payload)
    for jwt in attestation.get("jwts") or ():
        token = jwt.get("compactJwt") if isinstance(jwt, Mapping) else None
        if isinstance(token, str) and token:
            yield SignedBytes(token.encode(), form="jwt")


def _of_envelope(envelope: Mapping[str, Any]) -> Iterator[SignedBytes]:
    payload, payload_type = _decoded(envelope.get("payload", "")), envelope.get("payloadType")
    for signature in envelope.get("signatures") or ():
        content = _decoded(signature.get("sig", "")) if isinstance(signature, Mapping) else None
        if content and payload and isinstance(payload_type, str):
            yield SignedBytes(content, payload, "dsse", payload_type)


def _decoded(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


async def _page(
    session: aiohttp.ClientSession, server: GrafeasServer, parent: str, filter_: str, token: str
) -> Mapping[str, Any]:
    query = {
        "filter": filter_,
        "pageSize": str(_PAGE_SIZE),
        **({"pageToken": token} if token else {}),
    }
    headers = await headers_for(server.spec)
    url = f"{server.spec.url}/v1/{parent}/occurrences"
    async with session.get(
        url, params=query, headers=headers, ssl=tls_for(server.spec), allow_redirects=False
    ) as response:
        body = await response.content.read(_MAX_ANSWER_BYTES + 1)
        while not response.content.at_eof() and len(body) <= _MAX_ANSWER_BYTES:
            body += await response.content.read(_MAX_ANSWER_BYTES + 1 - len(body))
        if len(body) > _MAX_ANSWER_BYTES:
            raise _UnavailableError(
                f"{server.spec.url} answered more than {_MAX_ANSWER_BYTES} bytes"
            )
        if response.status == 404:
            return {}  # no such note: nothing was attested
        if response.status != 200:
            raise _UnavailableError(
                f"{server.spec.url} answered HTTP {response.status}: {body[:200].decode(errors='replace')}"
            )
    content = json.loads(body) if len(body) <= _FEW_BYTES else await asyncio.to_thread(_json, body)
    if not isinstance(content, Mapping) or not isinstance(content.get("occurrences") or [], list):
        raise _UnavailableError(f"{server.spec.url} did not respond with a list of occurrences")
    return content


def _json(body: bytes) -> Any:
    return json.loads(body)


async def headers_for(spec: GrafeasServerSpec) -> dict[str, str]:
    """Return the headers that authenticate at a server. Raises OSError when the token cannot be read."""
    if spec.token_file is None:
        return {}
    secret = await asyncio.to_thread(Path(spec.token_file).read_text, encoding="utf-8")
    return {"Authorization": f"Bearer {secret.strip()}"}


def tls_for(spec: GrafeasServerSpec) -> ssl.SSLContext | bool:
    """Return how the certificate of a server is verified. Raises OSError for a CA bundle that cannot be decoded."""
    return True if spec.ca_bundle is None else _context(spec.ca_bundle)


@lru_cache(maxsize=64)
def _context(ca_bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca_bundle)
