"""`operatorkit crd ...`: custom resource definitions from classes.

What belongs here: finding the classes, and printing or writing what is made of them. What does not:
making it (`operatorkit.crd`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from operatorkit.cli._load import load_module, operator_in, parse
from operatorkit.definitions import definitions, own_kinds
from operatorkit.errors import InputError
from operatorkit.resource import Resource

__all__ = ["command", "resources_in"]


@click.group("crd", help="Generate custom resource definitions from classes.")
def command() -> None:
    """Hold the subcommands together."""


@command.command("render")
@click.argument("modules", metavar="MODULE...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="yaml|json|DIR",
    default="yaml",
    show_default=True,
    help="Print YAML, print a JSON List, or write one YAML file for each kind to a directory.",
)
def render_command(modules: tuple[str, ...], output: str) -> None:
    """Generate the CRDs of the resource classes in each MODULE.

    A MODULE is a file such as pg.py, one that can be imported, or the name of an installed
    operator; with :OPERATOR appended, only the kinds of that operator are generated. Pipe the
    output to kubectl:

    operatorkit crd render pg.py | kubectl apply --server-side -f -
    """
    from operatorkit.crd.render import render

    kinds = list(dict.fromkeys(kind for target in modules for kind in resources_in(target)))
    manifests = definitions(kinds)
    if output == "yaml":
        click.echo(render(manifests), nl=False)
    elif output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
    else:
        _write(manifests, Path(output))


def _write(manifests: list[dict[str, Any]], directory: Path) -> None:
    from operatorkit.crd.render import render

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for manifest in manifests:
            path = (
                directory
                / f"{manifest['spec']['group']}_{manifest['spec']['names']['plural']}.yaml"
            )
            path.write_text(render([manifest]), encoding="utf-8")
            click.echo(path)
    except OSError as error:
        raise InputError(
            f"{directory} cannot be written: {error.strerror}: give -o a directory"
        ) from error


def resources_in(text: str) -> list[type[Resource[Any, Any]]]:
    """Return the resource classes that a module has or that are its operators' own, by group and kind.

    `text` names it as on the command line; if it names an operator in it, only the kinds of that
    one are meant. Kinds that have another owner are left out.

    Raises InputError when there are none, and DefinitionError when it is not clear whose a kind of
    an operator is.
    """
    target = parse(text)
    module = load_module(target)
    named = target.attribute is not None and not target.installed
    values = [operator_in(module, target)] if named else list(vars(module).values())
    found: set[type[Resource[Any, Any]]] = set()
    for value in values:
        kinds = own_kinds(value) if _is_operator(value) else [value]
        found |= {
            kind
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Resource) and kind.kind
        }
    found = {kind for kind in found if not kind.external()}
    if not found:
        raise InputError(
            f"{text} has no resource classes: a class like "
            'class Postgres(Resource[PostgresSpec, PostgresStatus], group="db.example.io", version="v1") was looked for'
        )
    return sorted(found, key=lambda kind: (kind.api_resource().qualified, kind.api_version))


def _is_operator(value: Any) -> bool:
    """Return whether this is an Operator; its class is not imported for modules that have resources only."""
    return type(value).__module__ == "operatorkit.operator" and hasattr(value, "kinds")
