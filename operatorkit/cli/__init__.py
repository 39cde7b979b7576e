"""The command line: `operatorkit ...`.

What belongs here: one module per command or group of commands, which reads options, calls a package
and prints. What does not: logic that a test or another program would want to call. Commands are
imported when they are used, so that `operatorkit crd render` starts without loading kopf or a
server.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import sys
from enum import IntEnum
from importlib import metadata
from typing import NoReturn

import click

from operatorkit.errors import LeaseLost, OperatorKitError

__all__ = ["EXTENSIONS", "ExitCode", "main"]

# name -> (module, one line of help); the module's `command` is the click command or group
_COMMANDS = {
    "controlplane": (
        "operatorkit.cli.controlplane",
        "Start a Kubernetes API for development and tests.",
    ),
    "crd": ("operatorkit.cli.crd", "Generate custom resource definitions from classes."),
    "demo": ("operatorkit.cli.demo", "Run the bundled operators and show what they do."),
    "dev": (
        "operatorkit.cli.dev",
        "Run an operator on an embedded control plane; restart it when its code changes.",
    ),
    "package": (
        "operatorkit.cli.package",
        "Generate the Helm charts of an operator from its code.",
    ),
    "run": ("operatorkit.cli.run", "Run an operator in a cluster, or against one."),
}

EXTENSIONS = "operatorkit.commands"
"""The entry-point group by which operators add a group of commands of their own."""

_CANNOT_PRINT = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


class ExitCode(IntEnum):
    """The exit codes of commands. They are part of the interface and change only with a record in docs/adr."""

    DONE = 0
    """Done; or, of what stays in front, stopped as asked by Ctrl-C or SIGTERM."""
    FAILED = 1
    """It could not be done; one line on stderr says what is wrong, and what to do."""
    USAGE = 2
    """The arguments are wrong."""
    LEASE_LOST = 3
    """This replica lost the Lease by which it was the leader, and ended; start it again."""
    INTERRUPTED = 130
    """Ctrl-C, before there was anything to stop."""


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_COMMANDS, *_extensions(), *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            command = importlib.import_module(_COMMANDS[cmd_name][0]).command
            return command if isinstance(command, click.Command) else None
        if (extension := _extensions().get(cmd_name)) is not None:
            command = extension.load()
            return command if isinstance(command, click.Command) else None
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and (
            near := difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        ):
            ctx.fail(f"No such command {name!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])
        if extensions := sorted(_extensions()):
            with formatter.section("Commands of operators"):
                formatter.write_dl(
                    [
                        (name, f"Inspect and control what the operator {name} manages.")
                        for name in extensions
                    ]
                )


def _extensions() -> dict[str, metadata.EntryPoint]:
    """Return the groups of commands of installed operators; a built-in command wins over one of the same name."""
    return {
        one.name: one
        for one in metadata.entry_points(group=EXTENSIONS)
        if one.name not in _COMMANDS
    }


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="operatorkit", message="%(prog)s %(version)s")
def cli() -> None:
    """Write, run and ship Kubernetes operators.

    Start with `operatorkit demo`, or run your own operator with `operatorkit dev FILE`.
    """


def main() -> NoReturn:
    """Run the command line; what a person can mend is one line on stderr and exit code 1, never a traceback.

    The exit codes are those of `ExitCode`, and 128 and the number of a signal that cut something
    short.
    """
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OperatorKitError as error:
        click.echo(f"operatorkit: {error}", err=True)
        sys.exit(ExitCode.LEASE_LOST if isinstance(error, LeaseLost) else ExitCode.FAILED)
    except OSError as error:
        if error.errno not in _CANNOT_PRINT:
            raise
        click.echo(f"operatorkit: the output cannot be written: {error.strerror}", err=True)
        sys.exit(ExitCode.FAILED)
    sys.exit(ExitCode.DONE)
