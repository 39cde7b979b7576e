"""Requests and answers, one step above HTTP.

What belongs here: the values that `server` and `local` give and get. What does not: making answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from operatorkit.controlplane.embedded.request.info import RequestInfo, read_request_info, verb_of
from operatorkit.controlplane.embedded.request.user import User

__all__ = ["Answer", "Request", "StreamAnswer", "bounded"]

_WARNINGS_MAX = 4096  # letters, of all warnings together
_WARNING_MAX = 256  # of each, once they were too many


class Request(NamedTuple):
    """One request, headers and body read."""

    method: str
    raw_path: str
    query: Mapping[str, str]
    dry_run: tuple[str, ...]
    accept: str
    content_type: str
    user_agent: str
    body: bytes
    user: User
    host: str
    info: RequestInfo
    verb: str

    @classmethod
    def of(
        cls,
        method: str,
        raw_path: str,
        query: Mapping[str, str],
        *,
        user: User,
        dry_run: tuple[str, ...] = (),
        accept: str = "",
        content_type: str = "",
        user_agent: str = "",
        body: bytes = b"",
        host: str = "",
    ) -> Request:
        """Build a request; info and verb are read from the rest."""
        info = read_request_info(raw_path)
        verb = verb_of(method, info, query)
        return cls(
            method,
            raw_path,
            query,
            dry_run,
            accept,
            content_type,
            user_agent,
            body,
            user,
            host,
            info,
            verb,
        )


class Answer(NamedTuple):
    """A complete answer."""

    body: bytes
    status: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = MappingProxyType({})
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """An answer whose body comes in pieces, until the client or the other end has enough."""

    pieces: AsyncIterator[bytes]
    media: str = "text/plain"


def bounded(warnings: Iterable[str]) -> list[str]:
    """Return the warnings that fit into an answer's headers: when they do not, each is cut, and the last ones go."""
    texts = list(warnings)
    if sum(map(len, texts)) <= _WARNINGS_MAX:
        return texts
    result, written = [], 0
    for text in texts:
        if written >= _WARNINGS_MAX:
            break
        result.append(text[:_WARNING_MAX])
        written += len(result[-1])
    return result
