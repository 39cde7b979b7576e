"""The kubectl and helm of the tutorial do what the page shows, one block after the other."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from operatorkit.testing import eventually

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "first-operator.md"
BLOCKS = re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
READY = {"dev": "website is ready", "controlplane": "KUBECONFIG="}


class Terminal:
    """A reader's directory and environment, and the processes that stay in front in other terminals."""

    def __init__(self, folder: Path, *programs: Path) -> None:
        self.folder = folder
        paths = [Path(sys.executable).parent, *(program.parent for program in programs)]
        self.environment = {**os.environ, "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]])}
        self.environment |= {"HOME": str(folder)}
        self.front: subprocess.Popen[str] | None = None

    def start(self, words: list[str]) -> None:
        """Stop what is in front, and start this there; return once it says that it is ready."""
        self.stop()
        self.front = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )
        assert self.front.stdout is not None
        assert any(READY[words[1]] in line for line in self.front.stdout), f"{words} ended before it was ready"

    def stop(self) -> None:
        if self.front is not None:
            self.front.terminate()
            self.front.communicate(timeout=120)
        self.front = None

    def run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        return done.stdout + done.stderr


@pytest.fixture
def terminal(binaries, helm, tmp_path):
    terminal = Terminal(tmp_path, binaries.kubectl, binaries.helm)
    yield terminal
    terminal.stop()


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_a_reader_who_types_every_block_sees_what_the_page_shows(terminal):
    for lang, info, body in BLOCKS:
        how, _, name = info.partition("=")
        if how in {"title", "append"}:
            with (terminal.folder / name).open("w" if how == "title" else "a") as file:
                file.write(body)
            continue
        assert lang == "console"
        for part in body.split("$ ")[1:]:
            command, *shown = part.splitlines()
            words = shlex.split(command)
            if how == "background":
                terminal.start(words)
            elif words[0] == "export":
                variable, _, value = words[1].partition("=")
                terminal.environment[variable] = value
            else:
                await follow(terminal, words, shown)


async def follow(terminal: Terminal, words: list[str], shown: list[str]) -> None:
    """Run a command; one that only reads is run until the page's lines are there."""

    async def once() -> bool:
        said = terminal.run(words)
        for line in shown:
            assert line.strip() == "..." or line in said, f"{' '.join(words)}: {said}"
        return True

    if words[:2] == ["kubectl", "get"]:
        await eventually(once, timeout=120)
    else:
        await once()
