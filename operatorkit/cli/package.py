"""`operatorkit package`: Helm charts of an operator, from its code.

What belongs here: options, files, and what is said. What does not: what the charts hold (`operatorkit.chart`).
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import click

from operatorkit.cli._load import load
from operatorkit.errors import InputError

__all__ = ["command"]


@click.command("package")
@click.argument("target", metavar="NAME|MODULE:OPERATOR|FILE")
@click.option(
    "-o", "--output", metavar="DIR", default="charts", show_default=True, help="Where the charts are written."
)
@click.option("--image", metavar="REPOSITORY", help="Default of the value image.repository; the operator's name.")
@click.option("--version", metavar="VERSION", help="Version of the charts; by default that of the operator's package.")
@click.option("--check", is_flag=True, help="Write nothing: exit code 1 if what is there differs from the code.")
def command(target: str, output: str, image: str | None, version: str | None, check: bool) -> None:
    """Make the charts of an operator: NAME-crds with its definitions, and NAME, which runs it with just its rights.

    The container runs `operatorkit run TARGET`; of a FILE, its name in the image's working directory.
    """
    from operatorkit.chart import crd_chart, operator_chart
    from operatorkit.resource import Resource

    loaded = load(target)
    inside = Path(target).name if target.endswith(".py") or "/" in target else target
    version = version or _version_of(loaded.origin)
    charts = [operator_chart(loaded.app, inside, version=version, image=image)]
    if any(issubclass(kind, Resource) for kind in loaded.app.kinds()):
        charts.insert(0, crd_chart(loaded.app, version=version))
    directory = Path(output)
    if not check:
        for chart in charts:
            click.echo(chart.write(directory))
    differences = [line for chart in charts for line in chart.differences(directory)]
    if differences:
        remedy = f"; `operatorkit package {target} -o {output}` writes them" if check else ""
        raise InputError("\n  ".join([f"the charts are not in step with the code{remedy}:", *differences]))


def _version_of(origin: str) -> str:
    """Return the version of the distribution that holds a module; 0.1.0 for code that is in none."""
    top, _, below = origin.partition(".")
    for entry in metadata.entry_points(group="operatorkit.operators"):
        if entry.module == origin and entry.dist is not None:
            return entry.dist.version
    owners = metadata.packages_distributions().get(top, []) if below or "/" not in origin else []
    return metadata.version(owners[0]) if owners else "0.1.0"
