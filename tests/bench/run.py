"""Measures Cadenza against the bare stack on a fake provider, and prints a table with the budget: `make bench`.

Needs Linux: CPU and memory are read from /proc. The systems run on one core, the provider and the load on another.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import measure
from load import LoadError
from systems import LOAD_CORE, SERVER_CORE, Setup, serving, serving_upstream
from table import render_noise, render_table

NAMES = ("bare", "cadenza")
EACH: tuple[measure.Measurement, ...] = (
    measure.measure_memory,
    measure.measure_requests,
    measure.measure_messages,
    measure.measure_paced,
    measure.measure_burst,
)

Results = dict[str, dict[str, list[float]]]


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures Cadenza against the bare stack.")
    parser.add_argument("--rounds", type=int, default=4, help="how often each system is measured (default: 4)")
    parser.add_argument("--long", action="store_true", help="1,000 streams in every round, not in the first one only")
    options = parser.parse_args()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    begun = time.monotonic()
    try:
        results = _measure(options.rounds, options.long)
    except (LoadError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(render_table(results["bare"], results["cadenza"]))
    print(f"\n{render_noise(results['bare'])}; {time.monotonic() - begun:.0f} s")
    if SERVER_CORE == LOAD_CORE:
        print("There is one core only: the load took its time from the servers, so seconds say little.")
    return 0


def _measure(rounds: int, long: bool) -> Results:
    results: Results = {name: defaultdict(list) for name in NAMES}
    with serving_upstream() as upstream, tempfile.TemporaryDirectory() as folder:
        setup = Setup.make(upstream, Path(folder))
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            _run_round(results, upstream, setup, long or number == 0)
        for name in NAMES:
            _add(results, name, measure.count_calls(name, setup))
    return results


def _run_round(results: Results, upstream: int, setup: Setup, many: bool) -> None:
    with serving("bare", setup) as bare, serving("cadenza", setup) as cadenza:
        systems = [bare, cadenza]
        for measurement in [*EACH, measure.measure_many] if many else EACH:
            for system in systems:
                _add(results, system.name, measurement(system, setup))
        for name, values in measure.measure_first_token(systems, upstream, setup).items():
            _add(results, name, values)


def _add(results: Results, name: str, values: measure.Values) -> None:
    for key, value in values.items():
        results[name][key].append(value)


if __name__ == "__main__":
    sys.exit(main())
