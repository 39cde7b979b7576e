"""Runs the suite on each Python that this machine has, or with the oldest dependencies that pyproject.toml allows.

python tools/pythons.py [PYTEST ARGUMENT...]           on each of 3.11 to 3.14 that is found, with the pinned versions
python tools/pythons.py --lowest [PYTEST ARGUMENT...]  on the oldest Python, with the lower bound of each dependency

Interpreters are found on PATH and below the directory of pyenv. Each has a virtual environment of its own below
`build/pythons`, which is kept. Exit code 1 if any run fails; a Python that is not there is named, and is no failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINORS = (11, 12, 13, 14)
PLACE = ROOT / "build" / "pythons"
SUITE = (
    "tests/unit",
    "tests/scenarios",
    "tests/contracts",
    "-m",
    "not real and not quarantine",
    "-q",
)


def interpreter(minor: int) -> Path | None:
    """Return the newest interpreter of Python 3.`minor`, or None."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(versions.glob(f"3.{minor}.*/bin/python3.{minor}"), key=_patch, reverse=True)
    on_path = shutil.which(f"python3.{minor}")
    for each in [*found, *([Path(on_path)] if on_path else [])]:
        if subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0:
            return each  # a shim of pyenv for a version that is not selected fails
    return None


def _patch(path: Path) -> int:
    number = path.parents[1].name.rpartition(".")[2]
    return int(number) if number.isdecimal() else -1  # a pre-release


def lowest() -> list[str]:
    """Return the lower bounds of all dependencies, extras included, as exact requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        each
        for name, listed in project["optional-dependencies"].items()
        if name != "all"
        for each in listed
    ]
    bounds = [
        re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", each)
        for each in [*project["dependencies"], *extras]
    ]
    return [f"{found[1]}=={found[2]}" for found in bounds if found is not None]


def environment(python: Path, name: str, *, pinned: bool) -> Path:
    """Return the interpreter of a virtual environment with operatorkit and what its suite needs."""
    place = PLACE / name
    inner = place / "bin" / "python"
    if not inner.exists():
        subprocess.run([python, "-m", "venv", place], check=True)
    pip = [inner, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    if pinned:
        subprocess.run(
            [*pip, "--require-hashes", "-r", "requirements/dev.txt"], cwd=ROOT, check=True
        )
        subprocess.run(
            [*pip, "--no-deps", "--no-build-isolation", "--editable", "."], cwd=ROOT, check=True
        )
        return inner
    constraints = place / "lowest.txt"
    constraints.write_text("\n".join(lowest()) + "\n")
    tools = ["-r", "requirements/dev.in", "-r", "requirements/build.in"]
    subprocess.run([*pip, "-c", constraints, "--editable", ".[all]", *tools], cwd=ROOT, check=True)
    return inner


def run(python: Path, arguments: list[str]) -> bool:
    """Run the suite, or the tests that are named; return whether all passed."""
    command = [python, "-m", "pytest", *(arguments or SUITE)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Run what the arguments say; return the exit code."""
    found = {minor: python for minor in MINORS if (python := interpreter(minor)) is not None}
    if missing := [f"3.{minor}" for minor in MINORS if minor not in found]:
        print(f"not on this machine: Python {', '.join(missing)}", flush=True)
    if not found:
        return 1
    if arguments[:1] == ["--lowest"]:
        minor = min(found)
        print(f"Python 3.{minor} with the lowest versions", flush=True)
        return (
            0
            if run(environment(found[minor], f"3.{minor}-lowest", pinned=False), arguments[1:])
            else 1
        )
    passed = True
    for minor, python in found.items():
        print(f"Python 3.{minor}", flush=True)
        passed = run(environment(python, f"3.{minor}", pinned=True), arguments) and passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
