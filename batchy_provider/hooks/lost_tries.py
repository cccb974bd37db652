# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from Airflow's database how much time jobs lost by tries that failed, of executions that succeeded then."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_AT_ONCE = 500
_DAYS = 30
_MOST = 60
"""So many executions of a job stand for all of them."""


def read_lost_tries(dag_ids: Collection[str]) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return DAG → task → how many seconds its successful executions of the last 30 days lost by tries that failed.

    An execution that needed one try has lost none. Those that somebody has cleared are left out: nobody knows how long
    that person took. Takes two queries for each 500 DAGs.
    """
    from airflow.utils.session import create_session

    wanted = sorted(dag_ids)
    since = datetime.now(timezone.utc) - timedelta(days=_DAYS)
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    with create_session() as session:
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            lost = _lost(session, some, since)
            for (dag_id, task_id), (count, tries) in _counts(session, some, since).items():
                seconds = [each for each, most in lost.get((dag_id, task_id), ()) if most == tries]
                if seconds:
                    found.setdefault(dag_id, {})[task_id] = _few([*seconds, *[0.0] * (count - len(seconds))])
    return found


def _counts(session: Session, dag_ids: Collection[str], since: datetime) -> dict[tuple[str, str], tuple[int, int]]:
    """Return DAG and task → how many executions have succeeded, and how many tries those have that nobody cleared."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select

    # Clearing raises it.
    tries = func.min(TaskInstance.max_tries)
    query = select(TaskInstance.dag_id, TaskInstance.task_id, func.count(), tries)
    query = query.where(
        TaskInstance.dag_id.in_(dag_ids), TaskInstance.state == "success", TaskInstance.end_date >= since
    ).group_by(TaskInstance.dag_id, TaskInstance.task_id)
    return {(dag_id, task_id): (count, least) for dag_id, task_id, count, least in session.execute(query)}


def _lost(
    session: Session, dag_ids: Collection[str], since: datetime
) -> dict[tuple[str, str], list[tuple[float, int]]]:
    """Return DAG and task → how long before its last try each execution began that had several, and its tries."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import and_, func, select

    columns = (TaskInstance.dag_id, TaskInstance.task_id, TaskInstance.start_date, TaskInstance.max_tries)
    same = (getattr(TaskInstance, key) == getattr(TaskInstanceHistory, key) for key in ("dag_id", "task_id", "run_id"))
    query = select(*columns, func.min(TaskInstanceHistory.start_date)).join(
        TaskInstanceHistory, and_(*same, TaskInstance.map_index == TaskInstanceHistory.map_index)
    )
    query = query.where(
        TaskInstance.dag_id.in_(dag_ids),
        TaskInstance.state == "success",
        TaskInstance.end_date >= since,
        TaskInstance.try_number > 1,
    ).group_by(TaskInstance.id, *columns)
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for dag_id, task_id, start, most, first in session.execute(query):
        if start is not None and first is not None:
            lost = max(0.0, (_utc(start) - _utc(first)).total_seconds())
            found.setdefault((dag_id, task_id), []).append((lost, most))
    return found


def _few(seconds: list[float]) -> tuple[float, ...]:
    """Return a few values that are spread as all of them are."""
    values = sorted(seconds)
    if len(values) <= _MOST:
        return tuple(values)
    return tuple(values[(2 * place + 1) * len(values) // (2 * _MOST)] for place in range(_MOST))


def _utc(moment: datetime | str) -> datetime:
    # SQLite gives the least of some moments as text.
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)
