"""What was measured, and how it is shown: JSON, a plot and a page.

What belongs here: rows and their rendering, all pure but `save` and `publish`. What does not: measuring.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["BENCHMARKS", "Row", "load", "page", "plot", "publish", "row", "save", "summary", "with_table"]

BENCHMARKS = {
    "reconcile": "What an object costs: CPU time and requests of the operator's process, for each object created",
    "latency": "From a PATCH of the spec to the status that answers it, seen by a third party's watch",
    "cache": "10,000 objects from a list into memory",
    "server": "The embedded server's CPU time for one request",
    "pki": "What a certificate costs when many are requested at once, and what one tenant's requests cost another",
    "attestation": "Attestations looked up among a million, and Pods of three images reviewed",
    "admission": "Pods of three images through a real kube-apiserver with attestation's webhooks, and revocations",
    "petset": "PetSets beside the StatefulSets of kube-controller-manager, on one API server and the same simulated nodes",
}
_BEGIN, _END = "<!-- begin: make bench -->", "<!-- end: make bench -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One case: medians over the rounds, of ours and of the peers, and of the ratios within each round.

    `aim` is the highest ratio to a peer that is wanted; `holds` tells whether each is kept, None without an aim.
    `spread` is the lowest and highest of ours; `wall` has medians of the same in wall time, in milliseconds, where
    that was measured.
    """

    case: str
    unit: str
    ours: float
    peers: dict[str, float]
    aim: dict[str, float]
    holds: bool | None
    ratios: dict[str, float]
    spread: tuple[float, float]
    wall: dict[str, float]
    measured: str = ""


def row(
    case: str,
    unit: str,
    figures: Mapping[str, Sequence[float]],
    *,
    aim: Mapping[str, float] | None = None,
    wall: Mapping[str, Sequence[float]] | None = None,
) -> Row:
    """Make a row of what each measured in each round; `ours` is one of them."""
    ours = figures["ours"]
    peers = {name: values for name, values in figures.items() if name != "ours"}
    aim = dict(aim or {})
    ratios = {
        name: statistics.median(_ratio(a, b) for a, b in zip(ours, values, strict=True))
        for name, values in peers.items()
    }
    return Row(
        case,
        unit,
        _rounded(statistics.median(ours)),
        {name: _rounded(statistics.median(values)) for name, values in peers.items()},
        aim,
        all(ratios[name] <= limit for name, limit in aim.items()) if aim else None,
        {name: _rounded(ratio) for name, ratio in ratios.items()},
        (_rounded(min(ours)), _rounded(max(ours))),
        {name: _rounded(statistics.median(values)) for name, values in (wall or {}).items()},
    )


def _ratio(ours: float, theirs: float) -> float:
    if theirs:
        return ours / theirs
    return 1.0 if not ours else 1e9  # nothing against nothing is even; something against nothing is beyond any aim


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def save(name: str, rows: Iterable[Row], folder: Path, measured: str) -> None:
    """Write the rows of one benchmark; `measured` says when and on what."""
    folder.mkdir(parents=True, exist_ok=True)
    data = [asdict(each) | {"measured": measured} for each in rows]
    (folder / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")


def load(folder: Path) -> dict[str, list[Row]]:
    """Return the rows of every benchmark that has results, in the order of `BENCHMARKS`."""
    found: dict[str, list[Row]] = {}
    for name in BENCHMARKS:
        path = folder / f"{name}.json"
        if path.exists():
            found[name] = [_row(data) for data in json.loads(path.read_text())]
    return found


def _row(data: dict[str, Any]) -> Row:
    return Row(**data | {"spread": tuple(data["spread"])})


def publish(root: Path) -> None:
    """Write page, plots and README's table from the results."""
    results = load(root / "bench" / "results")
    folder = root / "docs" / "reference"
    (folder / "performance").mkdir(parents=True, exist_ok=True)
    (folder / "performance.md").write_text(page(results))
    for name, rows in results.items():
        (folder / "performance" / f"{name}.svg").write_text(plot(BENCHMARKS[name], rows))
    readme = root / "README.md"
    readme.write_text(with_table(readme.read_text(), summary(results)))


def page(results: Mapping[str, Sequence[Row]]) -> str:
    """Return docs/reference/performance.md."""
    parts = [_HEAD]
    for name, rows in results.items():
        parts += [
            f"## {name}",
            f"{BENCHMARKS[name]}. Measured {rows[0].measured}.\n",
            *_table(rows),
            f"\n![{BENCHMARKS[name]}](performance/{name}.svg)\n",
        ]
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| case | unit | ours (lowest to highest) | peers (our ratio to each) | aim | holds |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        peers = "; ".join(f"{name} {value:g} ({each.ratios[name]:g})" for name, value in each.peers.items())
        ours = f"**{each.ours:g}** ({each.spread[0]:g} to {each.spread[1]:g})"
        lines.append(f"| {each.case} | {each.unit} | {ours} | {peers} | {_aim(each)} | {_holds(each)} |")
    return lines


def _aim(each: Row) -> str:
    return "; ".join(f"at most {f'{limit:g} times ' if limit != 1 else ''}{name}" for name, limit in each.aim.items())


def _holds(each: Row) -> str:
    return {True: "yes", False: "**no**", None: ""}[each.holds]


def summary(results: Mapping[str, Sequence[Row]]) -> str:
    """Return README's table: the cases that have an aim."""
    lines = ["| | operatorkit | compared with (our ratio) | aim | holds |", "|---|---|---|---|---|"]
    for rows in results.values():
        for each in rows:
            if each.aim:
                peers = "; ".join(f"{name} {each.peers[name]:g} ({each.ratios[name]:g})" for name in each.aim)
                lines.append(f"| {each.case} | {each.ours:g} {each.unit} | {peers} | {_aim(each)} | {_holds(each)} |")
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """Return `text` with the table between its two marks replaced. Raises ValueError without the marks."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"there is no place for the table: put {_BEGIN} and {_END} on lines of their own")
    return f"{before}{begin}\n{table}\n{end}{after}"


_BAR, _LABEL, _WIDTH = 16, 250, 720


def plot(title: str, rows: Sequence[Row]) -> str:
    """Return an SVG of bars, each case on a scale of its own, because their units differ."""
    lines: list[str] = []
    y = 34
    for each in rows:
        lines.append(f'<text x="8" y="{y + 12}" font-weight="bold">{escape(each.case)} [{escape(each.unit)}]</text>')
        y += 20
        bars = {"operatorkit": each.ours, **each.peers}
        highest = max(bars.values()) or 1.0
        for name, value in bars.items():
            width = round((_WIDTH - _LABEL - 90) * value / highest, 1)
            colour = "#326ce5" if name == "operatorkit" else "#9aa5b1"
            lines += [
                f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LABEL}" y="{y + 2}" width="{width}" height="{_BAR - 4}" fill="{colour}"/>',
                f'<text x="{_LABEL + width + 6}" y="{y + 12}">{value:g}</text>',
            ]
            y += _BAR
        y += 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" font-family="sans-serif" font-size="12">'
    paper = f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    return (
        "\n".join([head, paper, f'<text x="8" y="20" font-size="14">{escape(title)}</text>', *lines, "</svg>"]) + "\n"
    )


_HEAD = """\
# Performance

Written by `make bench` (`make bench ONLY=reconcile` for one part) from `bench/results/*.json`; do not edit it by hand.

Absolute figures differ several-fold between machines. Therefore all contestants run in the same minutes against the same
server, in turn in each round; the result is the median over the rounds of the ratio within a round. Unless a unit
states otherwise, a figure is the CPU time (user and system) of the process that does the work.

- **kopf on.event** is the cheapest kopf: raw events, no diff, no annotation, no retries; it posts no Events, and applies
  the child by plain aiohttp.
- **kopf on.create** is kopf as in its tutorial: create and update handlers, with its last-handled annotation.
- **bare informer** is a watch, a set of dirty names and four workers with plain aiohttp, without error handling.
- **bare request** is the write alone, by plain aiohttp, including reading and decoding of the response.

Each reconciles the objects of its own namespace, which are created while it runs. The engine does more than the others in
the case with a child: it watches the children too, and repairs changes of others; it filters its own writes and does not
run for them. It runs without kopf, which would add nothing per object. Memory is the growth of the process, with free
memory returned, divided by the number of objects; it includes the remainders of HTTP and JSON.

`pki` compares the pki operator with itself: what 1,000 certificates cost each beside 100, what one tenant waits while
another one requests 2,000, and what issuing costs after a denial.

`petset` creates, updates and scales sets of both kinds to none, in turn, on a real control plane. Requests are those of
the audit log in the namespace of the set, without watches, lists and Events. The CPU of StatefulSets is that of the whole
kube-controller-manager, whose garbage collector and other controllers are at work for both.

TLS is off except in `petset`: it would cost all of them the same, and improve the ratios.

Where the engine's time for one status write goes, by cProfile (on 2026-11-21, in shares, which a profiler distorts):
25 % is aiohttp sending the request and reading the response, 11 % our client around it (building the URL, credentials,
decoding), 19 % the two watch events up to the work queue, 12 % the status (compared, encoded, its response cached), 7 %
decoding the object into its model, and the rest the queue, the run and asyncio.

Improvements since, measured on the same day against the code before them and without a network (CPU time per object, the
minimum of many rounds): not decoding changes of which only the key matters, not encoding own writes again, and comparing
the response of a status write instead of the change in the watch made a no-op 8 to 14 % and a status write 5 to 10 %
cheaper; filtering the own write of an applied child made a child 37 % cheaper. URLs are built from parts that are parsed
once, in a sixth of the time. Over the network, on a busy machine, a child went from 1.07 to 0.84 times kopf on.event,
and the gain for a status write was within the noise. uvloop, which `operatorkit run` uses where the extra `speed` is
installed, saved about 8 %; all contestants here run without it. The aim for one status write is out of reach of such
steps: the bare informer, which does less than any engine must, is itself above 1.3 bare requests.
"""
