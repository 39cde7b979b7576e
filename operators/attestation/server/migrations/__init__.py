"""The steps from one schema of the database to the next, for Alembic.

What belongs here: one module per step in `versions`, never changed once released. What does not: the schema of today
(`tables`).
"""

from __future__ import annotations
