# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the request to open a batch, from an Airflow run and the arguments of the operator."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from batchy_provider.compat import crons_of_timetable
from batchy_provider.core.job_settings import plain_fields
from batchy_provider.core.names import check_job_name
from batchy_provider.core.values import OpenRequest, WorkflowConfig
from batchy_provider.operators.dag_run import CONF_MOVE

if TYPE_CHECKING:
    from batchy_provider.core.job_state import Fields
    from batchy_provider.operators.dag_run import Run


def open_request(
    run: Run, config: WorkflowConfig | None, *, timezone: str, if_open: str, timetable: Any
) -> OpenRequest:
    """Return the request of a run.

    :param config: None opens the jobs that Redis already has.
    :param timezone: IANA name; decides the day that the batch counts for.
    :param if_open: ``fail``, ``wait`` or ``take_over``. The operator itself waits, so the store is asked to fail.
    :param timetable: the DAG's; a backfill's window follows from it if the run has no data interval.
    """
    asked = run.requested_window()
    if run.is_backfill:
        window = asked or run.backfill_window(timetable)
        return OpenRequest(holder=run.holder(), config=config, window=window, backfill=True, due=run.due())
    return OpenRequest(
        holder=run.holder(),
        config=config,
        window=asked,
        move_watermark=bool(run.conf.get(CONF_MOVE)),
        if_open="take_over" if if_open == "take_over" else "fail",
        day=None if asked else run.day(timezone),
        due=run.due(),
    )


def workflow_config(
    workflow: str,
    jobs: Mapping[str, Fields],
    *,
    timezone: str,
    disabled_jobs: Collection[str],
    infa: Mapping[str, Any] | None,
    timetable: Any,
) -> WorkflowConfig:
    """Return the configuration of a workflow whose jobs stand in a DAG.

    :param timetable: the DAG's; a wait of another workflow's backfill asks when this one is due.
    :raises BatchyError: if a job has a name or a setting that cannot be used.
    """
    return WorkflowConfig(
        name=workflow,
        jobs={check_job_name(name): plain_fields(workflow, name, job) for name, job in jobs.items()},
        timezone=timezone,
        disabled=frozenset(disabled_jobs),
        infa=infa or {},
        crons=[cron for cron, zone in crons_of_timetable(timetable) if zone == timezone],
    )
