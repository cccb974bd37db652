# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs and task contexts without an Airflow behind them: as much as opening and closing look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator

DEFAULT_JOBS: Mapping[str, dict[str, Any]] = {"extract": {}, "load": {}}


@dataclass
class Airflow:
    """What Airflow knows of runs and tasks: (dag_id, run_id) → state, and task → state of the run in question."""

    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return sum(self.runs.get((dag_id, run_id)) in states for run_id in run_ids)

    def get_task_states(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Answer as Airflow: an instance of a mapped task is named `<task>_<index>`."""
        found = {
            name if index < 0 else f"{name}_{index}": state
            for name, index, state in self.instances()
            if name in task_ids
        }
        return dict.fromkeys(run_ids, found)

    def get_ti_count(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> int:
        return sum(name in task_ids for name, _, _ in self.instances()) * len(run_ids)

    def instances(self) -> Iterator[tuple[str, int, Any]]:
        """Yield task, map index and state; the states of a mapped task are a list in `tasks`."""
        for name, state in self.tasks.items():
            if isinstance(state, list):
                yield from ((name, index, each) for index, each in enumerate(state))
            else:
                yield name, -1, state


def night(schedule: Any = "0 2 * * *", *, dag_id: str = "wf", jobs: Any = DEFAULT_JOBS, **opening: Any) -> DAG:
    """Return a DAG of open → one task per job → close."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    with DAG(dag_id, schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False) as dag:
        opened = BatchyOpenOperator(task_id="open", workflow="wf", jobs=jobs, **opening).as_setup()
        last = opened
        for name in jobs or ():
            last = last >> EmptyOperator(task_id=name)
        closed = BatchyCloseOperator(task_id="close", workflow="wf")
        last >> closed
        closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)
    return dag


def context(dag: DAG, airflow: Airflow, run_id: str = "r1", **run: Any) -> Any:
    """Return a task's context; the run runs unless `airflow` knows better."""
    airflow.runs.setdefault((dag.dag_id, run_id), "running")
    defaults: dict[str, Any] = {
        "dag_id": dag.dag_id,
        "run_id": run_id,
        "run_type": "scheduled",
        "conf": {},
        "run_after": datetime.now(timezone.utc),
        "data_interval_start": None,
        "data_interval_end": None,
        "logical_date": None,
    }
    return {"dag": dag, "ti": airflow, "dag_run": SimpleNamespace(**{**defaults, **run}), "outlet_events": Announced()}


class Announced(dict[Any, Any]):
    """What a task has told of assets."""

    def __getitem__(self, alias: Any) -> Any:  # Airflow 3.1 cannot hash an alias
        told: list[Any] = []
        announced = SimpleNamespace(add=lambda asset, extra: told.append((asset.uri, extra)), told=told)
        return self.setdefault(repr(alias), announced)

    @property
    def told(self) -> list[Any]:
        return [one for accessor in self.values() for one in accessor.told]


ALL_GOOD = {"open": "success", "extract": "success", "load": "success"}


def open_in(dag: DAG, airflow: Airflow, run_id: str = "r1", **run: Any) -> dict[str, Any]:
    result: dict[str, Any] = dag.get_task("open").execute(context(dag, airflow, run_id, **run))
    return result


def close_in(dag: DAG, airflow: Airflow, run_id: str = "r1", *, states: Any = ALL_GOOD, **run: Any) -> dict[str, Any]:
    airflow.tasks = dict(states)
    result: dict[str, Any] = dag.get_task("close").execute(context(dag, airflow, run_id, **run))
    return result
