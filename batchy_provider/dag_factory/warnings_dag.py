# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The DAG that warns about deadlines: one task, every few minutes."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from batchy_provider.config.reader import WARNINGS_DAG

if TYPE_CHECKING:
    from airflow.sdk import DAG

DEFAULT_SCHEDULE = "*/5 * * * *"
_TASK_LIMIT = timedelta(minutes=4)
"""Shorter than the lease of a message, so that no other evaluator delivers it meanwhile."""
_DOC = """\
Evaluates the deadlines of all workflow files with `deadline: {warn: …}`. Calls their notifiers when a miss becomes
likely, and once more when the danger is over. `batchy warnings` shows what stands now.

If this DAG is paused, nobody is warned.
"""


def warnings_dag(folder: str | os.PathLike[str], *, dag_id: str = WARNINGS_DAG, schedule: str | None = None) -> DAG:
    """Return the DAG that warns about the deadlines of the workflow files in a folder.

    `load_dags` adds it where a file asks for warnings. Where workflow files are DAG sources themselves, add it in a
    file of the DAGs folder::

        from batchy_provider.dag_factory import cfg_folder, warnings_dag

        dag = warnings_dag(cfg_folder(__file__))

    :param folder: the folder of the workflow files.
    :param dag_id: give another one if an Airflow loads several folders.
    :param schedule: how often to evaluate, a cron expression; default: ``[batchy] warnings_schedule``.
    """
    from airflow.providers.common.compat.sdk import conf
    from airflow.sdk import DAG

    from batchy_provider.compat import cron_timetables
    from batchy_provider.operators.warnings import DeadlineWarningsOperator

    cron = schedule or conf.get("batchy", "warnings_schedule", fallback=None) or DEFAULT_SCHEDULE
    one_cron, _ = cron_timetables()
    dag = DAG(
        dag_id=dag_id,
        description="Warns when a workflow will probably miss its deadline",
        doc_md=_DOC,
        schedule=one_cron(cron, timezone="UTC"),
        start_date=datetime(2020, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        # A run that was killed must not keep the next one waiting for long.
        dagrun_timeout=2 * _TASK_LIMIT,
        tags=["batchy"],
    )
    DeadlineWarningsOperator(
        task_id="evaluate", dag=dag, cfg_folder=os.fspath(folder), retries=0, execution_timeout=_TASK_LIMIT
    )
    return dag
