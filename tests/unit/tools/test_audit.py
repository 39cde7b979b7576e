"""What is said of the packages that the index knows, and of those that it does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).resolve().parents[3] / "tools" / "audit.py")
assert SPEC is not None
assert SPEC.loader is not None
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

SOUND = {"name": "kopf", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "house", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "yarl",
    "version": "1.2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.3", "1.2.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([None], 0, "not audited"),
        ([[UNKNOWN]], 0, "not audited"),
        ([[SOUND], [SOUND, UNKNOWN]], 0, "1 packages audited, 0 vulnerabilities; the index knows nothing of 1"),
        ([[SOUND], None], 0, "not audited"),
        ([[SOUND], [SOUND, VULNERABLE]], 1, "yarl 1.2: PYSEC-1, mended in 1.3, 1.2.1"),
        ([[SOUND], [VULNERABLE]], 1, "yarl 1.2: PYSEC-2, mended in no version yet"),
    ],
)
def test_a_known_vulnerability_fails_and_a_silent_index_is_named(monkeypatch, capsys, answers, code, said):
    asked = []

    def answer(pins):
        asked.append(pins)
        found = answers[len(asked) - 1]
        return found if found is None else {"dependencies": found}

    monkeypatch.setattr(audit, "audit", answer)
    assert audit.main() == code
    assert said in capsys.readouterr().out
    assert all("==" in pin for pins in asked for pin in pins)
    assert len(asked[0]) == 1
    assert len(asked) == len(answers)
    assert len(asked) == 1 or len(asked[1]) > 100
