# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Parsing workflow files: ours against DAGs written by hand in a loop, and against dag-factory.

A workflow has five jobs in a chain, each a command. Each way runs in a fresh process, the ways in turns; the time
is the CPU time (a busy machine does not change it much), the memory what the process has grown by at its peak. Both
count from where Airflow's DAG processor forks the process of a parse: as by `preload`, Airflow and `preload.DAG_FILES`
are imported, and a small DAG was built once.
Ratios are the median of those of each round.

- ``ours``: `load_dags` on a folder of YAML files, one a workflow; checked, with ``open`` and ``close``. An earlier
  parse has checked the same files, as in all loops of a DAG processor but the first.
- ``ours, nothing imported``: the same, with the imports of this package, as in a process that is not forked.
- ``ours, first parse``: the same as ``ours``, and no parse has seen the files. Measured once.
- ``the errors``: `raise_config_errors`, which a DAG processor calls beside it in each loop.
- ``same by hand``: the same seven tasks and their gates, written in Python in a loop: no YAML, no checks.
- ``plain by hand``: five `BashOperator` and nothing else, in a loop.
- ``dag-factory``: five `BashOperator` from YAML files, if a Python that has it is named; no ``open``, no ``close``.
- ``one task start``: `load_dags` as the process of a task calls it, for one DAG among so many files.

Run: ``python benchmarks/dag_parse.py [--sizes 100 1000 5000] [--rounds 3] [--only WAY…] [--dag-factory PYTHON]``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOBS = ("extract", "clean", "load", "report", "archive")
WORKFLOW = """\
description: Workflow {number}
schedule: "{minute} 2 * * *"
timezone: Europe/Paris
start_date: 2026-01-01
defaults: {{retries: 2, retry_delay: 5m}}
jobs:
  extract: {{bash: "echo {number}", params: {{region: eu}}, reprocess_hours: 2}}
  clean: {{bash: "echo {number}"}}
  load: {{bash: "echo {number}"}}
  report: {{bash: "echo {number}"}}
  archive: {{bash: "echo {number}"}}
"""
FACTORY = """\
workflow_{number}:
  default_args: {{owner: etl, start_date: 2026-01-01, retries: 2, retry_delay_sec: 300}}
  schedule: "{minute} 2 * * *"
  catchup: false
  tasks:
"""
FACTORY_TASK = (
    "    - {{task_id: {job}, operator: airflow.providers.standard.operators.bash.BashOperator, "
    'bash_command: "echo {number}"{after}}}\n'
)
NAME = "workflow_{}"
FIRST, WARM_UP, FRESH = "ours, first parse", "warm-up", "ours, nothing imported"
WAYS = ("ours", "same by hand", FRESH, "the errors", "plain by hand", "dag-factory", "one task start")


def write_files(folder: Path, count: int) -> None:
    """Write the files of ours and of dag-factory."""
    for kind in ("ours", "factory"):
        (folder / kind).mkdir()
    for number in range(count):
        values = {"number": number, "minute": number % 60}
        (folder / "ours" / f"{NAME.format(number)}.yaml").write_text(WORKFLOW.format(**values))
        text = FACTORY.format(**values)
        for place, job in enumerate(JOBS):
            after = f", dependencies: [{JOBS[place - 1]}]" if place else ""
            text += FACTORY_TASK.format(job=job, number=number, after=after)
        (folder / "factory" / f"{NAME.format(number)}.yml").write_text(text)


def ours(folder: Path, count: int) -> int:
    from batchy_provider.dag_factory import load_dags

    return len(load_dags(folder / "ours", {}))


def warm_up(folder: Path, count: int) -> int:
    """Check all that is new, where a parse checks it for a few seconds only."""
    from batchy_provider.dag_factory import storable

    storable.MAX_SECONDS = float("inf")
    return ours(folder, count)


def errors(folder: Path, count: int) -> int:
    from batchy_provider.dag_factory import raise_config_errors

    raise_config_errors(folder / "ours")
    return count


def same_by_hand(folder: Path, count: int) -> int:
    return len(dags_by_hand(count))


def dags_by_hand(count: int) -> dict[str, Any]:
    """Return the DAGs that `ours` makes, written by hand in a loop."""
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from airflow.sdk import DAG, CronTriggerTimetable

    from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck
    from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
    from batchy_provider.operators.bundle import BashBundleOperator

    dags = {}
    for number in range(count):
        name = NAME.format(number)
        with DAG(
            name,
            description=f"Workflow {number}",
            schedule=CronTriggerTimetable(f"{number % 60} 2 * * *", timezone="Europe/Paris"),
            start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),
            catchup=False,
            max_active_runs=1,
        ) as dag:
            jobs = {"extract": {"reprocess_hours": 2, "region": "eu"}, **{job: {} for job in JOBS[1:]}}
            opening = BatchyOpenOperator(task_id="open", workflow=name, jobs=jobs, timezone="Europe/Paris").as_setup()
            last = opening
            for place, job in enumerate(JOBS):
                task = BashBundleOperator(
                    task_id=job,
                    bash_command=f"echo {number}",
                    workflow=name,
                    previous=JOBS[:place],
                    retries=2,
                    retry_delay=timedelta(minutes=5),
                    trigger_rule="none_failed" if place else "all_success",
                )
                task.pre_execute = OpenBatchCheck(name, job)
                last >> task
                last = task
            closing = BatchyCloseOperator(task_id="close", workflow=name)
            last >> closing
            closing.as_teardown(setups=opening, on_failure_fail_dagrun=True)
        dags[name] = dag
    return dags


def plain_by_hand(folder: Path, count: int) -> int:
    from datetime import datetime, timedelta, timezone

    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG

    dags = {}
    for number in range(count):
        with DAG(
            NAME.format(number),
            schedule=f"{number % 60} 2 * * *",
            start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
            catchup=False,
        ) as dag:
            last = None
            for job in JOBS:
                task = BashOperator(
                    task_id=job, bash_command=f"echo {number}", retries=2, retry_delay=timedelta(minutes=5)
                )
                if last is not None:
                    last >> task
                last = task
        dags[NAME.format(number)] = dag
    return len(dags)


def dag_factory(folder: Path, count: int) -> int:
    from dagfactory import load_yaml_dags

    namespace: dict[str, Any] = {}
    load_yaml_dags(namespace, dags_folder=str(folder / "factory"))
    return sum(name.startswith("workflow_") for name in namespace)


def one_task_start(folder: Path, count: int) -> int:
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = NAME.format(count // 2)
    os.environ["_AIRFLOW_PARSING_CONTEXT_TASK_ID"] = "load"
    return ours(folder, count) * count


MEASURED: dict[str, Callable[[Path, int], int]] = {
    "ours": ours,
    FIRST: ours,
    WARM_UP: warm_up,
    FRESH: ours,
    "the errors": errors,
    "same by hand": same_by_hand,
    "plain by hand": plain_by_hand,
    "dag-factory": dag_factory,
    "one task start": one_task_start,
}


def child(way: str, folder: Path, count: int) -> None:
    """Measure one way in this process."""
    import airflow.sdk
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG

    assert airflow.sdk
    assert BashOperator
    DAG("warm")
    if way not in (FRESH, "dag-factory"):
        from batchy_provider.preload import DAG_FILES

        for module in DAG_FILES:
            importlib.import_module(module)
        from batchy_provider.dag_factory.warm_up import build_small_dag

        build_small_dag()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = MEASURED[way](folder, count)
    seconds = time.process_time() - start
    assert found == count, f"{way}: {found} DAGs of {count}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print("RESULT", json.dumps({"seconds": seconds, "mb": grown / 1024}))


def measure(python: str, way: str, folder: Path, count: int) -> dict[str, float]:
    """Measure one way in a separate process."""
    env = {**os.environ, "AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    env["TMPDIR"] = str(folder)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [python, __file__, "--child", way, str(folder), str(count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise SystemExit(f"{way} at {count} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(line.removeprefix("RESULT"))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="WAY", default=WAYS, help="the ways to measure, beside ours")
    parser.add_argument("--dag-factory", metavar="PYTHON", help="a Python whose packages include dag-factory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, folder, count = arguments.child
        child(way, Path(folder), int(count))
        return
    wanted = {"ours", "one task start", *arguments.only}
    ways = [way for way in WAYS if way in wanted and (way != "dag-factory" or arguments.dag_factory)]
    starts = {}
    for count in (1, *arguments.sizes):
        with tempfile.TemporaryDirectory(prefix="batchy-parse-") as scratch:
            write_files(Path(scratch), count)
            results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
            first = measure(sys.executable, FIRST, Path(scratch), count)
            measure(sys.executable, WARM_UP, Path(scratch), count)
            for _ in range(arguments.rounds):
                for way in ways if count > 1 else ["one task start"]:
                    python = arguments.dag_factory if way == "dag-factory" else sys.executable
                    results[way].append(measure(python, way, Path(scratch), count))
        starts[count] = statistics.median(each["seconds"] for each in results["one task start"])
        if count > 1:
            show(count, {way: each for way, each in results.items() if way != "one task start"})
            print(f"  {FIRST:24}{first['seconds'] / count * 1000:10.2f} {first['seconds']:10.2f} {first['mb']:10.0f}")
    print("\none task start, milliseconds of CPU, Airflow's import left out")
    for count, seconds in starts.items():
        print(f"  {count:>6} files  {seconds * 1000:8.1f}   {seconds / starts[1]:.2f} times that at one file")


def show(count: int, results: dict[str, list[dict[str, float]]]) -> None:
    """Print one table."""
    medians = {way: statistics.median(each["seconds"] for each in rounds) for way, rounds in results.items()}
    print(f"\n{count:>5} workflows         ms per DAG CPU seconds    peak MB   ours takes, times it: time, memory")
    for way, seconds in medians.items():
        memory = statistics.median(each["mb"] for each in results[way])
        pairs = zip(results["ours"], results[way], strict=True)
        ratio = statistics.median(ours["seconds"] / other["seconds"] for ours, other in pairs)
        grown = statistics.median(each["mb"] for each in results["ours"]) / memory if memory else float("nan")
        print(f"  {way:24}{seconds / count * 1000:10.2f} {seconds:10.2f} {memory:10.0f} {ratio:8.2f} {grown:8.2f}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
