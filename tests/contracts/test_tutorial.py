"""The tutorial is true as far as operatorkit alone can tell; its kubectl and helm are run by tests/real/test_tutorial.py."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operatorkit.testing import eventually
from operatorkit.testing.user import User

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-operator.md"
_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall(PAGE.read_text())


def commands(info: str) -> list[tuple[list[str], list[str]]]:
    """Return the words of each operatorkit command in console blocks of this kind, and the lines shown below it."""
    parts = [part for lang, kind, body in BLOCKS if (lang, kind) == ("console", info) for part in body.split("$ ")[1:]]
    split = [(part.splitlines()[0].split(), part.splitlines()[1:]) for part in parts]
    return [(words[1:], shown) for words, shown in split if words[0] == "operatorkit"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's directory, once every file of the page is saved."""
    for _, info, body in BLOCKS:
        how, _, name = info.partition("=")
        if how == "title":
            (tmp_path / name).write_text(body)
        elif how == "append":
            (tmp_path / name).write_text((tmp_path / name).read_text() + body)
    return tmp_path


@pytest.fixture
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (words, _), *_ = commands("background")
    with subprocess.Popen(
        [sys.executable, "-m", "operatorkit", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.terminate()
        assert process.stdout is not None
        process.stdout.read()


def test_every_block_is_of_a_kind_that_a_test_runs() -> None:
    kinds = {(lang, info.partition("=")[0]) for lang, info, _ in BLOCKS}
    assert kinds == {
        ("python", "title"),
        ("python", "append"),
        ("yaml", "title"),
        ("console", ""),
        ("console", "background"),
    }
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS)


def test_the_commands_that_need_no_cluster_print_what_the_page_shows(folder: Path) -> None:
    assert len(commands("")) == 3
    for words, shown in commands(""):
        done = subprocess.run(
            [sys.executable, "-m", "operatorkit", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for line in shown:
            assert line in ("", "...") or line in done.stdout


async def test_the_operator_makes_the_site_and_rejects_the_wrong_one(
    folder: Path, started: subprocess.Popen[str]
) -> None:
    assert started.stdout is not None
    assert any("website is ready" in line for line in started.stdout), "it ended before it was ready"
    admin = User("admin", (), yaml.safe_load((folder / "kubeconfig").read_text()))
    sites = "/apis/example.io/v1/namespaces/default/websites"

    async def made() -> Any:
        found = await asyncio.to_thread(admin.request, "GET", "/api/v1/namespaces/default/configmaps/home")
        assert found.status == 200
        site = await asyncio.to_thread(admin.request, "GET", f"{sites}/home")
        assert site.json["status"] == {"pages": 1}
        return found.json["data"]

    answer = admin.request("POST", sites, yaml.safe_load((folder / "home.yaml").read_text()))
    assert answer.status == 201, answer.text
    data = await eventually(made)
    [shown] = re.findall(r"^index\.html: .*$", PAGE.read_text(), re.MULTILINE)
    assert data == yaml.safe_load(shown)

    answer = admin.request("POST", sites, yaml.safe_load((folder / "wrong.yaml").read_text()))
    [reported] = re.findall(r"^spec\.pages: Invalid value.*$", PAGE.read_text(), re.MULTILINE)
    assert answer.status == 422
    assert reported in answer.json["message"]
