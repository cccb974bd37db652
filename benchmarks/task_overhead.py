# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What a task costs around its script: chains of jobs that do nothing, with BashBundleOperator and with BashOperator.

Starts a separate Airflow (Valkey, PostgreSQL, all components, LocalExecutor) with one DAG of each kind, and runs them
in turns. Times are those of the task instances, start to end, as Airflow has them. A plugin in the scheduler counts
the calls of Airflow's execution API that its tasks make.

Usage: python benchmarks/task_overhead.py [--jobs N] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchy_provider.local.rest import wait_for
from batchy_provider.local.stack import LocalStack, remove_database

PLAIN, OURS = "plain", "ours"
LOADER = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain
from batchy_provider.dag_factory import cfg_folder, load_dags

with DAG("plain", schedule=None):
    chain(*(BashOperator(task_id=f"job{number}", bash_command="true") for number in range(JOBS)))
load_dags(cfg_folder(__file__), globals())
"""
COUNTER = """
import os
import httpx
from airflow.plugins_manager import AirflowPlugin

really = httpx.Client.send


def send(client, request, **options):
    if "/execution/" in request.url.path:
        parts = request.url.path.split("/execution/")[1].split("/")
        what = parts[0] if parts[0] != "task-instances" else f"{parts[0]} {parts[-1]}"
        file = os.open("CALLS", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{request.method} {what}\\n".encode())
        os.close(file)
    return really(client, request, **options)


httpx.Client.send = send


class Counter(AirflowPlugin):
    name = "counter"
"""


class Measured:
    """
    What was measured of one kind of tasks.

    :param rounds: of each round, the seconds of each job, in the order of the chain.
    :param others: of the tasks that open and close the batch, the seconds of each round.
    :param calls: of each round, the calls of the execution API.
    """

    def __init__(self) -> None:
        self.rounds: list[list[float]] = []
        self.others: dict[str, list[float]] = {}
        self.calls: list[Counter[str]] = []

    def median(self, jobs: slice = slice(None)) -> float:
        """Return the median of some jobs of the chain, over all rounds."""
        return statistics.median(seconds for each in self.rounds for seconds in each[jobs])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("dags", "cfg", "home/plugins"):
            (folder / part).mkdir(parents=True)
        (folder / "dags" / "chains.py").write_text(LOADER.replace("JOBS", str(options.jobs)))
        jobs = "".join(f"  job{number}: {{bash: 'true'}}\n" for number in range(options.jobs))
        (folder / "cfg" / f"{OURS}.yaml").write_text(f"jobs:\n{jobs}")
        calls = folder / "calls"
        (folder / "home" / "plugins" / "counter.py").write_text(COUNTER.replace("CALLS", str(calls)))
        stack = LocalStack(folder / "home", dags=folder / "dags", cfg=folder / "cfg", report=print)
        try:
            with stack:
                show(measure(stack, calls, options.jobs, options.rounds))
        finally:
            remove_database(stack.folder)


def measure(stack: LocalStack, calls: Path, jobs: int, rounds: int) -> Mapping[str, Measured]:
    """Run both DAGs in turns. The first round warms up and does not count."""
    wait_for(lambda: {PLAIN, OURS} <= set(stack.client.dags()), "the DAGs", timeout=180)
    found = {PLAIN: Measured(), OURS: Measured()}
    for dag in found:
        stack.client.unpause(dag)
    for number in range(rounds + 1):
        for dag, measured in found.items():
            before = len(calls.read_text().splitlines()) if calls.exists() else 0
            seconds = run(stack, dag)
            if not number:
                continue
            measured.rounds.append([seconds.pop(f"job{index}") for index in range(jobs)])
            for task, each in seconds.items():
                measured.others.setdefault(task, []).append(each)
            measured.calls.append(Counter(calls.read_text().splitlines()[before:]))
            print(f"round {number}, {dag}: median {statistics.median(measured.rounds[-1]):.2f} s")
    return found


def run(stack: LocalStack, dag: str) -> dict[str, float]:
    """Run a DAG, and return the seconds of each of its tasks."""
    run_id = stack.client.trigger(dag)

    def ended() -> bool:
        (one,) = (each for each in stack.client.runs(dag) if each["dag_run_id"] == run_id)
        assert one["state"] != "failed"
        return bool(one["state"] == "success")

    wait_for(ended, "the run", timeout=1800)
    return {task: float(each["duration"]) for task, each in stack.client.task_instances(dag, run_id).items()}


def show(found: Mapping[str, Measured]) -> None:
    """Print the medians of both, and their ratios."""
    plain, ours = found[PLAIN], found[OURS]
    few = max(1, len(ours.rounds[0]) // 10)

    def line(what: str, theirs: float, mine: float, unit: str = " s") -> None:
        print(f"{what:32}{theirs:10.2f}{unit}{mine:10.2f}{unit}{mine / theirs:8.2f}")

    print(f"\n{'':32}{'BashOperator':>12}{'ours':>12}   ratio")
    line("median of a task", plain.median(), ours.median())
    line(f"first {few}, median", plain.median(slice(few)), ours.median(slice(few)))
    line(f"last {few}, median", plain.median(slice(-few, None)), ours.median(slice(-few, None)))
    for task, seconds in ours.others.items():
        line(f"{task}, beside a plain task", plain.median(), statistics.median(seconds))
    line("calls of the API, all tasks", _calls(plain.calls), _calls(ours.calls), "")
    for dag, measured in found.items():
        counted = measured.calls[-1].most_common()
        print(f"calls of {dag}: {', '.join(f'{number} {what}' for what, number in counted)}")


def _calls(rounds: Sequence[Counter[str]]) -> float:
    """Return the median of the calls of a round, without heartbeats: their number depends on the time alone."""
    return statistics.median(sum(number for what, number in each.items() if "heartbeat" not in what) for each in rounds)


if __name__ == "__main__":
    main()
