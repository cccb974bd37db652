# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read DAGs, runs and task instances from Airflow's database, for all workflows in one query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from batchy_provider.core.dates import format_date
from batchy_provider.plugin.activity import ActiveRun, TaskState

_MAX_IDS_IN_QUERY = 500
"""With more ids, a query that names them costs more than reading the rows of all DAGs."""

_OPENING_OPERATORS = ("BatchyOpenOperator", "WaitsySensor")
"""Operators of the tasks that show what a run does before it has opened its batch."""


@dataclass(frozen=True, slots=True)
class DagState:
    """What the scheduler does with a DAG.

    :param paused: Airflow starts no runs.
    :param next_run: when its next run is due; UTC, ISO 8601. None if the DAG is paused, has no schedule, or has a
        schedule of assets.
    :param owners: those of its tasks.
    """

    paused: bool
    next_run: str | None
    owners: tuple[str, ...] = ()


def dag_states(dag_ids: Collection[str]) -> dict[str, DagState]:
    """Return the state of each DAG that Airflow has.

    :returns: DAG id → its state. DAGs that Airflow does not have are left out.
    """
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after, DagModel.owners)
    query = select(*columns).where(DagModel.is_stale.is_(False))
    if len(dag_ids) < _MAX_IDS_IN_QUERY:
        query = query.where(DagModel.dag_id.in_(dag_ids))
    wanted = set(dag_ids)
    with create_session() as session:
        return {
            dag_id: _dag_state(paused, due, owners)
            for dag_id, paused, due, owners in session.execute(query)
            if dag_id in wanted
        }


@lru_cache(maxsize=32_768)
def _dag_state(paused: bool | None, due: datetime | None, owners: str | None) -> DagState:
    """Return the state of a DAG; that of thousands of DAGs seldom changes between two answers."""
    return DagState(bool(paused), None if paused else _format(due), _split(owners))


def _split(owners: str | None) -> tuple[str, ...]:
    return tuple(owner for each in (owners or "").split(",") if (owner := each.strip()))


def dag_tags(dag_ids: Collection[str]) -> dict[str, list[str]]:
    """Return DAG id → its tags, by name. DAGs without tags are left out."""
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagTag.dag_id, DagTag.name).order_by(DagTag.name)
    if len(dag_ids) < _MAX_IDS_IN_QUERY:
        query = query.where(DagTag.dag_id.in_(dag_ids))
    wanted = set(dag_ids)
    found: dict[str, list[str]] = {}
    with create_session() as session:
        for dag_id, tag in session.execute(query):
            if dag_id in wanted:
                found.setdefault(dag_id, []).append(tag)
    return found


def active_runs(dag_ids: Collection[str]) -> dict[str, list[ActiveRun]]:
    """Return the runs that have not ended, each with its tasks that open a batch or wait.

    :returns: DAG id → its runs, oldest first. DAGs without such runs are left out.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import and_, select

    runs_query = select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.queued_at, DagRun.start_date)
    runs_query = runs_query.where(DagRun.state.in_(("queued", "running"))).order_by(DagRun.id)
    same_run = and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
    tasks_query = select(DagRun.dag_id, DagRun.run_id, *_task_columns()).join(TaskInstance, same_run)
    tasks_query = tasks_query.where(DagRun.state == "running", TaskInstance.operator.in_(_OPENING_OPERATORS))
    if len(dag_ids) < _MAX_IDS_IN_QUERY:
        runs_query = runs_query.where(DagRun.dag_id.in_(dag_ids))
        tasks_query = tasks_query.where(DagRun.dag_id.in_(dag_ids))
    tasks: dict[tuple[str, str], list[TaskState]] = {}
    found: dict[str, list[ActiveRun]] = {}
    wanted = set(dag_ids)
    with create_session() as session:
        for dag_id, run_id, *columns in session.execute(tasks_query):
            tasks.setdefault((dag_id, run_id), []).append(_task_state(*columns))
        for dag_id, run_id, state, queued, started in session.execute(runs_query):
            if dag_id in wanted:
                run = ActiveRun(dag_id, run_id, str(state), _format(started or queued), tasks.get((dag_id, run_id), ()))
                found.setdefault(dag_id, []).append(run)
    return found


def task_states(dag_id: str, run_id: str) -> list[TaskState]:
    """Return all task instances of a run."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(*_task_columns()).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    with create_session() as session:
        return [_task_state(*columns) for columns in session.execute(query)]


def _task_columns() -> tuple[Any, ...]:
    from airflow.models.taskinstance import TaskInstance

    return TaskInstance.task_id, TaskInstance.operator, TaskInstance.state, TaskInstance.map_index


def _task_state(task_id: str, operator: str | None, state: object, map_index: int) -> TaskState:
    return TaskState(task_id, operator or "", None if state is None else str(state), map_index)


def _format(moment: datetime | None) -> str | None:
    return None if moment is None else format_date(moment.astimezone(timezone.utc).replace(tzinfo=None))
