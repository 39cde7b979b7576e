"""Who sends a request, and what they may do.

What belongs here: callers, and permissions from a file. What does not: Kubernetes' own (`kubernetes_access`), and which
request needs which permission (`service`).

A permission is a verb on a resource in a project. Attaching an occurrence to a note is one of its own: without it,
whoever may write occurrences somewhere could attest in the name of any authority.

    verbs      get, list, create, update, delete, attach (of notes: an occurrence that refers to the note is created)
    resources  projects, notes, occurrences, changes
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from operatorkit.errors import InputError
from operators.attestation.server.errors import ApiError

__all__ = [
    "Access",
    "Caller",
    "Credentials",
    "FileAccess",
    "OpenAccess",
    "ResourceName",
    "Verb",
    "read_access_file",
]

Verb = Literal["get", "list", "create", "update", "delete", "attach"]
ResourceName = Literal["projects", "notes", "occurrences", "changes"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a request: a bearer token, and the name in a client certificate that TLS has verified."""

    token: str | None = None
    certificate_name: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    name: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uid: str = ""


class Access(Protocol):
    """Authentication and authorisation."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the caller. Raises ApiError with UNAUTHENTICATED."""

    async def may(self, caller: Caller, verb: Verb, resource: ResourceName, project: str) -> bool:
        """Return whether the caller may do that in a project; the empty project is all of them."""


class OpenAccess:
    """Everyone may do everything: for one's own machine."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the one caller that there is."""
        del credentials
        return Caller("anonymous")

    async def may(self, caller: Caller, verb: Verb, resource: ResourceName, project: str) -> bool:
        """Allow it."""
        del caller, verb, resource, project
        return True


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Grant(_Strict):
    projects: Annotated[list[str], Field(min_length=1)]
    resources: Annotated[
        list[Literal["*", "projects", "notes", "occurrences", "changes"]], Field(min_length=1)
    ] = ["*"]
    verbs: Annotated[
        list[Literal["*", "get", "list", "create", "update", "delete", "attach"]],
        Field(min_length=1),
    ]


class _User(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    token_sha256: Annotated[str | None, Field(alias="tokenSHA256", pattern=r"^[0-9a-f]{64}$")] = (
        None
    )
    grants: list[_Grant] = []


class _AccessFile(_Strict):
    users: Annotated[list[_User], Field(min_length=1)]


class FileAccess:
    """Users of a file, known by the SHA-256 of a token, or by the name in a client certificate."""

    def __init__(self, users: list[_User]) -> None:
        self._users = {user.name: user for user in users}
        self._tokens = [(user.token_sha256, user.name) for user in users if user.token_sha256]

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the user of the token, else of the certificate."""
        if credentials.token is not None:
            digest = hashlib.sha256(credentials.token.encode()).hexdigest()
            for known, name in self._tokens:
                if hmac.compare_digest(known, digest):
                    return Caller(name)
            raise ApiError("UNAUTHENTICATED", "the token does not belong to a user of this server")
        if credentials.certificate_name in self._users:
            return Caller(credentials.certificate_name)
        raise ApiError(
            "UNAUTHENTICATED",
            "the request has neither a known token (send Authorization: Bearer TOKEN) nor a known client certificate",
        )

    async def may(self, caller: Caller, verb: Verb, resource: ResourceName, project: str) -> bool:
        """Return whether one grant of the user has all three."""
        user = self._users.get(caller.name)
        return user is not None and any(
            ("*" in grant.projects or (project != "" and project in grant.projects))
            and ("*" in grant.resources or resource in grant.resources)
            and ("*" in grant.verbs or verb in grant.verbs)
            for grant in user.grants
        )


def read_access_file(path: Path) -> FileAccess:
    """Read users and grants from a YAML file. Raises InputError, which names the file and the field."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = _AccessFile.model_validate(content)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}") from error
    names = [user.name for user in found.users]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"{path}: there are two users named {min(repeated)!r}: give each a name of its own"
        )
    return FileAccess(found.users)
