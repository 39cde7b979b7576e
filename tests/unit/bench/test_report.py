"""How figures become verdicts, a page and README's table; that what is committed is in step."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _load() -> ModuleType:
    """Import the one module: the package is on the path of `make bench` only."""
    spec = importlib.util.spec_from_file_location("bench_report", ROOT / "tests" / "bench" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


report = _load()


def test_a_ratio_is_the_median_of_the_ratios_within_each_round():
    # the third round met a busy machine: both are slow, and their ratio is not
    row = report.row("c", "ms", {"ours": [1.0, 1.0, 9.0], "peer": [2.0, 2.0, 18.0]}, aim={"peer": 0.5})
    assert (row.ours, row.peers, row.ratios) == (1.0, {"peer": 2.0}, {"peer": 0.5})
    assert row.spread == (1.0, 9.0)
    assert row.holds is True


@pytest.mark.parametrize(
    ("aim", "holds"),
    [
        ({}, None),
        ({"slow": 0.5}, True),
        ({"fast": 1.9}, False),
        ({"slow": 0.5, "fast": 1.9}, False),
        ({"slow": 0.5, "fast": 2.0}, True),
    ],
)
def test_an_aim_holds_only_if_it_holds_against_each_peer_that_it_names(aim, holds):
    assert report.row("c", "ms", {"ours": [2.0], "slow": [8.0], "fast": [1.0]}, aim=aim).holds is holds


@pytest.mark.parametrize(("ours", "holds"), [(0.0, True), (0.01, False)])
def test_where_nothing_is_needed_only_nothing_holds(ours, holds):
    assert report.row("requests", "each", {"ours": [ours], "needed": [0.0]}, aim={"needed": 1.0}).holds is holds


def test_results_are_a_list_of_cases_and_come_back_as_they_were(tmp_path):
    row = report.row("c", "ms", {"ours": [1.0], "peer": [2.0]}, aim={"peer": 0.4}, wall={"ours": [3.0], "peer": [4.0]})
    report.save("cache", [row], tmp_path, "on a day")
    assert report.load(tmp_path) == {"cache": [replace(row, measured="on a day")]}
    assert {"case", "unit", "ours", "peers", "aim", "holds"} <= asdict(row).keys()


def test_a_missed_aim_is_shown_in_the_page_and_in_the_readme():
    rows = {"server": [report.row("GET", "us", {"ours": [3.0], "empty": [2.0]}, aim={"empty": 1.3})]}
    assert "| GET | us | **3** (3 to 3) | empty 2 (1.5) | at most 1.3 times empty | **no** |" in report.page(rows)
    assert "| GET | 3 us | empty 2 (1.5) | at most 1.3 times empty | **no** |" in report.summary(rows)


def test_only_what_is_between_the_marks_of_a_text_is_replaced():
    text = "a\n<!-- begin: make bench -->\nold\n<!-- end: make bench -->\nb\n"
    assert report.with_table(text, "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no place for the table"):
        report.with_table("a\n", "new")


def test_a_plot_is_well_formed_and_its_longest_bar_is_the_highest_figure():
    svg = ET.fromstring(report.plot("a < b", [report.row("c & d", "ms", {"ours": [1.0], "peer": [4.0]})]))
    _, ours, peer = (float(bar.get("width")) for bar in svg.findall("{*}rect"))
    assert peer == pytest.approx(4 * ours, rel=0.01)


def test_the_page_the_plots_and_readme_say_what_the_results_say():
    results = report.load(ROOT / "bench" / "results")
    assert list(results) == list(report.BENCHMARKS)
    reference = ROOT / "docs" / "reference"
    assert (reference / "performance.md").read_text() == report.page(results)
    for name, rows in results.items():
        assert (reference / "performance" / f"{name}.svg").read_text() == report.plot(report.BENCHMARKS[name], rows)
    readme = (ROOT / "README.md").read_text()
    assert readme == report.with_table(readme, report.summary(results))


def test_a_benchmark_that_there_is_not_is_rejected_with_the_names_of_those_there_are():
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "nonsense"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert re.search(r"no benchmark 'nonsense': .*reconcile, latency, cache, server", ran.stderr)
