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

Made by `tools/cli_reference.py` from the commands themselves: change it there.

An operator is named by its file (`website.py`; `website.py:OPERATOR` where there are several in it), by a module
(`shop.website`, `shop.website:OPERATOR`), or, if it is installed, by its name (`pki`). A file is meant where the name
ends in `.py` or has a slash.

| exit code | when |
|---|---|
| 0 | done; or, of what stays in front, stopped as asked by Ctrl-C or SIGTERM |
| 1 | it could not be done: one line on stderr says what is wrong, and what to do |
| 2 | the arguments are wrong |
| 130, 143 | Ctrl-C or SIGTERM, before there was anything to stop, or a second time |

The shell completes commands and options after `eval "$(_OPERATORKIT_COMPLETE=bash_source operatorkit)"`, in bash;
`zsh_source` and `fish_source` are for the other two. Colours are left out where the output is no terminal.
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
    options = [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.hidden]
    yield from ("| option | what it does |", "|---|---|", *(_row(one, context) for one in options), "")
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
    name, text = record[0].replace("|", r"\|"), _plain(record[1]).replace("|", r"\|").replace("*", r"\*")
    return f"| `{name}` | {text} |"


def _plain(text: str) -> str:
    return " ".join(text.replace("\b", "").split())


def main(arguments: list[str]) -> int:
    """Write the page, or with --check compare it."""
    text = render()
    if arguments == ["--check"]:
        if PAGE.read_text() == text:
            return 0
        print(f"{PAGE} is not in step with the commands: run python tools/cli_reference.py", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
