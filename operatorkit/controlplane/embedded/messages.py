"""Requests and answers, one step above HTTP.

What belongs here: the values that `server` and `local` give and get. What does not: making answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operatorkit.controlplane.embedded.address import Address, read_address, verb_of
from operatorkit.controlplane.embedded.authn import User
from operatorkit.controlplane.embedded.forms import Presenter
from operatorkit.controlplane.embedded.watching import Watch

__all__ = ["Answer", "Request", "WatchAnswer"]


@dataclass(frozen=True, slots=True)
class Request:
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
    address: Address
    verb: str

    @classmethod
    def of(cls, method: str, raw_path: str, query: Mapping[str, str], **more: Any) -> Request:
        """Build a request; address and verb are read from the rest."""
        address = read_address(raw_path)
        return cls(method, raw_path, query, address=address, verb=verb_of(method, address, query), **more)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    body: bytes
    status: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """An answer that goes on: events of `watch`, presented by `presenter`."""

    watch: Watch
    presenter: Presenter
    bookmarks: bool
    timeout_seconds: int | None
