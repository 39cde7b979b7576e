"""Helm charts, made of an operator's declaration and nothing else.

What belongs here: what the charts hold, derived from an `Operator` and its classes, and whether a directory holds just
that. What does not: running helm, images, and the command line (`operatorkit.cli.package`).

    Operator ──> permissions ──> rbac ─────┐
        │                                  ├──> templates (jinja2) ──> Chart: file names and their text
        └──────> kinds ──> definitions ────┘        values: one table makes values.yaml and values.schema.json

The texts that come out are Helm's templates; jinja2 has other brackets here, `[[ ]]` and `[% %]`, so that Helm's own
stand in the files as they will be.
"""

from __future__ import annotations

from operatorkit.chart.chart import Chart, crd_chart, operator_chart
from operatorkit.chart.rbac import Rule, rules

__all__ = ["Chart", "Rule", "crd_chart", "operator_chart", "rules"]
