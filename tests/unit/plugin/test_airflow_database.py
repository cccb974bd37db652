# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow's database says of DAGs, runs, tasks, pools and programs, from real rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import pytest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from api_server import Api
from sqlalchemy import delete, insert

from batchy_provider.hooks.airflow_database import read_airflow
from batchy_provider.plan.airflow_facts import AirflowFacts

AT = datetime(2026, 11, 29, 1, tzinfo=timezone.utc)
NAMES = ("night_a", "night_b", "night_stale")
ID: Any = TaskInstance.__table__.c.id.type.python_type
"""The type of the id of a task instance, which is another one in newer versions of Airflow."""
TASKS: list[dict[str, Any]] = [
    {"task_id": "wait_for_crm", "operator": "WaitsySensor", "state": "success"},
    {"task_id": "open", "operator": "BatchyOpenOperator", "state": "success"},
    {"task_id": "load", "operator": "BatchyBundleOperator", "state": "up_for_retry", "end_date": AT, "try_number": 2},
    {"task_id": "send", "operator": "BatchyBundleOperator", "state": "scheduled", "pool": "oracle"},
    {"task_id": "extract", "operator": "BatchyBundleOperator", "state": "success"},
    {"task_id": "close", "operator": "BatchyCloseOperator", "state": None},
]


@pytest.fixture
def night(api: Api) -> Iterator[AirflowFacts]:
    """A DAG with a run that has failed, one that runs and one that is queued; one without runs; one that is stale."""
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name in NAMES:
            row = DagModel(dag_id=name, is_paused=name == "night_b", bundle_name="dags-folder", max_active_runs=2)
            row.is_stale = name == "night_stale"
            row.next_dagrun_create_after = AT
            session.merge(row)
        session.flush()
        common = {"dag_id": "night_a", "run_type": "scheduled", "run_after": AT, "queued_at": AT, "log_template_id": 1}
        for run_id, state, more in (
            ("one", "failed", {"start_date": AT, "end_date": AT}),
            ("two", "running", {"start_date": AT}),
            ("three", "queued", {}),
        ):
            session.execute(insert(DagRun).values(run_id=run_id, state=state, **common, **more))
        for task in TASKS:
            values = {"pool": "default_pool", "try_number": 1, **task}
            key = {"id": ID(str(uuid4())), "dag_id": "night_a", "run_id": "two", "map_index": -1, "max_tries": 3}
            session.execute(insert(TaskInstance).values(**{**key, **values}))
        trace = "Traceback (most recent call last):\n  File x\nImportError: no module named oracle\n"
        session.add(ParseImportError(filename="/dags/night_c.yaml", stacktrace=trace, bundle_name="dags-folder"))
    yield read_airflow([*NAMES, "nobody"])
    with create_session() as session:
        session.execute(delete(TaskInstance).where(TaskInstance.dag_id.in_(NAMES)))
        session.execute(delete(DagRun).where(DagRun.dag_id.in_(NAMES)))
        session.execute(delete(DagModel).where(DagModel.dag_id.in_(NAMES)))
        session.execute(delete(ParseImportError).where(ParseImportError.filename == "/dags/night_c.yaml"))


@pytest.mark.slow
def test_dags_and_their_runs(night: AirflowFacts) -> None:
    assert set(night.dags) == {"night_a", "night_b"}, "a stale DAG is none"
    first, second = night.dags["night_a"], night.dags["night_b"]
    assert (first.paused, second.paused, first.max_active_runs) == (False, True, 2)
    assert [(run.run_id, run.state) for run in first.runs] == [("two", "running"), ("three", "queued")]
    assert first.runs[0].due == datetime(2026, 11, 29, 1)
    assert first.last_run is not None
    assert (first.last_run.run_id, first.last_run.state) == ("one", "failed")
    assert (second.runs, second.last_run) == ((), None)


def test_tasks_that_are_at_work_or_open_or_wait(night: AirflowFacts) -> None:
    tasks = {task.task_id: task for task in night.dags["night_a"].runs[0].tasks}
    assert set(tasks) == {"wait_for_crm", "open", "load", "send"}
    assert (tasks["wait_for_crm"].role, tasks["wait_for_crm"].waits_for) == ("wait", "crm")
    assert tasks["open"].role == "open"
    assert (tasks["load"].state, tasks["load"].tries, tasks["load"].since) == (
        "up_for_retry",
        2,
        AT.replace(tzinfo=None),
    )
    assert tasks["send"].pool == "oracle"
    assert night.dags["night_a"].runs[1].tasks == ()


def test_airflow_itself(night: AirflowFacts) -> None:
    assert night.import_errors["night_c"] == "ImportError: no module named oracle"
    assert set(night.silent) == {"scheduler", "triggerer", "dag_processor"}, "none of them runs here"
    assert night.pools["default_pool"].slots > 0
    assert night.parallelism > 0
    assert read_airflow([]).dags == {}
