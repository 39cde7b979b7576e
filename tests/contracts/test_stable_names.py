"""Names that live in other people's clusters, dashboards and scripts: reasons, labels, annotations, exit codes.

They change only with a record in docs/adr (docs/adr/0005-labels-annotations-and-reasons.md). After such a change, or for
a new name, run `python tests/contracts/test_stable_names.py` to take a new snapshot.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import operatorkit.names
from operatorkit._runtime.reasons import EngineReason
from operatorkit.cli import ExitCode
from operatorkit.errors import ChildConflict, TerminalError
from operatorkit.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).with_name("stable_names.json")
OPERATORS = sorted(path.parent.name for path in (ROOT / "operators").glob("*/reasons.py"))


def current() -> dict[str, object]:
    """Return the names as the code has them."""
    names = vars(operatorkit.names)
    return {
        "exit codes": {code.name: code.value for code in ExitCode},
        "labels": sorted(value for name, value in names.items() if name.startswith("LABEL_")),
        "annotations": sorted(value for name, value in names.items() if name.startswith("ANNOTATION_")),
        "prefixes": sorted(value for name, value in names.items() if name == "PREFIX" or name.endswith("_PREFIX")),
        "metrics": {metric.name: list(metric.labels) for metric in METRICS},
        "reasons of the engine": sorted(EngineReason),
        **{f"reasons of {operator}": reasons(operator) for operator in OPERATORS},
    }


def reasons(operator: str) -> list[str]:
    """Return the reasons of a bundled operator: the constants of its module `reasons`."""
    module = importlib.import_module(f"operators.{operator}.reasons")
    return sorted({value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)})


def test_the_names_are_those_of_the_snapshot() -> None:
    assert current() == json.loads(SNAPSHOT.read_text())


def test_the_snapshot_has_the_names_of_every_kind() -> None:
    snapshot = json.loads(SNAPSHOT.read_text())
    assert [kind for kind, names in snapshot.items() if not names] == []
    assert {f"reasons of {operator}" for operator in OPERATORS} <= snapshot.keys()


def test_every_reason_of_the_engine_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert documented == set(EngineReason)


def test_every_metric_is_documented_with_its_labels_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*)\|", page, re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}
    assert documented == {metric.name: list(metric.labels) for metric in METRICS}


def test_no_module_of_the_engine_spells_a_reason_out() -> None:
    engine = [path for path in (ROOT / "operatorkit" / "_runtime").glob("*.py") if path.name != "reasons.py"]
    spelled = {(path.name, reason) for path in engine for reason in EngineReason if f'"{reason}"' in path.read_text()}
    assert spelled == set()


def test_errors_that_carry_a_reason_carry_one_of_the_list() -> None:
    assert {TerminalError("it cannot be").reason, ChildConflict.reason} <= set(EngineReason)


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(current(), indent=2) + "\n")
