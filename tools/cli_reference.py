"""Writes docs/reference/cli.md: every command and option, as click knows them.

python tools/cli_reference.py          writes the page
python tools/cli_reference.py --check  exit code 1 if the page differs from the commands
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from operatorkit.cli import cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
_HEAD = """# The command line

This page is generated: change the help texts of the commands, then run `python tools/cli_reference.py`.

Name an operator by its file (`website.py`, or `website.py:OPERATOR` if the file has several), by its module
(`shop.website`, `shop.website:OPERATOR`), or, if it is installed, by its name (`pki`). A name that ends in `.py` or
contains a slash is a file.

| exit code | meaning |
|---|---|
| 0 | success; for a command that runs in the foreground, also a stop by Ctrl-C or SIGTERM |
| 1 | failure: one line on stderr contains the error and the remedy |
| 2 | invalid arguments |
| 3 | `run --leader-elect`: this replica was the leader and lost its Lease; start it again |
| 130, 143 | Ctrl-C or SIGTERM before the command was running, or a second time |

To complete commands and options in bash, run `eval "$(_OPERATORKIT_COMPLETE=bash_source operatorkit)"`; in zsh and
fish, use `zsh_source` and `fish_source`. Output is coloured in a terminal only.
"""


def render() -> str:
    """Return the page."""
    root = click.Context(cli, info_name="operatorkit", **cli.context_settings)
    return "\n".join([_HEAD, *_sections(cli, root)]).rstrip() + "\n"


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the lines on a command, and on those below it."""
    below = command.list_commands(context) if isinstance(command, click.Group) else []
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (f"## `{context.command_path}`", "", *_text(command.help), f"Usage: `{usage}`", "")
    options = [
        one
        for one in command.get_params(context)
        if isinstance(one, click.Option) and not one.hidden
    ]
    yield from (
        "| option | what it does |",
        "|---|---|",
        *(_row(one, context) for one in options),
        "",
    )
    if not isinstance(command, click.Group):
        return
    for name in below:
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            yield from _sections(inner, click.Context(inner, info_name=name, parent=context))


def _text(help_: str | None) -> list[str]:
    """Return the paragraphs of a help text, each on lines of its own."""
    return [line for part in (help_ or "").strip().split("\n\n") for line in (_plain(part), "")]


def _row(option: click.Option, context: click.Context) -> str:
    record: Any = option.get_help_record(context)
    name, text = (
        record[0].replace("|", r"\|"),
        _plain(record[1]).replace("|", r"\|").replace("*", r"\*"),
    )
    return f"| `{name}` | {text} |"


def _plain(text: str) -> str:
    return " ".join(text.replace("\b", "").split())


def main(arguments: list[str]) -> int:
    """Write the page, or with --check compare it."""
    text = render()
    if arguments == ["--check"]:
        if PAGE.read_text() == text:
            return 0
        print(
            f"{PAGE} is not in step with the commands: run python tools/cli_reference.py",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
