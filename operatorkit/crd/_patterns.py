"""Regular expressions as the API server understands them: RE2, not Python's.

What belongs here: compiling and matching. What does not: which field has which pattern.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

__all__ = ["pattern_error", "search"]


# The library says these things in its own words, and Go in others.
_GO_WORDS = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "trailing \\": "trailing backslash at end of expression",
    "invalid repetition size": "invalid repeat count",
}


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def pattern_error(pattern: str) -> str | None:
    """Say why RE2 rejects a pattern, or None when it does not. Look-around and back-references are rejected."""
    try:
        _compile(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a regular expression"
        what, _, where = (reason.decode() if isinstance(reason, bytes) else str(reason)).partition(
            ": "
        )
        return f"error parsing regexp: {_GO_WORDS.get(what, what)}: `{where}`"
    return None


def search(pattern: str, text: str) -> bool:
    """Return whether a pattern matches anywhere in a text; an invalid pattern matches nothing."""
    if pattern_error(pattern) is not None:
        return False
    # lone surrogates cannot be encoded; Go has replaced them when it read the JSON
    readable = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return _compile(pattern).search(readable) is not None
