# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The gate before each job: no job runs without an open batch of its own run, and none that is disabled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchy_provider.core.values import run_key


@dataclass(frozen=True, slots=True)
class JobGate:
    """Stands in for ``pre_execute`` of a job's task, and lets the operator's own follow.

    Not given as the operator's argument ``pre_execute``: Airflow would write the source code of that into each
    serialized task, which takes longer than all the rest.

    :param workflow: the workflow.
    :param job: the job, as the state knows it; None for a handler, which holds no state.
    :param redis_conn_id: connection of the Redis server; None for the default.
    :param enabled: what the file says; only for a handler, as jobs are disabled in Redis by ``open``.
    """

    workflow: str
    job: str | None
    redis_conn_id: str | None = None
    enabled: bool = True

    def __call__(self, context: Any) -> None:
        """Let the task go on, or stop it.

        :param context: Airflow's, of the task.
        """
        self.check(context["ti"])
        task = context["task"]
        type(task).pre_execute(task, context)

    def check_context(self, context: Any) -> None:
        """Let the task go on, or stop it; for tasks whose operator's own ``pre_execute`` follows anyway."""
        self.check(context["ti"])

    def check(self, ti: Any) -> None:
        """Let the task go on, or stop it.

        :raises AirflowSkipException: the job is disabled, or is not of this batch; its window does not move.
        :raises AirflowFailException: this run has no open batch, for example when one task was run by hand.
        """
        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        from batchy_provider.hooks.batchy import BatchyHook

        if not self.enabled:
            raise AirflowSkipException(f"{ti.task_id} is disabled in the workflow's file (enabled: false)")
        with BatchyHook(self.redis_conn_id) as store:
            batch = store.batch_of_run(self.workflow, run_key(self.workflow, ti.dag_id, ti.run_id))
            if batch is None or batch.status != "open":
                found = "has opened no batch" if batch is None else f"closed its batch, {batch.batch_id}"
                lost = f". If its open succeeded, Redis has lost the batch since: `batchy restore {self.workflow}`"
                raise AirflowFailException(
                    f"run {ti.run_id!r} of workflow {self.workflow!r} {found}; a job runs only between open "
                    f"and close: clear the task open as well, or trigger a new run{lost if batch is None else ''}"
                )
            if self.job is not None and self.job not in batch.jobs:
                # Airflow lets a run that has begun have tasks that came to the file since.
                raise AirflowSkipException(
                    f"job {self.job!r} was added to the file after batch {batch.batch_id} was opened; the next "
                    "batch takes it along"
                )
            if self.job is not None and store.skip_job(self.workflow, batch.batch_id, self.job):
                raise AirflowSkipException(
                    f"job {self.job!r} is disabled; its window waits and is caught up when it is enabled again"
                )
