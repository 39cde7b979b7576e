"""What the API does: each operation, whatever protocol and version it came by.

What belongs here: permissions, checks that need the database, transactions, and telling of changes. What does not:
HTTP and gRPC, statements (`store`) and schemas (`schema`, `versions`). Needs the extra `attestation`.

Guarantees: a write is in the audit log or has not happened; a batch is written as a whole or not at all; an answer of
success means that the database has committed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from operatorkit.clock import Clock
from operators.attestation.server import store
from operators.attestation.server.access import Access, Caller, ResourceName, Verb
from operators.attestation.server.database import Database
from operators.attestation.server.errors import ApiError
from operators.attestation.server.filter_sql import condition
from operators.attestation.server.filters import parse
from operators.attestation.server.masks import patched, read_mask
from operators.attestation.server.names import (
    Collection,
    EntityName,
    check_id,
    check_parent,
    parse_name,
    project_of,
)
from operators.attestation.server.pages import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    Listing,
    read_token,
    token_for,
)
from operators.attestation.server.tables import notes, occurrences, projects
from operators.attestation.server.versions import Version

__all__ = ["MAX_BATCH", "Paging", "Service"]

JSONObject = dict[str, Any]

MAX_BATCH: Final = 1000
_MAX_CHANGES = 1000
_OTHER_REPLICAS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Paging:
    """What a list request may have."""

    filter: str = ""
    size: int = 0
    token: str = ""


class Service:
    """The operations. `version` is that of the bodies which are given and returned."""

    def __init__(
        self,
        database: Database,
        access: Access,
        *,
        clock: Clock,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._database = database
        self.access = access
        self._clock = clock
        self._new_id = new_id
        self._changed = asyncio.Event()

    # Objects of both collections -------------------------------------------------------------------------------------

    async def get(
        self, caller: Caller, version: Version, collection: Collection, name: str
    ) -> JSONObject:
        """Return one object."""
        entity = parse_name(name, collection)
        await self._require(caller, "get", collection, entity.parent)
        async with self._database.read() as connection:
            return store.shown(version, collection, await store.find(connection, collection, name))

    async def list_objects(
        self, caller: Caller, version: Version, collection: Collection, parent: str, paging: Paging
    ) -> JSONObject:
        """Return a page of the objects of a parent: `{notes: [...], nextPageToken}`."""
        check_parent(parent)
        await self._require(caller, "list", collection, parent)
        table = notes if collection == "notes" else occurrences
        return await self._page(
            version,
            collection,
            table,
            table.c.parent == parent,
            Listing(collection, parent),
            paging,
        )

    async def update(
        self,
        caller: Caller,
        version: Version,
        collection: Collection,
        name: str,
        patch: Mapping[str, Any],
        mask: str,
    ) -> JSONObject:
        """Change an object by a field mask and return it."""
        entity = parse_name(name, collection)
        await self._require(caller, "update", collection, entity.parent)
        paths, now = read_mask(mask), self._now()
        async with self._database.write() as connection:
            row = await store.find(connection, collection, name, lock=True)
            current = store.shown(version, collection, row)
            draft = store.draft_of(
                version, collection, patched(version, collection, current, patch, paths)
            )
            _check_unchanged(row, draft)
            if collection == "occurrences":  # new content is a new attestation of the note
                await self._require(caller, "attach", "notes", parse_name(row.note, "notes").parent)
            changed = await store.replace(connection, row, draft, now=now)
            await store.add_audit(
                connection, caller=caller.name, action="update", name=name, now=now, draft=draft
            )
        self._notify()
        return store.shown(version, collection, changed)

    async def delete(self, caller: Caller, collection: Collection, name: str) -> None:
        """Delete an object; a note only when no occurrence refers to it."""
        entity = parse_name(name, collection)
        await self._require(caller, "delete", collection, entity.parent)
        now = self._now()
        async with self._database.write() as connection:
            if collection == "notes":
                query = select(occurrences.c.name).where(occurrences.c.note == name).limit(1)
                used_by = (await connection.execute(query)).scalar()
                if used_by is not None:
                    raise ApiError(
                        "FAILED_PRECONDITION",
                        f"{name} has occurrences, such as {used_by}: delete them first",
                    )
            row = await store.remove(connection, collection, name)
            draft = store.Draft(collection, row.body)
            await store.add_audit(
                connection, caller=caller.name, action="delete", name=name, now=now, draft=draft
            )
        self._notify()

    # Notes -----------------------------------------------------------------------------------------------------------

    async def create_notes(
        self, caller: Caller, version: Version, parent: str, bodies: Mapping[str, Mapping[str, Any]]
    ) -> list[JSONObject]:
        """Create notes by their ids, all or none."""
        check_parent(parent)
        _check_batch(len(bodies))
        await self._require(caller, "create", "notes", parent)
        drafts = []
        for note_id, body in bodies.items():
            name = str(EntityName(parent, "notes", check_id(note_id, field="noteId")))
            if body.get("name") not in (None, "", name):
                raise ApiError(
                    "INVALID_ARGUMENT",
                    f"the note has the name {body['name']!r}, but it is created as {name!r}",
                )
            drafts.append((name, store.draft_of(version, "notes", body)))
        return await self._create(caller, version, parent, drafts)

    async def note_occurrences(
        self, caller: Caller, version: Version, name: str, paging: Paging
    ) -> JSONObject:
        """Return a page of the occurrences of a note, of whatever project."""
        entity = parse_name(name, "notes")
        await self._require(caller, "list", "occurrences", entity.parent)
        listing = Listing("noteOccurrences", name)
        found = await self._page(
            version, "occurrences", occurrences, occurrences.c.note == name, listing, paging
        )
        if not found["occurrences"]:  # a note with occurrences exists
            async with self._database.read() as connection:
                await store.find(connection, "notes", name)
        return found

    # Occurrences -----------------------------------------------------------------------------------------------------

    async def create_occurrences(
        self, caller: Caller, version: Version, parent: str, bodies: Sequence[Mapping[str, Any]]
    ) -> list[JSONObject]:
        """Create occurrences, all or none.

        Each note must exist and be of the same kind, and the caller needs the permission to attach to it.
        """
        check_parent(parent)
        _check_batch(len(bodies))
        await self._require(caller, "create", "occurrences", parent)
        drafts = [
            (
                str(EntityName(parent, "occurrences", self._new_id())),
                store.draft_of(version, "occurrences", body),
            )
            for body in bodies
        ]
        for _, draft in drafts:
            if not draft.resource:
                raise ApiError(
                    "INVALID_ARGUMENT",
                    "resourceUri is missing: name the resource that the occurrence is about",
                )
        for note in sorted({draft.note for _, draft in drafts}):
            await self._require(
                caller, "attach", "notes", parse_name(note, "notes", field="noteName").parent
            )
        return await self._create(caller, version, parent, drafts)

    async def occurrence_note(self, caller: Caller, version: Version, name: str) -> JSONObject:
        """Return the note of an occurrence; the permission to read the occurrence suffices."""
        entity = parse_name(name, "occurrences")
        await self._require(caller, "get", "occurrences", entity.parent)
        async with self._database.read() as connection:
            row = await store.find(connection, "occurrences", name)
            return store.shown(version, "notes", await store.find(connection, "notes", row.note))

    async def vulnerability_summary(self, caller: Caller, parent: str, filter_: str) -> JSONObject:
        """Count the vulnerabilities of a parent by resource and severity."""
        check_parent(parent)
        await self._require(caller, "list", "occurrences", parent)
        conditions = [occurrences.c.parent == parent, *_conditions("occurrences", filter_)]
        async with self._database.read() as connection:
            return {"counts": await store.vulnerability_counts(connection, *conditions)}

    # Projects --------------------------------------------------------------------------------------------------------

    async def create_project(self, caller: Caller, name: str) -> JSONObject:
        """Create a project. Projects are also created by the first object in them."""
        project = project_of(check_parent(name))
        await self._require(caller, "create", "projects", name)
        now = self._now()
        async with self._database.write() as connection:
            if not await store.ensure_project(connection, project, now=now):
                raise ApiError("ALREADY_EXISTS", f"{name} exists already")
            await store.add_audit(
                connection, caller=caller.name, action="create", name=name, now=now
            )
        return {"name": name}

    async def get_project(self, caller: Caller, name: str) -> JSONObject:
        """Return a project."""
        check_parent(name)
        await self._require(caller, "get", "projects", name)
        async with self._database.read() as connection:
            found = (
                await connection.execute(select(projects.c.name).where(projects.c.name == name))
            ).scalar()
        if found is None:
            raise ApiError("NOT_FOUND", f"{name} does not exist")
        return {"name": found}

    async def list_projects(self, caller: Caller, paging: Paging) -> JSONObject:
        """Return a page of all projects."""
        await self._require(caller, "list", "projects", "")
        if paging.filter.strip():
            raise ApiError("INVALID_ARGUMENT", "projects are listed without a filter: remove it")
        listing = Listing("projects", "")
        after = read_token(self._database.page_key, listing, paging.token)
        rows, last = await store.page(self._database, projects, after=after, size=_size(paging))
        return self._listed("projects", [{"name": row.name} for row in rows], listing, last)

    async def delete_project(self, caller: Caller, name: str) -> None:
        """Delete an empty project."""
        check_parent(name)
        await self._require(caller, "delete", "projects", name)
        now = self._now()
        async with self._database.write() as connection:
            for table in (notes, occurrences):
                inside = (table.c.parent == name) | table.c.parent.startswith(
                    f"{name}/", autoescape=True
                )
                if (
                    await connection.execute(select(table.c.id).where(inside).limit(1))
                ).first() is not None:
                    raise ApiError(
                        "FAILED_PRECONDITION", f"{name} has {table.name}: delete them first"
                    )
            done = await connection.execute(delete(projects).where(projects.c.name == name))
            if done.rowcount == 0:
                raise ApiError("NOT_FOUND", f"{name} does not exist")
            await store.add_audit(
                connection, caller=caller.name, action="delete", name=name, now=now
            )

    # Changes ---------------------------------------------------------------------------------------------------------

    async def changes(
        self, caller: Caller, *, after: int, wait_seconds: float, limit: int = _MAX_CHANGES
    ) -> JSONObject:
        """Return what changed after a sequence number; without changes, wait for some.

        The answer is `{changes: [...], next: N}`: N is for the next request, and is not more than `limit` changes away.
        With a negative `after`, there are no changes, and N is that of the last one.
        """
        await self._require(caller, "list", "changes", "")
        if after < 0:
            async with self._database.read() as connection:
                return {"changes": [], "next": await store.last_change(connection)}
        deadline = self._clock.monotonic() + wait_seconds
        while True:
            self._changed.clear()
            async with self._database.read() as connection:
                found = await store.read_changes(
                    connection, after=after, limit=max(1, min(limit, _MAX_CHANGES))
                )
            left = deadline - self._clock.monotonic()
            if found or left <= 0:
                return {"changes": found, "next": found[-1]["sequence"] if found else after}
            with suppress(TimeoutError):
                # another replica does not notify this one: poll
                pause = left if self._database.is_sqlite else min(left, _OTHER_REPLICAS_SECONDS)
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    # What they share -------------------------------------------------------------------------------------------------

    async def _require(
        self, caller: Caller, verb: Verb, resource: ResourceName, parent: str
    ) -> None:
        project = project_of(parent) if parent else ""
        if not await self.access.may(caller, verb, resource, project):
            where = f"projects/{project}" if project else "all projects"
            raise ApiError(
                "PERMISSION_DENIED", f"{caller.name!r} may not {verb} {resource} in {where}"
            )

    async def _create(
        self,
        caller: Caller,
        version: Version,
        parent: str,
        drafts: Sequence[tuple[str, store.Draft]],
    ) -> list[JSONObject]:
        now = self._now()
        made: list[JSONObject] = []
        async with self._database.write() as connection:
            await store.ensure_project(connection, project_of(parent), now=now)
            await _check_notes(
                connection, [draft for _, draft in drafts if draft.collection == "occurrences"]
            )
            for name, draft in drafts:
                row = await store.create(connection, draft, name=name, parent=parent, now=now)
                await store.add_audit(
                    connection, caller=caller.name, action="create", name=name, now=now, draft=draft
                )
                made.append(store.shown(version, draft.collection, row))
        self._notify()
        return made

    async def _page(
        self,
        version: Version,
        collection: Collection,
        table: Table,
        scope: ColumnElement[bool],
        listing: Listing,
        paging: Paging,
    ) -> JSONObject:
        conditions = _conditions(collection, paging.filter)
        listing = Listing(listing.operation, listing.scope, paging.filter)
        after = read_token(self._database.page_key, listing, paging.token)
        rows, last = await store.page(
            self._database, table, scope, *conditions, after=after, size=_size(paging)
        )
        return self._listed(
            collection, [store.shown(version, collection, row) for row in rows], listing, last
        )

    def _listed(
        self, name: str, items: list[JSONObject], listing: Listing, last: int | None
    ) -> JSONObject:
        token = (
            {}
            if last is None
            else {"nextPageToken": token_for(self._database.page_key, listing, last)}
        )
        return {name: items, **token}

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)

    def _notify(self) -> None:
        self._changed.set()


async def _check_notes(connection: AsyncConnection, drafts: Sequence[store.Draft]) -> None:
    """Raise ApiError unless each note exists and is of the kind of its occurrences."""
    kinds: dict[str, str] = {}
    for draft in drafts:
        if draft.note not in kinds:
            kinds[draft.note] = (await store.find(connection, "notes", draft.note)).kind
        if kinds[draft.note] != draft.kind:
            raise ApiError(
                "INVALID_ARGUMENT",
                f"the occurrence is of kind {draft.kind}, but its note {draft.note} is of kind {kinds[draft.note]}: "
                "refer to a note of the same kind",
            )


def _check_unchanged(row: Row[Any], draft: store.Draft) -> None:
    if row.kind != draft.kind:
        raise ApiError(
            "INVALID_ARGUMENT", f"{row.name} is of kind {row.kind} and cannot become {draft.kind}"
        )
    if draft.collection == "occurrences" and (row.note, row.resource) != (
        draft.note,
        draft.resource,
    ):
        raise ApiError(
            "INVALID_ARGUMENT",
            f"{row.name} cannot get another note or resource: create another occurrence instead",
        )


def _check_batch(count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise ApiError("INVALID_ARGUMENT", f"a batch has {count} objects: give 1 to {MAX_BATCH}")


def _conditions(collection: Collection, filter_: str) -> list[ColumnElement[bool]]:
    node = parse(filter_)
    return [] if node is None else [condition(collection, node)]


def _size(paging: Paging) -> int:
    if paging.size < 0:
        raise ApiError(
            "INVALID_ARGUMENT", f"pageSize is {paging.size}: give a number of 1 to {MAX_PAGE_SIZE}"
        )
    return min(paging.size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
