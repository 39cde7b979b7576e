"""The reasons of conditions: CamelCase words that people search for and programs match.

What belongs here: each word, once, and what it means. They are part of the stable interface: never renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AUTHORITY_NOT_FOUND",
    "AUTHORITY_READY",
    "INVALID_PATTERN",
    "KEY_NOT_VALID",
    "KEY_UNREADABLE",
    "POLICY_READY",
]

AUTHORITY_READY: Final = "AuthorityReady"
"""Condition Ready: all keys are read, and one of them counts now."""
KEY_UNREADABLE: Final = "KeyUnreadable"
"""A public key cannot be read; the others still count."""
KEY_NOT_VALID: Final = "KeyNotValid"
"""Each key is expired, revoked, or not valid yet: nothing can be verified."""
POLICY_READY: Final = "PolicyReady"
"""Condition Ready of a policy: it is understood, and its authorities exist."""
INVALID_PATTERN: Final = "InvalidPattern"
"""A pattern of a policy is not understood; images in its namespaces are denied until it is."""
AUTHORITY_NOT_FOUND: Final = "AuthorityNotFound"
"""A policy refers to an authority that does not exist: its images cannot be attested."""
