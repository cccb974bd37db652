# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the request to open a batch, from an Airflow run and the arguments of the operator."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from batchy_provider.compat import schedule_of_timetable, skip_tasks
from batchy_provider.core.job_settings import plain_fields
from batchy_provider.core.names import check_job_name
from batchy_provider.core.values import OpenRequest, WorkflowConfig
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import NothingToLoadError
from batchy_provider.operators.dag_run import CONF_IGNORE_HOLD, CONF_MOVE
from batchy_provider.operators.next_slice import SliceOf

if TYPE_CHECKING:
    from batchy_provider.core.job_state import Fields
    from batchy_provider.core.values import Batch
    from batchy_provider.operators.dag_run import Run


def open_request(
    run: Run,
    config: WorkflowConfig | None,
    *,
    timezone: str,
    if_open: str,
    timetable: Any,
    dag_catchup: bool = False,
) -> OpenRequest:
    """Return the request of a run.

    :param config: None opens the jobs that Redis already has.
    :param timezone: IANA name; decides the day that the batch counts for.
    :param if_open: ``fail``, ``wait`` or ``take_over``. The operator itself waits, so the store is asked to fail.
    :param timetable: the DAG's; a backfill's window follows from it if the run has no data interval.
    :param dag_catchup: whether Airflow makes the runs of the DAG that were missed.
    """
    part, asked = SliceOf.of(run, dag_catchup=dag_catchup), run.requested_window()
    if run.is_backfill:
        window = asked or run.backfill_window(timetable)
        return OpenRequest(
            holder=run.holder(),
            config=config,
            window=window,
            backfill=True,
            due=run.due(),
            ignore_hold=run.conf.get(CONF_IGNORE_HOLD) is True,
        )
    return OpenRequest(
        holder=run.holder(),
        config=config,
        window=asked,
        move_watermark=bool(run.conf.get(CONF_MOVE)),
        if_open="take_over" if if_open == "take_over" else "fail",
        day=None if asked else run.day(timezone),
        due=part.due,
        by_event=part.by_event,
        catchup=part.catchup,
        follows=part.follows,
        ignore_hold=run.conf.get(CONF_IGNORE_HOLD) is True,
    )


def workflow_config(
    workflow: str,
    jobs: Mapping[str, Fields],
    *,
    timezone: str,
    disabled_jobs: Collection[str],
    infa: Mapping[str, Any] | None,
    timetable: Any,
    window: WindowShape | None = None,
) -> WorkflowConfig:
    """Return the configuration of a workflow whose jobs stand in a DAG.

    :param timetable: the DAG's; a wait of another workflow's backfill asks when this one is due.
    :param window: the shape of its windows.
    :raises BatchyError: if a job has a name or a setting that cannot be used.
    """
    return WorkflowConfig(
        name=workflow,
        jobs={check_job_name(name): plain_fields(workflow, name, job) for name, job in jobs.items()},
        timezone=timezone,
        disabled=frozenset(disabled_jobs),
        infa=infa or {},
        schedule=schedule_of_timetable(timetable),
        window=window,
    )


def shape_of(window: Mapping[str, Any] | WindowShape | None) -> WindowShape | None:
    """Return the shape of windows.

    :param window: as a workflow file has it, for example ``{"align": "day", "max": "1d"}``.
    :raises ValueError: if a key or a value is wrong; it names each.
    """
    if window is None or isinstance(window, WindowShape):
        return window
    from pydantic import ValidationError

    from batchy_provider.config.model import SharedModel
    from batchy_provider.config.model_errors import violations_of

    try:
        given = SharedModel.model_validate({"window": window}).window
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each.path))}: {each.message}" for each in violations_of(error, SharedModel)]
        raise ValueError("; ".join(found)) from None
    return None if given is None else given.shape()


def log_windows(log: Any, workflow: str, batch: Batch) -> None:
    """Write to a task's log which window each job of an open batch has, and why."""
    if batch.warning:
        log.warning("%s: %s", workflow, batch.warning)
    how = "this run opened it before" if batch.reused else batch.record and batch.record.reason
    log.info("Batch %s of %s is open: %s.", batch.batch_id, workflow, how)
    for name, job in batch.jobs.items():
        if name in batch.left_out:
            log.info("  %s: not part of this batch; its window does not move", name)
        else:
            log.info("  %s: %s to %s UTC", name, job.get("from_date"), job.get("to_date"))


def between(opening: Any) -> list[str]:
    """Return the tasks that run only in an open batch: those after a setup and before its teardown, and that itself.

    :param opening: the task of the setup.
    """
    after = {task.task_id: task for task in opening.get_flat_relatives(upstream=False)}
    found: set[str] = set()
    for name, task in after.items():
        if task.is_teardown and opening.task_id in task.upstream_task_ids:
            found |= {name, *(task.get_flat_relative_ids(upstream=True) & after.keys())}
    return sorted(found)


def skip_batch(opening: Any, nothing: NothingToLoadError) -> NoReturn:
    """Skip a task that opens a batch, and all tasks that need one. The run ends well if its other tasks do.

    :param opening: the task.
    :raises AirflowSkipException: always.
    """
    from airflow.providers.common.compat.sdk import AirflowSkipException

    opening.log.info("%s.", nothing)
    # Tasks may have a rule that runs them after skipped ones.
    if tasks := between(opening):
        skip_tasks(tasks)
    raise AirflowSkipException(str(nothing)) from nothing
