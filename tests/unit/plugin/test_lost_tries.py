# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow's database says of tries that failed, from real rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.session import create_session
from api_server import Api
from sqlalchemy import delete, insert

from batchy_provider.hooks.lost_tries import read_lost_tries

DAG = "lost_night"
NOW = datetime.now(timezone.utc)
ID: Any = TaskInstance.__table__.c.id.type.python_type
"""The type of the id of a task instance, which is another one in newer versions of Airflow."""


@pytest.fixture
def nights(api: Api) -> Iterator[Any]:
    """A DAG, and a function that adds a night: a task with how long its earlier tries took until the last one began."""

    def add(number: int, task: str, *, lost: float | None = None, max_tries: int = 2, days_ago: float = 1) -> None:
        start = NOW - timedelta(days=days_ago)
        key = {"dag_id": DAG, "run_id": f"r{number}", "task_id": task, "map_index": -1}
        common = {"pool": "default_pool", "max_tries": max_tries, "end_date": start + timedelta(minutes=5)}
        with create_session() as session:
            tries = {"try_number": 1 if lost is None else 2, "state": "success", "start_date": start}
            session.execute(insert(TaskInstance).values(id=ID(str(uuid4())), **key, **common, **tries))
            if lost is not None:
                first = start - timedelta(seconds=lost)
                past = {**common, "try_number": 1, "state": "failed", "start_date": first, "end_date": first}
                identity = {"task_instance_id": ID(str(uuid4()))}
                session.execute(insert(TaskInstanceHistory).values(**identity, **key, **past))

    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        session.merge(DagModel(dag_id=DAG, bundle_name="dags-folder"))
        session.flush()
        run = {"dag_id": DAG, "run_type": "scheduled", "run_after": NOW, "log_template_id": 1, "state": "success"}
        for number in range(200):
            session.execute(insert(DagRun).values(run_id=f"r{number}", **run))
    yield add
    with create_session() as session:
        for model in (TaskInstanceHistory, TaskInstance, DagRun, DagModel):
            session.execute(delete(model).where(model.dag_id == DAG))


def test_executions_with_and_without_tries_that_failed(nights: Any) -> None:
    assert read_lost_tries([DAG, "nobody"]) == {}
    for number in range(3):
        nights(number, "load")
        nights(number, "quick")
    nights(3, "load", lost=300)
    assert read_lost_tries([DAG]) == {DAG: {"load": (0.0, 0.0, 0.0, pytest.approx(300))}}
    assert read_lost_tries([]) == {}


def test_what_a_person_has_cleared_and_what_is_old_does_not_count(nights: Any) -> None:
    nights(0, "load")
    nights(1, "load", lost=50_000, max_tries=4)
    nights(2, "load", lost=60, days_ago=40)
    assert read_lost_tries([DAG]) == {}


def test_many_executions_are_shown_by_a_few(nights: Any) -> None:
    for number in range(180):
        nights(number, "load", lost=60 if number < 45 else None)
    found = read_lost_tries([DAG])[DAG]["load"]
    assert len(found) == 60
    assert sum(map(bool, found)) == 15, "a quarter of them"
