# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Program: load a workflow's DAG and run its tasks after what a scheduler imports, and print what they still import.

It is a program of its own, because this is about what a new process imports. The arguments are the file of DAGs and
the ids of the tasks.
"""

from __future__ import annotations

import runpy
import sys
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow.executors import local_executor  # noqa: F401 - what the scheduler has
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time import supervisor, task_runner  # noqa: F401 - what the scheduler has
from airflow.timetables import trigger  # noqa: F401 - what the scheduler has
from airflow_runs import Announced
from bundle_tasks import FakeTaskInstance


class Instance(FakeTaskInstance):
    """A task instance that answers all that a workflow's tasks ask."""

    def get_ti_count(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> int:
        return len(self.get_task_states(dag_id, task_ids, run_ids)[self.run_id])

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return 0

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return []


def run_tasks(dag: Any, tasks: list[str]) -> None:
    """Run tasks of a DAG in one run."""
    ti = Instance()
    run = SimpleNamespace(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        run_type="scheduled",
        conf={},
        run_after=datetime.now(timezone.utc),
        data_interval_start=None,
        data_interval_end=None,
        logical_date=None,
    )
    for name in tasks:
        task, ti.task_id = dag.get_task(name), name
        context = {"dag": dag, "ti": ti, "dag_run": run, "task": task, "params": {}, "outlet_events": Announced()}
        task.pre_execute(context)
        ti.xcom_push("return_value", task.execute(context))
        ti.states[name] = "success"


def main() -> None:
    """Print the names of the modules that the tasks import, in one line."""
    ExecutorSafeguard.test_mode = True
    file, *tasks = sys.argv[1:]
    sys.argv = ["airflow", "scheduler"]
    import batchy_provider.plugin.batchy  # noqa: F401 - as the scheduler does, before it forks

    before = set(sys.modules)
    dag = runpy.run_path(file)["dag_sales"]
    run_tasks(dag, tasks)
    print(*sorted(set(sys.modules) - before))


if __name__ == "__main__":
    main()
