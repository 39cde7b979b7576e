"""`python -m bench [NAME ...]`: measure, write bench/results, then the page, the plots and README's table."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import platform
import sys
import time
from pathlib import Path

from bench.admitting import admit
from bench.attesting import attest
from bench.caching import cache
from bench.certifying import certify
from bench.keeping import keep
from bench.reconciling import latency, reconcile
from bench.report import BENCHMARKS, Row, publish, save
from bench.requesting import server

_ROOT = Path(__file__).resolve().parents[2]
_MEASURES = {
    "reconcile": reconcile,
    "latency": latency,
    "cache": cache,
    "server": server,
    "pki": certify,
    "attestation": attest,
    "admission": admit,
    "petset": keep,
}


def _conditions() -> str:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    load = os.getloadavg()[0]
    return (
        f"on {today}: {os.cpu_count()} CPUs ({platform.machine()}), {platform.system()}, "
        f"Python {platform.python_version()}, load average {load:.1f} at the start"
    )


def _say(each: Row) -> str:
    peers = ", ".join(f"{name} {value:g} (x{each.ratios[name]:g})" for name, value in each.peers.items())
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "no aim"}[each.holds]
    return f"  {each.case}: {each.ours:g} {each.unit}; {peers}; {verdict}"


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all, and tell what came out; 2 for a name that there is not."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"there is no benchmark {unknown[0]!r}: there are {', '.join(BENCHMARKS)}\n")
        return 2
    for name in names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name]}", flush=True)
        conditions, began = _conditions(), time.perf_counter()
        rows = asyncio.run(_MEASURES[name]())
        save(name, rows, _ROOT / "bench" / "results", conditions)
        print("\n".join(map(_say, rows)), f"\n  took {time.perf_counter() - began:.0f} s", flush=True)
    publish(_ROOT)
    print("written: bench/results, docs/reference/performance.md, README.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
