"""Fixtures that need an event loop; the plugin loads them where pytest-asyncio is installed."""

from __future__ import annotations
