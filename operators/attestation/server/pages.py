"""Page tokens: where the next page begins, signed, and good for one list request only.

What belongs here: making and reading tokens. What does not: queries (`store`). Pure.

A token holds the last id of a page, and an HMAC over it, the parent, the collection and the filter: a token that was
made up, or that is used with another filter or in another project, is an error rather than a page of something else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from operators.attestation.server.errors import ApiError

__all__ = ["DEFAULT_PAGE_SIZE", "MAX_PAGE_SIZE", "Listing", "read_token", "token_for"]

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000
_MAC_BYTES = 16
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list request is about: all that a page token is bound to."""

    operation: str
    scope: str
    filter: str = ""


def token_for(key: bytes, listing: Listing, last: int) -> str:
    """Return the token of the page that begins after the id `last`."""
    body = last.to_bytes(_ID_BYTES, "big")
    return base64.urlsafe_b64encode(body + _mac(key, listing, body)).decode().rstrip("=")


def read_token(key: bytes, listing: Listing, token: str) -> int:
    """Return the id after which a page begins; 0 for an empty token. Raises ApiError."""
    if not token:
        return 0
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong() from error
    body, mac = raw[:_ID_BYTES], raw[_ID_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, listing, body)):
        raise _wrong()
    return int.from_bytes(body, "big")


def _mac(key: bytes, listing: Listing, body: bytes) -> bytes:
    bound = json.dumps([listing.operation, listing.scope, listing.filter]).encode()
    return hmac.new(key, body + bound, hashlib.sha256).digest()[:_MAC_BYTES]


def _wrong() -> ApiError:
    return ApiError(
        "INVALID_ARGUMENT",
        "pageToken is not one that this list returned: repeat the request with the same parent and filter, or begin "
        "again without a token",
    )
