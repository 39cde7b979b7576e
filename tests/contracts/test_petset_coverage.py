"""The page that compares PetSet with StatefulSet names every field, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kubernetes.client import models
from pydantic import BaseModel
from scenarios.petset.scripts import SCRIPTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "petset-coverage.md"
ROWS = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
NESTED = {
    "spec.ordinals": models.V1StatefulSetOrdinals,
    "spec.persistentVolumeClaimRetentionPolicy": models.V1StatefulSetPersistentVolumeClaimRetentionPolicy,
    "spec.updateStrategy": models.V1StatefulSetUpdateStrategy,
    "spec.updateStrategy.rollingUpdate": models.V1RollingUpdateStatefulSetStrategy,
}


def fields(model: type[BaseModel], path: str) -> set[str]:
    """Return the paths of a model's fields, those of StatefulSet's own parts instead of the parts."""
    found: set[str] = set()
    for name in model.model_fields:
        head, *rest = name.split("_")
        inner = f"{path}.{head}{''.join(word.capitalize() for word in rest)}"
        found |= fields(NESTED[inner], inner) if inner in NESTED else {inner}
    return found


def test_every_field_of_a_stateful_set_is_on_the_page() -> None:
    wanted = fields(models.V1StatefulSetSpec, "spec") | fields(models.V1StatefulSetStatus, "status")
    named = {row[0].strip("`") for row in ROWS if row[0].startswith("`")}
    assert named == wanted


def test_every_test_and_script_on_the_page_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    shown = [row[-1] for row in ROWS if "`" in row[-1]]
    assert len(shown) > 40
    for cell in shown:
        for script, name in re.findall(r"(script )?`([^`]+)`", cell):
            assert name in SCRIPTS if script else re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), name


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row[0] not in {"field", "behavior", "---"}], ids=lambda row: row[0]
)
def test_each_row_names_a_test(row: list[str]) -> None:
    assert re.search(r"`[^`]+`", row[-1])
