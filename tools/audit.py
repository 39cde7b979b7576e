"""Asks the package index for known vulnerabilities of the pinned dependencies.

Exit code 1 where a pinned version has one: each is named with the version that mends it. An index that keeps no such
records, as a mirror often does, is named and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "dev.txt"
"""All pinned packages: it includes those of runtime.txt."""
_TIMEOUT_SECONDS = 300.0


def report(found: dict[str, Any]) -> tuple[list[str], int, int]:
    """Return a line for each vulnerability, and how many packages were audited and how many were not."""
    lines: list[str] = []
    skipped = 0
    for package in found["dependencies"]:
        if "skip_reason" in package:
            skipped += 1
            continue
        lines += [
            f"{package['name']} {package['version']}: {each['id']}, mended in "
            f"{', '.join(each['fix_versions']) or 'no version yet'}"
            for each in package["vulns"]
        ]
    return lines, len(found["dependencies"]) - skipped, skipped


def audit(pins: list[str]) -> dict[str, Any] | None:
    """Return what pip-audit finds for exact requirements, None where the index does not answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--disable-pip",
            "--no-deps",
            "--format",
            "json",
        ]
        try:
            run = subprocess.run(
                [*command, "--progress-spinner", "off", "-r", file.name],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
            found: dict[str, Any] = json.loads(run.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError):
            return None
    return found


def main() -> int:
    """Audit one package, and then the others if the index knows it; return the exit code."""
    pins = re.findall(r"^([a-z0-9._-]+==[^\s\\;]+)", PINS.read_text(), re.MULTILINE)
    first = audit(pins[:1])
    if first is None or report(first)[1] == 0:
        print(
            "the package index keeps no records of vulnerabilities, or does not answer: not audited"
        )
        return 0
    found = audit(pins)
    if found is None:
        print(f"pip-audit gave no answer within {_TIMEOUT_SECONDS:g} s: not audited")
        return 0
    lines, audited, skipped = report(found)
    print(
        f"{audited} packages audited, {len(lines)} vulnerabilities; the index knows nothing of {skipped}"
    )
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
