"""Randomness for pauses, from a generator of its own.

The one that all users of `random` share belongs to the program: it may have seeded it, and
hypothesis rejects tests in which it changes while examples are drawn. Clients run in threads beside
both.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["JITTER"]

JITTER: Final = random.Random()  # noqa: S311 - it spreads load, and keeps no secret
