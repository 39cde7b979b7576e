"""The metadata server: the Grafeas API, in three versions over REST and in v1 over gRPC.

What belongs here: notes, occurrences and projects, their storage, filters, pages, permissions, audit and changes. What
does not: what an occurrence proves (`operators.attestation.signatures`) and what follows from it (policy, admission).

    REST ──> routes ──┐                                         ┌──> filters (text -> AST) ──> filter_sql
    gRPC ─────────────┴──> service: access, schema, versions ───┴──> store ──> SQLite or PostgreSQL
                                                                      └──> audit: who did what; the change stream

A module of this package that is imported by others of the operator needs no third-party package of the extra
`attestation` unless it says so.
"""

from __future__ import annotations
