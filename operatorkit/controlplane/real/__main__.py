"""`python -m operatorkit.controlplane.real install|find`: have the programs of a real control plane ready, or look."""

from __future__ import annotations

import sys

from operatorkit.controlplane.real.binaries import find
from operatorkit.controlplane.real.build import ensure_binaries
from operatorkit.errors import OperatorKitError


def main(arguments: list[str]) -> int:
    """Find (and, for `install`, build) the programs and print their paths; return the exit code."""
    if arguments not in (["install"], ["find"]):
        print("usage: python -m operatorkit.controlplane.real install|find", file=sys.stderr)  # noqa: T201
        return 2
    try:
        binaries = ensure_binaries() if arguments == ["install"] else find()
    except OperatorKitError as error:
        print(f"operatorkit: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if binaries is None:
        print("there are none: `install` builds them and needs Go", file=sys.stderr)  # noqa: T201
        return 1
    for path in (
        binaries.kube_apiserver,
        binaries.etcd,
        binaries.kube_controller_manager,
        binaries.kubectl,
        binaries.helm,
    ):
        if path is not None:
            print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
