# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What a script's output costs in a whole Airflow task: lines of 100 bytes through BashBundleOperator and BashOperator.

Starts a separate Airflow (Valkey, PostgreSQL, all components), runs one DAG with both, and counts every line in
the task log's file and in the result file. Times are those of the task instances, start to end, as Airflow has them.

Usage: python benchmarks/bundle_task.py [--lines N] [--plain-lines N]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from batchy_provider.local.rest import wait_for
from batchy_provider.local.stack import LocalStack, remove_database

DAG = '''
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain
from batchy_provider.operators.bundle import BashBundleOperator

with DAG("output", schedule=None):
    script = """yes "$(printf 'x%.0s' {1..99})" | head -n """
    chain(
        BashBundleOperator(task_id="nothing", bash_command="true"),
        BashBundleOperator(task_id="ours", bash_command=script + "OURS"),
        BashOperator(task_id="plain", bash_command=script + "PLAIN"),
    )
'''
LINE = "x" * 99


def count(log: Path) -> int:
    """The script's lines in a task log's file; a record may hold many."""
    total = 0
    with log.open() as file:
        for record in file:
            total += json.loads(record)["event"].split("\n").count(LINE)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--plain-lines", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("dags", "cfg"):
            (folder / part).mkdir()
        text = DAG.replace("OURS", str(options.lines)).replace("PLAIN", str(options.plain_lines))
        (folder / "dags" / "output.py").write_text(text)
        stack = LocalStack(folder / "home", dags=folder / "dags", cfg=folder / "cfg", report=print)
        try:
            with stack:
                measure(stack, options.lines, options.plain_lines)
        finally:
            remove_database(stack.folder)


def measure(stack: LocalStack, lines: int, plain_lines: int) -> None:
    wait_for(lambda: "output" in stack.client.dags(), "the DAG", timeout=90)
    stack.client.unpause("output")
    run_id = stack.client.trigger("output")

    def ended() -> bool:
        (run,) = (run for run in stack.client.runs("output") if run["dag_run_id"] == run_id)
        assert run["state"] != "failed"
        return bool(run["state"] == "success")

    wait_for(ended, "the run", timeout=1800)
    instances = stack.client.task_instances("output", run_id)
    seconds = {task: float(instance["duration"]) for task, instance in instances.items()}
    logs = {task: next((stack.folder / "logs").rglob(f"*task_id={task}/attempt=1.log")) for task in seconds}
    stdout = next((stack.folder / "results").glob("output/*/ours/1/stdout"))
    with stdout.open() as file:
        kept = sum(line == LINE + "\n" for line in file)
    rates: dict[str, Any] = {}
    print(f"a task whose script does nothing: {seconds['nothing']:.1f} s")
    for task, total in (("plain", plain_lines), ("ours", lines)):
        logged = count(logs[task])
        rates[task] = total / seconds[task]
        size = logs[task].stat().st_size / total
        print(
            f"{task}: {total:,} lines in {seconds[task]:.1f} s, {rates[task]:,.0f} a second; "
            f"{logged:,} of them in the task log, {size:.0f} bytes of log a line"
        )
        assert logged == total
    print(f"  {kept:,} of ours in the result file; {rates['ours'] / rates['plain']:.0f} times BashOperator's rate")
    assert kept == lines
    started = time.perf_counter()
    shown = stack.client.task_log("output", run_id, "ours")
    print(f"  the REST API shows ours ({len(shown) / 1e6:.0f} MB) after {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
