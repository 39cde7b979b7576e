"""Mutants of signatures: none may prove what its signer did not sign.

PYTHONPATH=tests python -m fuzz.attestation 10000      needs gpg; prints what it found, exit code 1 for a wrong one
"""

from __future__ import annotations

import base64
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from operators.attestation.signatures import Rejected, SignedBytes, VerificationKey, verify

_LINES = re.compile(rb"(?<=\n)")


@dataclass
class Outcome:
    rejected: int = 0
    accepted: int = 0
    slowest_seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[bytes] = field(default_factory=list)


def run(
    originals: Sequence[bytes],
    keys: Sequence[VerificationKey],
    digest: str,
    chance: random.Random,
    *,
    count: int,
    now: datetime,
    form: str = "plain",
    signature: bytes | None = None,
) -> Outcome:
    """Verify `count` mutants of signatures, or, under one signature, of payloads.

    One that is accepted for another digest is wrong.
    """
    outcome = Outcome()
    for _ in range(count):
        mutant = mutate(chance.choice(originals), chance)
        begun = time.perf_counter()
        signed = SignedBytes(mutant, form=form) if signature is None else SignedBytes(signature, mutant, form)
        result = verify(signed, keys, now)
        outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - begun)
        if isinstance(result, Rejected):
            outcome.rejected += 1
            outcome.reasons[result.reason.value] += 1
        else:
            outcome.accepted += 1
            if result.statement.digest != digest:
                outcome.wrong.append(mutant)
    return outcome


def mutate(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(_MUTATIONS)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _replace(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + bytes([chance.choice(b'0123456789abcdef:\n -=A{}"\\')]) + data[at + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    one, other = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:one] + data[other:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    one, other = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:other] + data[one:]


def _swap_lines(data: bytes, chance: random.Random) -> bytes:
    lines = _LINES.split(data)
    one, other = (chance.randrange(len(lines)) for _ in range(2))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _insert_digest(data: bytes, chance: random.Random) -> bytes:
    lines = _LINES.split(data)
    lines.insert(chance.randrange(len(lines) + 1), b"sha256:" + b"c" * 64 + b"\n")
    return b"".join(lines)


def _in_base64(data: bytes, chance: random.Random) -> bytes:
    """Flip a bit below the base64 of one of the longer lines, so that the packets change and not the armour."""
    lines = _LINES.split(data)
    long = [at for at, line in enumerate(lines) if re.fullmatch(rb"[A-Za-z0-9+/]{40,}\n", line)]
    if not long:
        return data
    at = chance.choice(long)
    text = lines[at].strip()
    raw = bytearray(base64.b64decode(text[: len(text) // 4 * 4]))
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    lines[at] = base64.b64encode(bytes(raw)) + text[len(text) // 4 * 4 :] + b"\n"
    return b"".join(lines)


_MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    _flip,
    _replace,
    _cut,
    _repeat,
    _swap_lines,
    _insert_digest,
    _in_base64,
]


def main(count: int) -> int:
    import tempfile
    from pathlib import Path

    from unit.operators.attestation.signatures.conftest import DIGEST, Gpg

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o700)
        gpg = Gpg(Path(folder))
        key = VerificationKey(id="qa", type="PGP", public_key=gpg.new_key("qa"))
        originals = [gpg.sign("qa", DIGEST.encode(), *options) for options in (["--clearsign"], ["--sign"])]
        begun = time.perf_counter()
        outcome = run(originals, [key], DIGEST, random.Random(count), count=count, now=datetime.now(UTC))
        seconds = time.perf_counter() - begun
    print(
        f"{count} mutants in {seconds:.0f} s: {outcome.rejected} rejected {dict(outcome.reasons)}, "
        f"{outcome.accepted} accepted for the signed digest, {len(outcome.wrong)} accepted wrongly, "
        f"slowest {outcome.slowest_seconds * 1000:.1f} ms"
    )
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
