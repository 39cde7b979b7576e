"""The charts that are committed are those that the code makes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from operatorkit.chart import crd_chart, operator_chart
from operatorkit.cli._load import load

CHARTS = Path(__file__).resolve().parents[2] / "charts"
OPERATORS = ("attestation", "mysql_sharding", "petset", "pki")
OF_SERVERS = ("attestation-server",)  # what is no operator has a chart that is written by hand


@pytest.mark.parametrize("name", OPERATORS)
def test_the_charts_of_an_operator_are_in_step_with_its_code(name: str) -> None:
    app, current = load(name).app, version("operatorkit")
    for chart in (crd_chart(app, version=current), operator_chart(app, name, version=current)):
        assert chart.differences(CHARTS) == [], f"run `operatorkit package {name} -o charts`"


def test_every_chart_is_one_that_the_code_makes() -> None:
    named = [load(operator).app.name for operator in OPERATORS]
    made = {name for operator in named for name in (operator, f"{operator}-crds")}
    assert {path.name for path in CHARTS.iterdir()} == made | set(OF_SERVERS)
