"""The tutorial of PetSets does what the page shows, one block after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from operatorkit.testing import eventually
from operatorkit.testing.backends import start

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "petset.md"
BLOCKS = re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def without_ages(text: str) -> str:
    """Leave out what differs from run to run: ages, and the spaces that they take."""
    return re.sub(r"\b\d+(s|m\d*s?)(?=\s|$)", "AGE", re.sub(r" +", " ", text)).strip()


def test_every_block_is_of_a_kind_that_is_run() -> None:
    kinds = {(language, info.partition("=")[0]) for language, info, _ in BLOCKS}
    assert kinds == {("console", "background"), ("console", ""), ("yaml", "title")}


@pytest.fixture
def terminal(binaries, tmp_path):
    """The reader's directory and environment, with a control plane and the operator in other terminals."""
    for _, info, body in BLOCKS:
        if info.startswith("title="):
            (tmp_path / info.partition("=")[2]).write_text(body)
    _, running = (body.removeprefix("$ operatorkit ").split() for _, info, body in BLOCKS if info == "background")
    with start("embedded", nodes=1) as plane:
        kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig")
        paths = [str(Path(sys.executable).parent), str(binaries.kubectl.parent), os.environ["PATH"]]
        with subprocess.Popen(
            [sys.executable, "-m", "operatorkit", *running],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as operator:
            assert any("petset is ready" in line for line in operator.stdout)
            own = {"PATH": os.pathsep.join(paths), "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)}
            yield tmp_path, {**os.environ, **own}
            operator.terminate()
            operator.communicate(timeout=60)


async def test_the_commands_print_what_the_page_shows(terminal) -> None:
    for language, info, body in BLOCKS:
        if (language, info) == ("console", ""):
            for command in body.split("$ ")[1:]:
                await check(command, *terminal)


async def check(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command until it prints what is shown below it: one that changes something is run once."""
    line, _, shown = command.partition("\n")
    words = line.replace("operatorkit ", f"{sys.executable} -m operatorkit ", 1) if line[0] == "o" else line

    def prints() -> bool:
        done = subprocess.run(
            words, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        found = without_ages(done.stdout + done.stderr)
        assert found == without_ages(shown), f"$ {line}\n{found}"
        return True

    if any(f" {verb} " in line for verb in ("apply", "scale", "delete", "rollback")):
        prints()
    else:
        await eventually(prints, timeout=60)
