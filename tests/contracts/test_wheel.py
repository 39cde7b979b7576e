"""What `pip install operatorkit` puts on a machine."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel as pip would, without an isolated environment and so without the network."""
    target = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(target), "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"operatorkit", "operators"}


def test_operators_is_a_namespace_so_that_others_can_add_to_it(wheel: zipfile.ZipFile) -> None:
    assert "operators/__init__.py" not in wheel.namelist()
    assert "operators/pki/__init__.py" in wheel.namelist()


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "operatorkit", "operators"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    committed = {name for name in listed.stdout.split() if (ROOT / name).is_file()}
    assert committed - set(wheel.namelist()) == set()


def test_the_wheel_says_that_it_is_typed_and_names_its_licence_and_entry_points(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "operatorkit/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    text = wheel.read(entry_points).decode()
    assert "operatorkit = operatorkit.cli:main" in text
    assert "pki = operators.pki:app" in text
    assert "operatorkit = operatorkit.testing.plugin" in text


def test_the_source_distribution_holds_all_that_its_tests_and_its_makefile_need(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    committed = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert {name for name in committed - held if not name.startswith(".")} == set()
