"""`operatorkit package`: Helm charts of an operator, from its code.

What belongs here: options, files, and what is said. What does not: what the charts hold
(`operatorkit.chart`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operatorkit.cli._load import Loaded, load
from operatorkit.errors import InputError

if TYPE_CHECKING:
    from operatorkit.permissions import HandlerNeed

__all__ = ["command"]

# Source: https://semver.org/spec/v2.0.0.html, and https://github.com/distribution/reference for repositories
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z.-]+)?"
)
_PATH = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"([A-Za-z0-9.-]+(:\d+)?/)?{_PATH}(/{_PATH})*")


def _image(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject what no container runtime would take for the name of an image, or what belongs into image.tag."""
    del context
    if value is None or _REPOSITORY.fullmatch(value):
        return value
    raise click.BadParameter(
        f"{value!r} is not an image repository: write [REGISTRY/]NAME in lower case, such as registry.example.io/team/"
        "website; its tag is a value of the chart",
        param=parameter,
    )


def _version(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject what Helm would not take as the version of a chart."""
    del context
    if value is None or _SEMVER.fullmatch(value):
        return value
    raise click.BadParameter(
        f"{value!r} is not a version of a chart: write one such as 1.2.3 or 1.2.3-rc.1",
        param=parameter,
    )


@click.command("package")
@click.argument("target", metavar="FILE|MODULE:OPERATOR|NAME")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="charts",
    show_default=True,
    help="Directory for the charts.",
)
@click.option(
    "--image",
    metavar="REPOSITORY",
    callback=_image,
    help="Image repository, the default of the value image.repository; by default the operator's name.",
)
@click.option(
    "--version",
    metavar="VERSION",
    callback=_version,
    help="Version of the charts; by default the version of the operator's package.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with code 1 if the charts differ from the code.",
)
def command(target: str, output: str, image: str | None, version: str | None, check: bool) -> None:
    """Generate two Helm charts: NAME-crds with the definitions, and NAME, which runs the operator.

    Name the operator as for `operatorkit run`, which the container runs. An operator that is named
    by a file needs that file in the image's working directory.
    """
    from operatorkit.chart import crd_chart, operator_chart
    from operatorkit.definitions import own_kinds

    loaded = load(target)
    version = version or _version_of(loaded)
    needs = _handler_needs(loaded)
    charts = [
        operator_chart(loaded.app, loaded.in_image, version=version, image=image, handlers=needs)
    ]
    if own_kinds(loaded.app):
        charts.insert(0, crd_chart(loaded.app, version=version))
    directory = Path(output)
    if not check:
        for chart in charts:
            click.echo(chart.write(directory))
    differences = [line for chart in charts for line in chart.differences(directory)]
    if differences:
        remedy = f"; `operatorkit package {target} -o {output}` writes them" if check else ""
        raise InputError("\n  ".join([f"the charts differ from the code{remedy}:", *differences]))


def _handler_needs(loaded: Loaded) -> Sequence[HandlerNeed]:
    """Return what kopf needs for the handlers in an operator's modules; say of which that cannot be derived."""
    if "kopf" not in sys.modules:
        return ()
    from operatorkit._runtime.kopf_handlers import handler_needs

    found = handler_needs(loaded.app)
    if found.warning:
        click.echo(f"operatorkit: {found.warning}", err=True)
    return found.needs


def _version_of(loaded: Loaded) -> str:
    """Return the version of the distribution that holds an operator; 0.1.0 for code that is in none."""
    if loaded.target.path is not None:
        return "0.1.0"
    entry = loaded.entry_point
    if entry is not None and entry.dist is not None:
        return entry.dist.version
    owners = metadata.packages_distributions().get(loaded.target.module.partition(".")[0], [])
    return metadata.version(owners[0]) if owners else "0.1.0"
