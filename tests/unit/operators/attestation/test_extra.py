"""Without the extra, operatorkit works, and attestation says in one line what to install."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = "import sys; sys.modules['pysequoia'] = None; sys.argv = ['operatorkit', *sys.argv[1:]]; "


def run(*arguments):
    script = f"{WITHOUT}from operatorkit.cli import main; main()"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_line_works_without_the_extra():
    done = run("--help")
    assert (done.returncode, "attest" in done.stdout) == (0, True)


def test_attestation_names_what_to_install():
    for arguments in (("attest", "serve"), ("run", "attestation")):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1] == (
            "operatorkit: attestation needs pysequoia, which is not installed: pip install 'operatorkit[attestation]'"
        )
