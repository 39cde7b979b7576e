"""`operatorkit attest upload` and `countersign`: signatures that others have made, as occurrences.

What belongs here: options, files, and requests to a metadata server. What does not: where cosign keeps signatures
(`cosign`), what a bundle proves (`bundles`), and signing (`signing`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from operatorkit.errors import InputError
from operators.attestation.images import ImageReference, parse_resource_uri

if TYPE_CHECKING:
    from operators.attestation.cosign import StoredForm

__all__ = ["content_of", "countersign", "upload"]

_REGISTRY_SECONDS: Final = 60.0
_GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
_SOURCES: Final = (
    "give --note and --image with --signature or --from-registry, or --occurrence with the output "
    "of sign or countersign"
)


@click.command("upload")
@click.option(
    "--server",
    default="http://127.0.0.1:8080",
    show_default=True,
    metavar="URL",
    help="The metadata server.",
)
@click.option("--note", metavar="projects/P/notes/N", help="Note of the authority.")
@click.option("--image", metavar="IMAGE@DIGEST", help="Image that was signed.")
@click.option("--signature", type=click.Path(path_type=Path), help="Signature, armoured.")
@click.option(
    "--from-registry",
    is_flag=True,
    help="Upload the signatures that cosign keeps beside the image in its registry, instead of --signature. "
    "$DOCKER_CONFIG/config.json has the user and the password.",
)
@click.option(
    "--form",
    type=click.Choice(["bundle", "tag"]),
    help="With --from-registry, what to upload. bundle, the default: the bundles that refer to the image, "
    "for a note of kind DSSE_ATTESTATION; tag: the signatures under the tag "
    "sha256-DIGEST.sig, for a note of kind ATTESTATION.",
)
@click.option(
    "--predicate-type",
    metavar="URI",
    help="With --from-registry, the predicate type of the bundles to upload; by default that of cosign sign.",
)
@click.option(
    "--occurrence",
    type=click.Path(path_type=Path),
    help="Output of sign or countersign; replaces --note, --image and --signature.",
)
@click.option(
    "--payload",
    "payload_file",
    type=click.Path(path_type=Path),
    help="Signed content of a detached signature.",
)
@click.option(
    "--project", metavar="P", help="Project of the occurrence; by default the project of the note."
)
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the bearer token.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="CA of the server, in PEM.")
def upload(
    server: str,
    note: str | None,
    image: str | None,
    signature: Path | None,
    from_registry: bool,
    form: StoredForm | None,
    predicate_type: str | None,
    occurrence: Path | None,
    payload_file: Path | None,
    project: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Upload a signature as an attestation of an image."""
    if not from_registry and (form or predicate_type):
        raise InputError("--form and --predicate-type are for --from-registry only: remove them")
    if form == "tag" and predicate_type:
        raise InputError("--predicate-type is for --form=bundle only: remove it")
    if from_registry:
        bodies = _from_registry(
            note, image, form or "bundle", predicate_type, signature or occurrence
        )
    elif occurrence is not None:
        bodies = [_written(occurrence)]
    else:
        bodies = [_occurrence(note, image, signature, payload_file)]
    token = None if token_file is None else content_of(token_file).decode().strip()
    for body in bodies:
        parent = f"projects/{project}" if project else str(body["noteName"]).partition("/notes/")[0]
        url = f"{server.rstrip('/')}/v1/{parent}/occurrences"
        click.echo(asyncio.run(_post(url, body, token, ca_file))["name"])


def _from_registry(
    note: str | None,
    image: str | None,
    form: StoredForm,
    predicate_type: str | None,
    other: Path | None,
) -> list[dict[str, Any]]:
    """Return the occurrences of the signatures in the registry. Raises InputError when there are none."""
    from operators.attestation.cosign import SIGN_PREDICATE, read_signatures
    from operators.attestation.registry import RegistryError, credentials_from

    if note is None or image is None or other is not None:
        raise InputError(_SOURCES)
    reference = parse_resource_uri(image)
    try:
        found = asyncio.run(
            read_signatures(
                reference,
                credentials_from(),
                form=form,
                predicate_type=predicate_type or SIGN_PREDICATE,
                seconds=_REGISTRY_SECONDS,
            )
        )
    except RegistryError as error:
        raise InputError(str(error)) from error
    for reason in found.left_out:
        click.echo(f"left out: {reason}", err=True)
    if not found.contents:
        raise InputError(
            f"{reference.registry} has no {form} with a signature of {reference.pinned} by a key: "
            f"sign it with cosign sign --key KEY {reference.pinned}, or choose the other --form"
        )
    return [{**_about(reference, note), **content} for content in found.contents]


def _occurrence(
    note: str | None, image: str | None, signature: Path | None, payload_file: Path | None
) -> dict[str, Any]:
    if note is None or image is None or signature is None:
        raise InputError(_SOURCES)
    attestation: dict[str, Any] = {
        "signatures": [{"signature": base64.b64encode(content_of(signature)).decode()}]
    }
    if payload_file is not None:
        attestation["serializedPayload"] = base64.b64encode(content_of(payload_file)).decode()
    return {**_about(parse_resource_uri(image), note), "attestation": attestation}


def _about(image: ImageReference, note: str) -> dict[str, Any]:
    return {"resourceUri": f"https://{image.pinned}", "noteName": note}


def _written(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content_of(path))
    except ValueError as error:
        raise InputError(f"{path} is not the JSON of an occurrence: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("noteName"), str):
        raise InputError(
            f"{path} is not an occurrence with a noteName: create it with operatorkit attest sign"
        )
    return found


async def _post(url: str, body: Mapping[str, Any], token: str | None, ca_file: Path | None) -> Any:
    import ssl

    import aiohttp

    context = True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(url, json=body, headers=headers, ssl=context) as response,
        ):
            answer = await response.json(content_type=None)
            if response.status != 200:
                raise InputError(f"{url} answered HTTP {response.status}: {_message(answer)}")
            return answer
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"{url}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _message(answer: Any) -> str:
    return str(answer.get("message", answer)) if isinstance(answer, Mapping) else str(answer)


@click.command("countersign")
@click.argument("image")
@click.option(
    "--bundle",
    required=True,
    type=click.Path(path_type=Path),
    help="Sigstore bundles, as gh attestation download writes them.",
)
@click.option(
    "--trusted-root",
    required=True,
    type=click.Path(path_type=Path),
    help="CAs of the signers, as gh attestation trusted-root prints them.",
)
@click.option(
    "--identity",
    required=True,
    metavar="URI",
    help="Required signer, such as the workflow https://github.com/ORG/REPO/.github/workflows/F@refs/heads/main; "
    "* stands for any text without /.",
)
@click.option(
    "--issuer",
    default=_GITHUB_ISSUER,
    show_default=True,
    metavar="URL",
    help="Required OIDC issuer of the signer.",
)
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="Your private key, in the format of keygen.",
)
@click.option("--note", required=True, metavar="projects/P/notes/N", help="Note of the authority.")
@click.option("--algorithm", metavar="NAME", help="Algorithm of your key; needed for RSA only.")
def countersign(
    image: str,
    bundle: Path,
    trusted_root: Path,
    identity: str,
    issuer: str,
    key: Path,
    note: str,
    algorithm: str | None,
) -> None:
    """Verify a statement that a certificate has signed, sign it with your key, and print the occurrence.

    This verifies the signature, the chain to a CA of the trusted root, the identity, the issuer and the digest. It does
    not verify the transparency log and timestamps: gh attestation verify does.
    """
    from operators.attestation.bundles import BundleError, read_bundles, read_trusted_root
    from operators.attestation.signatures.keys import PublicKeyError
    from operators.attestation.signing import sign_statement

    reference = parse_resource_uri(image)
    try:
        authorities = read_trusted_root(content_of(trusted_root))
    except BundleError as error:
        raise InputError(f"{trusted_root}: {error}") from error
    try:
        bundles = read_bundles(content_of(bundle))
    except BundleError as error:
        raise InputError(f"{bundle}: {error}") from error
    payload = _verified(bundles, authorities, reference, identity, issuer, bundle)
    try:
        envelope = sign_statement(payload, content_of(key), algorithm)
    except PublicKeyError as error:
        raise InputError(f"{key}: {error}") from error
    occurrence = _about(reference, note) | {"dsseAttestation": {"envelope": envelope}}
    click.echo(json.dumps(occurrence, indent=2))


def _verified(
    bundles: list[Any],
    authorities: Any,
    reference: ImageReference,
    identity: str,
    issuer: str,
    path: Path,
) -> bytes:
    """Return the payload of the first bundle that proves it. Raises InputError with what each lacks."""
    from operators.attestation.bundles import BundleError, verify_bundle

    assert reference.digest is not None, "a resource has one"
    problems: list[str] = []
    for number, found in enumerate(bundles, 1):
        try:
            statement = verify_bundle(
                found, authorities, digest=reference.digest, identity=identity, issuer=issuer
            )
        except BundleError as error:
            problems.append(f"bundle {number}: {error}")
            continue
        built = f", built by {statement.builder}" if statement.builder else ""
        click.echo(f"verified: {statement.digest} by {identity}{built}", err=True)
        payload: bytes = found.payload
        return payload
    raise InputError(f"{path} proves nothing about {reference.pinned}: {'; '.join(problems)}")


def content_of(path: Path) -> bytes:
    """Return the content of a file. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
