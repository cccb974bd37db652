# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from Airflow's database what the question why needs: in the API server, and in `airflow batchy why`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.core.dates import parse_date
from batchy_provider.hooks.airflow_identity import stored_identity
from batchy_provider.hooks.deployment import configured_name
from batchy_provider.plan.airflow_facts import (
    AirflowFacts,
    DagFacts,
    PoolFacts,
    Program,
    RunFacts,
    TaskFacts,
    TaskRole,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_AT_ONCE = 500
_UNFINISHED = ("running", "restarting", "queued", "scheduled", "deferred", "up_for_retry", "up_for_reschedule")
_ROLES: dict[str, TaskRole] = {"WaitsySensor": "wait", "BatchyOpenOperator": "open"}
_PROGRAMS: tuple[Program, ...] = ("scheduler", "triggerer", "dag_processor")


def read_airflow(dag_ids: Collection[str]) -> AirflowFacts:
    """Return what this Airflow knows of some DAGs, and of itself. Takes a few queries for each 500 DAGs."""
    from airflow.configuration import conf
    from airflow.utils.session import create_session

    wanted = sorted(dag_ids)
    dags: dict[str, DagFacts] = {}
    with create_session() as session:
        for start in range(0, len(wanted), _AT_ONCE):
            dags |= _dags(session, wanted[start : start + _AT_ONCE])
        errors = _import_errors(session)
        pools = _pools(session)
        active = _active_tasks(session)
        name = configured_name() or stored_identity(session)
    return AirflowFacts(
        dags=dags,
        import_errors=errors,
        silent=_silent(),
        pools=pools,
        parallelism=conf.getint("core", "parallelism"),
        running=active,
        deployment=name,
    )


def _dags(session: Session, dag_ids: Collection[str]) -> dict[str, DagFacts]:
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
    query = select(*columns, DagModel.max_active_runs, DagModel.max_active_tasks)
    query = query.where(DagModel.is_stale.is_(False), DagModel.dag_id.in_(dag_ids))
    found = {
        dag_id: DagFacts(paused=bool(paused), next_run=_utc(due), max_active_runs=runs or 1, max_active_tasks=tasks)
        for dag_id, paused, due, runs, tasks in session.execute(query)
    }
    unfinished, last = _unfinished_runs(session, found), _last_runs(session, found)
    return {
        dag_id: replace(dag, runs=tuple(unfinished.get(dag_id, ())), last_run=last.get(dag_id))
        for dag_id, dag in found.items()
    }


def _unfinished_runs(session: Session, dag_ids: Collection[str]) -> dict[str, list[RunFacts]]:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    tasks = _tasks(session, dag_ids)
    query = select(*_run_columns()).where(DagRun.dag_id.in_(dag_ids), DagRun.state.in_(("queued", "running")))
    found: dict[str, list[RunFacts]] = {}
    for dag_id, run in _runs(session.execute(query.order_by(DagRun.id))):
        found.setdefault(dag_id, []).append(replace(run, tasks=tuple(tasks.get((dag_id, run.run_id), ()))))
    return found


def _last_runs(session: Session, dag_ids: Collection[str]) -> dict[str, RunFacts]:
    """Return the newest run of each DAG that has ended, of those that are no backfill."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    ended = DagRun.state.in_(("success", "failed"))
    newest = select(func.max(DagRun.id)).where(DagRun.dag_id.in_(dag_ids), ended, DagRun.run_type != "backfill")
    query = select(*_run_columns()).where(DagRun.id.in_(newest.group_by(DagRun.dag_id)))
    return dict(_runs(session.execute(query)))


def _run_columns() -> tuple[Any, ...]:
    from airflow.models.dagrun import DagRun

    return (
        DagRun.dag_id,
        DagRun.run_id,
        DagRun.state,
        DagRun.queued_at,
        DagRun.start_date,
        DagRun.run_after,
        DagRun.end_date,
    )


def _runs(rows: Iterable[Any]) -> Iterator[tuple[str, RunFacts]]:
    for dag_id, run_id, state, queued, started, due, ended in rows:
        word = str(getattr(state, "value", state))
        since = _utc(started or queued)
        yield dag_id, RunFacts(run_id=run_id, state=word, since=since, due=_utc(due), ended=_utc(ended))


def _tasks(session: Session, dag_ids: Collection[str]) -> dict[tuple[str, str], list[TaskFacts]]:
    """Return the tasks of the runs that run: those that are at work, and those that open a batch or wait."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_, or_, select

    same_run = and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
    columns = (TaskInstance.task_id, TaskInstance.operator, TaskInstance.state, TaskInstance.pool)
    times = (TaskInstance.start_date, TaskInstance.queued_dttm, TaskInstance.end_date, TaskInstance.try_number)
    query = select(DagRun.dag_id, DagRun.run_id, *columns, *times).join(TaskInstance, same_run)
    query = query.where(
        DagRun.dag_id.in_(dag_ids),
        DagRun.state == "running",
        or_(TaskInstance.state.in_(_UNFINISHED), TaskInstance.operator.in_(tuple(_ROLES))),
    )
    found: dict[tuple[str, str], list[TaskFacts]] = {}
    for dag_id, run_id, task_id, operator, state, pool, started, queued, ended, tries in session.execute(query):
        word = None if state is None else str(getattr(state, "value", state))
        role = _ROLES.get(operator or "", "job")
        since = {"queued": queued, "scheduled": None, "up_for_retry": ended}.get(word or "", started)
        found.setdefault((dag_id, run_id), []).append(
            TaskFacts(
                task_id=task_id,
                role=role,
                state=word,
                since=_utc(since),
                pool=pool or "default_pool",
                waits_for=task_id.removeprefix(WAIT_PREFIX) if role == "wait" else None,
                tries=tries or 0,
            )
        )
    return found


def _import_errors(session: Session) -> dict[str, str]:
    """Return workflow → the last line of the error that kept its file from becoming a DAG."""
    from airflow.models.errors import ParseImportError
    from sqlalchemy import select

    found = {}
    for filename, trace in session.execute(select(ParseImportError.filename, ParseImportError.stacktrace)):
        lines = [line.strip() for line in (trace or "").splitlines() if line.strip()]
        found[PurePath(filename or "").stem] = lines[-1] if lines else "for a reason that Airflow does not say"
    return found


def _pools(session: Session) -> dict[str, PoolFacts]:
    from airflow.models.pool import Pool

    return {
        name: PoolFacts(-1 if stats["total"] == float("inf") else int(stats["total"]), _used(stats))
        for name, stats in Pool.slots_stats(session=session).items()
    }


def _used(stats: Any) -> int:
    return 0 if stats["total"] == float("inf") else int(stats["total"] - stats["open"])


def _active_tasks(session: Session) -> int:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select

    query = select(func.count()).select_from(TaskInstance).where(TaskInstance.state.in_(("running", "queued")))
    return int(session.scalar(query) or 0)


def _silent() -> dict[Program, datetime | None]:
    """Return the programs of Airflow that are not heard of any more, as Airflow's own health check decides it."""
    from airflow.api.common.airflow_health import get_airflow_health

    health = get_airflow_health()
    found: dict[Program, datetime | None] = {}
    for program in _PROGRAMS:
        each = health.get(program) or {}
        if each.get("status") != "healthy":
            last = each.get(f"latest_{program}_heartbeat")
            found[program] = None if last is None else parse_date(last)
    return found


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(timezone.utc).replace(tzinfo=None)
