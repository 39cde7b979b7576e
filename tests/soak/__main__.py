"""Live through many histories, and say which ended wrong: python -m soak [--seeds N] [--first SEED]."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from soak import history, virtual

_PER_WORLD = 25


def main() -> int:
    """Run what the command line asks for; the exit code is 1 when a history ended wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="Random histories of an operator.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first (default: 0)")
    options = parser.parse_args()
    if options.seeds == 1:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s: %(message)s")
    else:
        logging.disable(logging.CRITICAL)
    started, wrong, runs = time.monotonic(), [], 0
    end = options.first + options.seeds
    for begin in range(options.first, end, _PER_WORLD):
        for each in virtual.run(history.live_all(range(begin, min(begin + _PER_WORLD, end)))):
            runs += each.runs
            if each.wrong:
                wrong.append(each.seed)
                print(each.report(), flush=True)
        done = min(begin + _PER_WORLD, end) - options.first
        print(f"{done} of {options.seeds} histories, {runs} runs, {time.monotonic() - started:.0f} s", flush=True)
    if wrong:
        print(f"{len(wrong)} ended wrong; to see one happen: make soak SEEDS=1 FIRST={wrong[0]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
