# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Measure what waits cost in one real triggerer of Airflow and how soon they end, ours beside other ways.

Each size of each way has its own triggerer (``airflow triggerer`` on PostgreSQL and Valkey). It gets deferred tasks,
nothing happens for a while, and then the batch is closed. Times are taken where the trigger starts and where it fires;
the end of a task is what Airflow's table says.

- ``one workflow``, ``own workflows``: our `WaitsyTrigger`, all on one workflow, or each on its own; the time is counted
  from the last close.
- ``one workflow bare``, ``own workflows bare``: the limit. A trigger that ends when an event names its workflow, and
  asks nothing. What is left is what Airflow does for each trigger that fires, and the closings.
- ``nothing``: a trigger that only sleeps, for Airflow's own share of the memory.
- ``ExternalTaskSensor``: its trigger, on a DAG run, which then succeeds.
- ``AwaitMessageTrigger``: of the Redis provider, on a channel.
- ``waitsy``: a process for each wait that polls a server, as the original's client does.

The last three poll, here every ``--poll`` seconds as the original's client does; the default of the first two is 60.

Run: ``python benchmarks/waits.py [--sizes 1,100,1000,10000] [--only WAY,WAY] [--idle 60]``; a quick look:
``python benchmarks/waits.py --sizes 1,20 --idle 5 --poll 2``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from dataclasses import asdict
from pathlib import Path

from waits_airflow import Rig
from waits_measurement import Found, Measurement
from waits_ways import WAYS, Waitsy

GOALS = {("own workflows", 1_000): 0.4, ("one workflow", 1_000): 0.5, ("one workflow", 10_000): 4.0}
"""Seconds from the close until all have fired, for ours."""
AT_MOST = {"ExternalTaskSensor": 1_000, "AwaitMessageTrigger": 1_000, "waitsy": 100}
"""The largest size of a way: each of its waits costs a connection, a request to Airflow or a process."""


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(results: dict[str, dict[int, Found]]) -> None:
    titles = (
        "way", "waits", "started, s", "Redis connections", "KiB a wait", "commands a minute", "processor s a minute",
        "fired, mean s", "all fired, s", "all stored, s",
    )  # fmt: skip
    print(f"\n| {' | '.join(titles)} |")
    print("|---|" + "---:|" * (len(titles) - 1))
    for way, sizes in results.items():
        for size, found in sizes.items():
            print(f"| {way} | {size:,} | {' | '.join(shown(value) for value in asdict(found).values())} |")


def print_ratios(results: dict[str, dict[int, Found]]) -> None:
    """Print how many times more the other ways take than ours on one workflow."""
    ours = results.get("one workflow", {})
    print("\n| others ÷ ours | waits | connections | memory | mean delay | until all have fired |")
    print("|---|---:|---:|---:|---:|---:|")
    for way in AT_MOST:
        for size, found in results.get(way, {}).items():
            if size in ours and size > 1:
                one = ours[size]
                pairs = [(getattr(found, name), getattr(one, name)) for name in ("connections", "kib", "mean", "last")]
                ratios = [shown(a / b) if a and b else "-" for a, b in pairs]
                print(f"| {way} | {size:,} | {' | '.join(ratios)} |")
    for (way, size), goal in GOALS.items():
        found, limit = (results.get(name, {}).get(size) for name in (way, f"{way} bare"))
        if found is not None and found.last is not None:
            print(f"\n{size:,} waits, {way}: all fired after {found.last:.2f} s (goal < {goal:g} s)", end="")
            if limit is not None and limit.last:
                print(f"; bare triggers {limit.last:.2f} s, ratio {found.last / limit.last:.2f}", end="")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1,100,1000,10000", help="how many waits, smallest first")
    parser.add_argument("--only", default=",".join(WAYS), help="these ways; default is all")
    parser.add_argument("--idle", type=float, default=60, help="seconds to look on while nothing happens")
    parser.add_argument("--poll", type=float, default=10, help="seconds between two polls of those that poll")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    # The triggerer keeps a log file open for each task, and Valkey a connection for each that has one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    results: dict[str, dict[int, Found]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            rig.start()
            for size in sizes:
                for name in arguments.only.split(","):
                    if size > AT_MOST.get(name, size):
                        continue
                    measurement = Measurement(rig, WAYS[name](rig, arguments.poll), size, idle=arguments.idle)
                    is_process = WAYS[name] is Waitsy
                    try:
                        found = measurement.in_processes() if is_process else measurement.in_a_triggerer()
                    except TimeoutError as error:
                        print(f"{name}, {size:,}: {error}", flush=True)
                        continue
                    results.setdefault(name, {})[size] = found
                    print(f"{name}, {size:,}: {found}", flush=True)
        finally:
            rig.stop()
    print_table(results)
    print_ratios(results)


if __name__ == "__main__":
    main()
