"""Following a metadata server: what has changed there, as the status of its GrafeasServer.

What belongs here: reading the server's changes, and the reconcile function that does it every few seconds. What does
not: what follows from a change (`continuous`, which watches the status).

The position is kept in the status: after a restart, changes are followed from where they were left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp

from operatorkit.context import Context
from operatorkit.operator import Requeue
from operators.attestation import reasons
from operators.attestation.api import GrafeasServer, GrafeasServerSpec
from operators.attestation.app import app
from operators.attestation.facts import headers_for, tls_for

__all__ = ["follow"]

_EVERY: Final = timedelta(seconds=2)
_AFTER_A_FAILURE: Final = timedelta(seconds=15)
_TIMEOUT_SECONDS: Final = 5.0
_LIMIT: Final = 1000
_MAX_DIGESTS: Final = 100
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


class _ChangesError(Exception):
    """The changes cannot be read; the message says why."""


@app.reconcile(GrafeasServer)
async def follow(server: GrafeasServer, ctx: Context) -> Requeue:
    """Note what has changed in a metadata server since the last look."""
    status = server.status
    try:
        answer = await _read(server.spec, -1 if status.sequence is None else status.sequence)
    except _ChangesError as error:
        ctx.condition("Ready", False, reasons.CHANGES_NOT_READ, str(error))
        return Requeue(after=_AFTER_A_FAILURE)
    ctx.condition("Ready", True, reasons.SERVER_READY)
    after, changes = answer["next"], answer["changes"]
    if after == status.sequence:
        return Requeue(after=_EVERY)
    status.sequence = after
    if changes:
        digests = sorted(
            {change["digest"] for change in changes if isinstance(change.get("digest"), str)}
        )
        status.changed_all = len(digests) > _MAX_DIGESTS
        status.changed_digests = [] if status.changed_all else digests
    return Requeue(after=timedelta(0) if len(changes) >= _LIMIT else _EVERY)


async def _read(spec: GrafeasServerSpec, after: int) -> Mapping[str, Any]:
    """Return the changes after a number, and the next number. Raises _ChangesError."""
    url = f"{spec.url}/v1/changes"
    try:
        headers = await headers_for(spec)
        async with (
            asyncio.timeout(_TIMEOUT_SECONDS),
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(
                url,
                params={"after": str(after), "limit": str(_LIMIT)},
                headers=headers,
                ssl=tls_for(spec),
                allow_redirects=False,
            ) as response,
        ):
            body = await response.content.read(_MAX_ANSWER_BYTES)
            while not response.content.at_eof() and len(body) < _MAX_ANSWER_BYTES:
                body += await response.content.read(_MAX_ANSWER_BYTES - len(body))
            if response.status != 200:
                text = body[:200].decode(errors="replace")
                raise _ChangesError(f"{url} answered HTTP {response.status}: {text}")
            answer = json.loads(body)
    except TimeoutError as error:
        raise _ChangesError(f"{url} did not answer within {_TIMEOUT_SECONDS:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _ChangesError(
            f"{url}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    return _checked(answer, url)


def _checked(answer: Any, url: str) -> Mapping[str, Any]:
    found = answer if isinstance(answer, dict) else {}
    after, changes = found.get("next"), found.get("changes")
    if (
        not isinstance(after, int)
        or not isinstance(changes, list)
        or not all(isinstance(one, dict) for one in changes)
    ):
        raise _ChangesError(
            f"{url} did not respond with changes: check that it is a metadata server of operatorkit"
        )
    return found
