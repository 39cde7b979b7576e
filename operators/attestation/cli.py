"""`operatorkit attest`: the metadata server, and what people need to attest an image and to see why one is denied.

What belongs here: options, requests, and what is printed. What does not: decisions (`policy`), verification
(`signatures`) and the API (`server`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.commands import cluster_options, with_cluster
from operatorkit.errors import InputError
from operators.attestation.cli_keys import keygen, sign
from operators.attestation.cli_policies import backstop, import_, policy
from operators.attestation.cli_upload import content_of, countersign, upload
from operators.attestation.images import parse_resource_uri
from operators.attestation.payload import simple_signing

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.attestation.server.access import Access
    from operators.attestation.signatures import KeyType

__all__ = ["command"]


@click.group("attest")
def command() -> None:
    """Create, serve and verify attestations of images, and explain denials."""


for _command in (keygen, sign, countersign, upload, policy, import_, backstop):
    command.add_command(_command)


@command.command("serve")
@click.option(
    "--database",
    default="sqlite:///attest.db",
    show_default=True,
    metavar="URL",
    help="Database for notes and occurrences.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the REST API.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Port of the gRPC API; by default it is not served.",
)
@click.option(
    "--auth",
    type=click.Choice(["file", "kubernetes", "none"]),
    help="Authentication and authorization. file: by --access-file; kubernetes: by the API server of the cluster; "
    "none: everything is allowed, on a loopback address only. By default file with --access-file, else none.",
)
@click.option(
    "--access-file", type=click.Path(path_type=Path), help="Users, tokens and grants, in YAML."
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="The cluster for --auth=kubernetes; by default the service account of the pod.",
)
@click.option(
    "--audience",
    metavar="NAME",
    multiple=True,
    help="Required audience of tokens, for --auth=kubernetes.",
)
@click.option(
    "--tls-certificate", type=click.Path(path_type=Path), help="Certificate chain, in PEM."
)
@click.option(
    "--tls-key", type=click.Path(path_type=Path), help="Private key of the certificate, in PEM."
)
@click.option(
    "--client-ca", type=click.Path(path_type=Path), help="CA of client certificates, in PEM."
)
@click.option(
    "--exit-with-parent", is_flag=True, hidden=True, help="Stop when standard input closes."
)
def serve(
    database: str,
    host: str,
    port: int,
    grpc_port: int | None,
    auth: str | None,
    access_file: Path | None,
    kubeconfig: str | None,
    audience: tuple[str, ...],
    tls_certificate: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    exit_with_parent: bool,
) -> None:
    """Serve the Grafeas API (v1, v1beta1 and v1alpha1) until SIGTERM or Ctrl-C."""
    from operators.attestation.server.serve import Listen

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    auth = auth or ("none" if access_file is None else "file")
    if auth == "none" and host not in {"127.0.0.1", "::1", "localhost"}:
        raise InputError(
            f"--auth=none allows everyone to write attestations, and {host} is not a loopback "
            f"address: use another"
        )
    if (auth == "file") != (access_file is not None):
        raise InputError("--access-file is required for --auth=file, and allowed only with it")
    if exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, name="end of input", daemon=True).start()
    listen = Listen(
        host=host,
        port=port,
        grpc_port=grpc_port,
        certificate=tls_certificate,
        key=tls_key,
        client_ca=client_ca,
    )
    asyncio.run(_serve(database, listen, auth, access_file, kubeconfig, audience))


def _stop_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


async def _serve(
    database: str,
    listen: Any,
    auth: str,
    access_file: Path | None,
    kubeconfig: str | None,
    audience: tuple[str, ...],
) -> None:
    from operators.attestation.server.access import OpenAccess, read_access_file

    if auth == "kubernetes":
        from operatorkit.cluster import LiveCluster, load_config
        from operators.attestation.server.kubernetes_access import KubernetesAccess

        async with LiveCluster(load_config(kubeconfig)) as api:
            await _serve_with(
                database, listen, KubernetesAccess(api, clock=SYSTEM_CLOCK, audiences=audience)
            )
    else:
        await _serve_with(
            database, listen, OpenAccess() if access_file is None else read_access_file(access_file)
        )


async def _serve_with(database: str, listen: Any, access: Access) -> None:
    from operators.attestation.server.serve import serving

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with serving(database, access, listen, clock=SYSTEM_CLOCK) as server:
        grpc = "" if server.grpc_port is None else f" and gRPC on port {server.grpc_port}"
        click.echo(f"serving {server.url(listen.host)}{grpc}")
        sys.stdout.flush()
        await stopping.wait()


@command.command("payload")
@click.argument("image")
def payload(image: str) -> None:
    """Print the content to sign for an image: its repository and digest in the simple signing format (JSON)."""
    click.echo(simple_signing(parse_resource_uri(image)).decode())


@command.command("verify")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Public key.",
)
@click.option(
    "--signature",
    required=True,
    type=click.Path(path_type=Path),
    help="Signature, in the form in which it is uploaded.",
)
@click.option(
    "--payload",
    "payload_file",
    type=click.Path(path_type=Path),
    help="Signed content of a detached signature.",
)
@click.option(
    "--type",
    "type_",
    type=click.Choice(["PGP", "PKIX", "Cosign", "JWT"]),
    default="PGP",
    show_default=True,
)
@click.option(
    "--algorithm", metavar="NAME", help="Algorithm of an RSA key, such as RSA_PSS_2048_SHA256."
)
def verify(
    keys: tuple[Path, ...],
    signature: Path,
    payload_file: Path | None,
    type_: KeyType,
    algorithm: str | None,
) -> None:
    """Verify a signature with public keys as admission does, without a server."""
    from operators.attestation.signatures import Rejected, SignedBytes, VerificationKey
    from operators.attestation.signatures import verify as verify_signature

    known = [
        VerificationKey(
            id=str(path), type=type_, public_key=content_of(path), signature_algorithm=algorithm
        )
        for path in keys
    ]
    content = content_of(signature)
    if type_ == "JWT":
        signed = SignedBytes(content.strip(), form="jwt")
    else:
        signed = SignedBytes(content, b"" if payload_file is None else content_of(payload_file))
    result = verify_signature(signed, known, datetime.now(UTC))
    if isinstance(result, Rejected):
        raise InputError(f"{signature}: {result.reason.value}: {result.message}")
    name = f" as {result.statement.name}" if result.statement.name else ""
    when = f" at {result.signed_at:%Y-%m-%dT%H:%M:%SZ}" if result.signed_at else ""
    click.echo(f"{result.statement.digest}{name}, signed by {result.fingerprint}{when}")


@command.command("explain")
@click.argument("image")
@cluster_options
def explain(image: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Show which policies apply to an image, which attestations are missing, and how to fix that.

    The exit code is 1 if a Pod with the image would be denied in the namespace.
    """

    async def work(api: ClusterAPI, where: str) -> bool:
        return await _explain(api, image, where)

    if not with_cluster(kubeconfig, context, namespace, work):
        sys.exit(1)


async def _explain(api: ClusterAPI, image: str, namespace: str) -> bool:
    from operatorkit.listed import ListedReader
    from operators.attestation.exceptions import excuse
    from operators.attestation.facts import look_up, look_up_scans
    from operators.attestation.observe import (
        KINDS,
        authorities_for,
        exceptions_for,
        policies_for,
        revocations,
        servers,
    )
    from operators.attestation.policy import (
        decide,
        plan,
        questions,
        revoked_images,
        scan_questions,
    )
    from operators.attestation.workloads import ImageUse

    reader = await ListedReader.load(api, *KINDS, namespace=namespace)
    now, uses = datetime.now(UTC), [ImageUse(image, "image")]
    revoked = revocations(reader)
    denied = revoked_images(uses, revoked)
    for problem in denied:
        click.echo(f"{problem.policy.shown}: {problem.message}")
        click.echo(f"  {problem.remedy}")
    judgements = plan(uses, policies_for(namespace, reader))
    if not judgements and not denied:
        click.echo(f"{image}: no policy applies to it in namespace {namespace}: it is admitted")
        return True
    authorities = authorities_for(namespace, reader)
    where = servers(reader)
    facts = await look_up(
        questions(judgements, authorities), authorities, where, now=now, seconds=10.0
    )
    scans = await look_up_scans(scan_questions(judgements), where, seconds=10.0)
    for judgement in judgements:
        verdict = decide([judgement], authorities, facts, now, revoked, scans)
        problems = [*verdict.denied, *verdict.warned, *verdict.audited]
        outcome = (
            "has the required attestations"
            if not problems
            else f"{judgement.policy.mode}: {problems[0].message}"
        )
        click.echo(f"{judgement.policy.shown}: {outcome}")
        for problem in problems:
            if problem.remedy:
                click.echo(f"  {problem.remedy}")
    denied += decide(judgements, authorities, facts, now, revoked, scans).denied
    excused = excuse(denied, exceptions_for(namespace, reader), now)
    for name in excused.images:
        click.echo(f"ImagePolicyException {namespace}/{name}: a Pod with it is admitted")
    return not excused.left
