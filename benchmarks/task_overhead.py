# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What a task costs around its script: chains of jobs that do nothing, with BashBundleOperator and with BashOperator.

Starts a separate Airflow (Valkey, PostgreSQL, all components, LocalExecutor) with one DAG of each kind, and runs them
in turns. Times are those of the task instances, start to end, as Airflow has them. A plugin in the scheduler counts
the calls of Airflow's execution API that its tasks make.

A third chain shows the limit: it adds to BashOperator what a job cannot do without. That is one connection to Redis
with one question, and one call of the API for the states of the earlier tasks. A fourth DAG waits for a workflow that
has succeeded already.

Usage: python benchmarks/task_overhead.py [--jobs N] [--rounds N] [--stages]
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import task_stages

from batchy_provider.local.rest import wait_for
from batchy_provider.local.stack import LocalStack, remove_database

PLAIN, OURS, LIMIT, WAITING = "plain", "ours", "limit", "waiting"
CHAIN = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

with DAG("plain", schedule=None):
    chain(*(BashOperator(task_id=f"job{number}", bash_command="true") for number in range(JOBS)))
"""
LIMIT_CHAIN = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain
from batchy_provider.hooks.batchy import BatchyHook


class Limit(BashOperator):
    def execute(self, context):
        ti = context["ti"]
        if before := self.get_flat_relative_ids(upstream=True):
            ti.get_task_states(dag_id=ti.dag_id, task_ids=sorted(before), run_ids=[ti.run_id])
        with BatchyHook() as store:
            store.backend.server_time()
        return super().execute(context)


with DAG("limit", schedule=None):
    chain(*(Limit(task_id=f"job{number}", bash_command="true") for number in range(JOBS)))
"""
LOADER = """
# Airflow skips files in which its name does not occur.
from batchy_provider.dag_factory import cfg_folder, load_dags

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
    parser.add_argument("--stages", action="store_true", help="also show where the time of each kind of task goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("dags", "cfg", "home/plugins"):
            (folder / part).mkdir(parents=True)
        # Each in a file of its own: a task parses the whole file of its DAG.
        for dag, text in ((PLAIN, CHAIN), (LIMIT, LIMIT_CHAIN), (OURS, LOADER)):
            (folder / "dags" / f"{dag}.py").write_text(text.replace("JOBS", str(options.jobs)))
        jobs = "".join(f"  job{number}: {{bash: 'true'}}\n" for number in range(options.jobs))
        (folder / "cfg" / f"{OURS}.yaml").write_text(f"jobs:\n{jobs}")
        (folder / "cfg" / f"{WAITING}.yaml").write_text(f"wait_for: {OURS}\njobs: {{one: {{bash: 'true'}}}}\n")
        calls, notes = folder / "calls", folder / "notes"
        (folder / "home" / "plugins" / "counter.py").write_text(COUNTER.replace("CALLS", str(calls)))
        if options.stages:
            shutil.copy(Path(__file__).with_name("task_stages.py"), folder / "home" / "plugins")
        stack = LocalStack(
            folder / "home",
            dags=folder / "dags",
            cfg=folder / "cfg",
            environment={task_stages.VARIABLE: str(notes)} if options.stages else {},
            report=print,
        )
        try:
            with stack:
                show(measure(stack, calls, options.jobs, options.rounds))
        finally:
            remove_database(stack.folder)
        if options.stages:
            print(task_stages.table(notes, lambda task: re.sub(r"job[0-9]+$", "job", task)))


def measure(stack: LocalStack, calls: Path, jobs: int, rounds: int) -> Mapping[str, Measured]:
    """Run the DAGs in turns. The first round warms up and does not count."""
    found = {dag: Measured() for dag in (PLAIN, OURS, LIMIT, WAITING)}
    wait_for(lambda: found.keys() <= set(stack.client.dags()), "the DAGs", timeout=300)
    for dag in found:
        stack.client.unpause(dag)
    for number in range(rounds + 1):
        for dag, measured in found.items():
            before = len(calls.read_text().splitlines()) if calls.exists() else 0
            seconds = run(stack, dag)
            if not number:
                continue
            each_job = ["one"] if dag == WAITING else [f"job{index}" for index in range(jobs)]
            measured.rounds.append([seconds.pop(name) for name in each_job])
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
    """Print the medians, and their ratios."""
    plain, ours = found[PLAIN], found[OURS]
    few = max(1, len(ours.rounds[0]) // 10)

    def line(what: str, theirs: float, mine: float, unit: str = " s") -> None:
        print(f"{what:32}{theirs:10.2f}{unit}{mine:10.2f}{unit}{mine / theirs:8.2f}")

    print(f"\n{'':32}{'BashOperator':>12}{'ours':>12}   ratio")
    line("median of a task", plain.median(), ours.median())
    line("limit, beside a plain task", plain.median(), found[LIMIT].median())
    line(f"first {few}, median", plain.median(slice(few)), ours.median(slice(few)))
    line(f"last {few}, median", plain.median(slice(-few, None)), ours.median(slice(-few, None)))
    waits = {task: seconds for task, seconds in found[WAITING].others.items() if task.startswith("wait_for_")}
    for task, seconds in {**ours.others, **waits}.items():
        line(f"{task}, beside a plain task", plain.median(), statistics.median(seconds))
    line("calls of the API, all tasks", _calls(plain.calls), _calls(ours.calls), "")
    for dag, measured in found.items():
        if dag == WAITING:
            continue
        counted = measured.calls[-1].most_common()
        print(f"calls of {dag}: {', '.join(f'{number} {what}' for what, number in counted)}")


def _calls(rounds: Sequence[Counter[str]]) -> float:
    """Return the median of the calls of a round, without heartbeats: their number depends on the time alone."""
    return statistics.median(sum(number for what, number in each.items() if "heartbeat" not in what) for each in rounds)


if __name__ == "__main__":
    main()
