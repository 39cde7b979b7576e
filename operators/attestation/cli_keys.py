"""`operatorkit attest keygen` and `sign`.

What belongs here: options and files. What does not: making keys and signatures (`signing`).
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operatorkit.errors import InputError
from operators.attestation.images import parse_resource_uri

if TYPE_CHECKING:
    from operators.attestation.signatures import KeyType

__all__ = ["keygen", "sign"]

_TYPES = click.Choice(["PGP", "PKIX", "JWT", "DSSE", "Cosign"])
_ALGORITHM = "Algorithm of the key, such as ED25519, ECDSA_P256_SHA256 or RSA_PSS_3072_SHA256."


@click.command("keygen")
@click.option(
    "--type",
    "type_",
    type=_TYPES,
    default="PKIX",
    show_default=True,
    help="Type of the signatures.",
)
@click.option(
    "--algorithm",
    default="ED25519",
    show_default=True,
    metavar="NAME",
    help=f"{_ALGORITHM} Not for PGP.",
)
@click.option(
    "--user", default="attester", show_default=True, metavar="NAME", help="User id of a PGP key."
)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="Path of the files, without .key and .pub.",
)
def keygen(type_: KeyType, algorithm: str, user: str, output: Path) -> None:
    """Create a key pair: OUTPUT.key, which only you can read, and OUTPUT.pub for an authority."""
    from operators.attestation.signing import ALGORITHM_CHOICES, generate

    if algorithm not in ALGORITHM_CHOICES:
        raise InputError(
            f"--algorithm is {algorithm!r}: give one of {', '.join(ALGORITHM_CHOICES)}"
        )
    pair = generate(type_, algorithm, user)
    private, public = Path(f"{output}.key"), Path(f"{output}.pub")
    _write(private, pair.private, 0o600)
    _write(public, pair.public, 0o644)
    click.echo(f"{private} and {public}")


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file; one that exists is never replaced: it may be the only copy of a key."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise InputError(f"{path} exists already: remove it, or give another --output") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


@click.command("sign")
@click.argument("image")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="Private key, in the format of keygen.",
)
@click.option("--note", required=True, metavar="projects/P/notes/N", help="Note of the authority.")
@click.option(
    "--type", "type_", type=_TYPES, default="PKIX", show_default=True, help="Type of the signature."
)
@click.option("--algorithm", metavar="NAME", help=f"{_ALGORITHM} Needed for RSA keys only.")
def sign(image: str, key: Path, note: str, type_: KeyType, algorithm: str | None) -> None:
    """Sign the digest of an image and print the occurrence: the input of upload --occurrence."""
    from operators.attestation.signatures.keys import PublicKeyError
    from operators.attestation.signing import attest

    try:
        private = key.read_bytes()
        occurrence = attest(
            parse_resource_uri(image), note, private, type_, algorithm, now=int(time.time())
        )
    except OSError as error:
        raise InputError(f"{key} cannot be read: {error.strerror}") from error
    except PublicKeyError as error:
        raise InputError(f"{key}: {error}") from error
    click.echo(json.dumps(occurrence, indent=2))
