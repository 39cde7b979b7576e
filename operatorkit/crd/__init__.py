"""Custom resource definitions as data: schemas from Python types, structural rules, rendering.

What belongs here: pure functions from types and dictionaries to dictionaries and errors. What does
not: classes of resources (`operatorkit.resource`) and clusters.
"""

from __future__ import annotations

from operatorkit.crd.structural import FieldError, SchemaError, Structural

__all__ = ["FieldError", "SchemaError", "Structural"]
