"""attestation: only images with the attestations that policy asks for run.

What belongs here: facts about images (the metadata server), signatures over them, and the admission of Pods by both.
What does not: how operators run (`operatorkit`), and making signatures (gpg and others do).

    images       image references and patterns, normalised once; pure
"""

from __future__ import annotations
