"""Build the registries, and cosign, that tests use."""

from __future__ import annotations

import sys

from registries import MODULES, build

for module in MODULES:
    path = build(module)
    sys.stdout.write(f"{module}: {path or 'was not built: it takes a Go toolchain and a module proxy'}\n")
    if path is None:
        sys.exit(1)
