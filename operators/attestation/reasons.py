"""The reasons of conditions and Events: CamelCase words that people search for and programs match.

What belongs here: each word, once, and what it means. They are part of the stable interface: never renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATTESTATION_EXPIRED",
    "ATTESTATION_REVOKED",
    "AUTHORITY_NOT_FOUND",
    "AUTHORITY_READY",
    "BACKEND_UNAVAILABLE",
    "BREAKGLASS_USED",
    "CHANGES_NOT_READ",
    "IMAGE_ATTESTED",
    "IMAGE_NOT_ATTESTED",
    "INVALID_PATTERN",
    "KEY_NOT_VALID",
    "KEY_UNREADABLE",
    "POLICY_READY",
    "SERVER_READY",
    "VULNERABILITY_FOUND",
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

IMAGE_NOT_ATTESTED: Final = "ImageNotAttested"
"""Event, on the top-level owner: an image lacks an attestation that a policy requires."""
ATTESTATION_EXPIRED: Final = "AttestationExpired"
"""Event: the attestation of an image is older than its authority accepts."""
ATTESTATION_REVOKED: Final = "AttestationRevoked"
"""Event: an ImageRevocation names the image, or the key that has attested it."""
BACKEND_UNAVAILABLE: Final = "AttestationBackendUnavailable"
"""Event: the metadata server did not answer, so that nothing is known of an image."""
BREAKGLASS_USED: Final = "BreakglassUsed"
"""Event, on the ImagePolicyException: it has admitted an image that a policy denies."""

SERVER_READY: Final = "ServerReady"
"""Condition Ready of a GrafeasServer: it answers, and its changes are followed."""
CHANGES_NOT_READ: Final = "ChangesNotRead"
"""The changes of a server cannot be read: what has changed there shows at the next hourly look only."""
IMAGE_ATTESTED: Final = "ImageAttested"
"""Event: the images of a running Pod have what policies require again."""
VULNERABILITY_FOUND: Final = "VulnerabilityFound"
"""Event: an image has a vulnerability that a policy does not accept, or was not scanned."""
