"""Scripts rely on exit codes: they are these, and the reference lists them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from operatorkit.cli import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def operatorkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operatorkit", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_exit_codes_are_these() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "LEASE_LOST": 3,
        "INTERRUPTED": 130,
    }


def test_the_reference_lists_every_exit_code() -> None:
    table = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert [code for code in ExitCode if f"\n| {code.value}" not in table] == []


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (ExitCode.DONE, ["--version"], "operatorkit 0."),
        (ExitCode.DONE, ["--help"], "Commands:"),
        (ExitCode.DONE, ["crd", "render", "pki"], "certificates.pki.operatorkit.dev"),
        (ExitCode.FAILED, ["crd", "render", "nowhere.py"], "operatorkit: there is no file nowhere.py"),
        (ExitCode.FAILED, ["run", "pki", "--kubeconfig", "/nowhere"], "no kubeconfig at /nowhere"),
        (ExitCode.FAILED, ["package", "pki", "-o", "nowhere", "--check"], "the charts differ from the code"),
        (ExitCode.USAGE, [], "Commands:"),
        (ExitCode.USAGE, ["crd", "render"], "Missing argument"),
        (ExitCode.USAGE, ["contolplane"], "Did you mean 'controlplane'?"),
        (
            ExitCode.USAGE,
            ["run", "pki", "--namespace", "Not A Name"],
            "'Not A Name' is not a valid name of a namespace",
        ),
        (ExitCode.USAGE, ["run", "pki", "--leader-elect-resource-name", "A b"], "'A b' is not a valid name of a Lease"),
        (
            ExitCode.USAGE,
            ["run", "pki", "-n", "a", "-n", "b"],
            "the option is given 2 times (a, b): an operator works in one",
        ),
        (ExitCode.USAGE, ["controlplane", "up", "--port", "70000"], "70000"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else None,
)
def test_a_command_ends_with_its_exit_code_and_says_why(code: ExitCode, arguments: list[str], words: str) -> None:
    done = operatorkit(*arguments)
    said = done.stdout + done.stderr
    assert (done.returncode, words in said) == (code, True), said
    assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_an_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "operatorkit", "crd", "render", "pki"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == "operatorkit: the output cannot be written: No space left on device\n"


def test_a_shell_completes_commands_and_options_as_the_reference_says() -> None:
    assert '"$(_OPERATORKIT_COMPLETE=bash_source operatorkit)"' in (ROOT / "docs/reference/cli.md").read_text()
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['operatorkit']; from operatorkit.cli import main; main()"],
        env={
            **os.environ,
            "_OPERATORKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": "operatorkit controlplane up --b",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "plain,--backend\n"
