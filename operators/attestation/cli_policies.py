"""`operatorkit attest policy test`, `import` and `backstop`.

What belongs here: options, and what is printed. What does not: evaluating (`offline`) and translating (`importing`).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

__all__ = ["backstop", "import_", "policy"]

_FILE = click.Path(path_type=Path, exists=True)


@click.group("policy")
def policy() -> None:
    """Evaluate policies without a cluster."""


@policy.command("test")
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    required=True,
    type=_FILE,
    help="File or directory of manifests.",
)
@click.option(
    "--policies",
    "-p",
    multiple=True,
    type=_FILE,
    help="File or directory of policies and authorities, in addition to those in -f.",
)
@click.option(
    "--occurrences", multiple=True, type=_FILE, help="Occurrences in JSON, in the format of sign."
)
@click.option(
    "--namespace",
    "-n",
    default="default",
    show_default=True,
    help="Namespace of objects without one.",
)
def test(
    files: tuple[Path, ...],
    policies: tuple[Path, ...],
    occurrences: tuple[Path, ...],
    namespace: str,
) -> None:
    """Evaluate manifests as admission would.

    The exit code is 1 if a manifest would be denied.
    """
    from operators.attestation.offline import documents, evaluate, read_occurrences

    findings = evaluate(
        list(documents(files)),
        list(documents(policies)),
        read_occurrences(occurrences),
        namespace=namespace,
        now=datetime.now(UTC),
    )
    for finding in findings:
        if not finding.covered and not finding.denied:
            click.echo(f"{finding.where}: no policy applies: it is admitted")
            continue
        click.echo(f"{finding.where}: {'denied' if finding.denied else 'admitted'}")
        for problem in finding.denied:
            click.echo(f"  {problem}")
        for problem in finding.warned:
            click.echo(f"  {problem.policy.mode}: {problem}")
    denied = sum(bool(finding.denied) for finding in findings)
    click.echo(f"{len(findings)} with images, {denied} denied")
    if denied:
        sys.exit(1)


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=_FILE)
def import_(files: tuple[Path, ...]) -> None:
    """Translate resources of Kritis, and policies and attestors of Binary Authorization, and print the result.

    For what cannot be translated, a remark is printed on standard error, and the result is stricter, never less strict.
    """
    import yaml

    from operators.attestation.importing import import_objects
    from operators.attestation.offline import documents

    found = import_objects(content for _, content in documents(files))
    for remark in found.remarks:
        click.echo(f"remark: {remark}", err=True)
    click.echo(yaml.safe_dump_all(found.objects, sort_keys=False).rstrip())


@click.command("backstop")
@click.option(
    "--exclude",
    multiple=True,
    metavar="NAMESPACE",
    help="Another namespace to exclude, in addition to those of the system.",
)
def backstop(exclude: tuple[str, ...]) -> None:
    """Print a ValidatingAdmissionPolicy that denies images without a digest; pipe it to kubectl apply."""
    import yaml

    from operators.attestation.backstop import backstop as objects

    click.echo(yaml.safe_dump_all(objects(exclude), sort_keys=False, width=1000).rstrip())
