"""What must be installed beside operatorkit: the extra `attestation`.

What belongs here: the check, which is the first thing that an import of the operator does. What does not: using it.
"""

from __future__ import annotations

import importlib.util

from operatorkit.errors import InputError

for _package in ("pysequoia", "sqlalchemy", "grafeas"):
    if importlib.util.find_spec(_package) is None:
        raise InputError(
            f"attestation needs {_package}, which is not installed: pip install 'operatorkit[attestation]'"
        )
