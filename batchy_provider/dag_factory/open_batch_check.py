# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check before each job that its run has an open batch and that the job is enabled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from batchy_provider.core.admin_actions import runs_for_sure
from batchy_provider.core.job_state import JobState
from batchy_provider.core.values import Batch
from batchy_provider.operators.beside import answer_beside

OPEN = "open"
"""Id of the task that opens the batch."""


@dataclass(frozen=True, slots=True)
class OpenBatchCheck:
    """Replace ``pre_execute`` of a job's task: run the check, then the ``pre_execute`` of the operator.

    The factory sets the attribute of the task. It does not pass the argument ``pre_execute``, because Airflow would
    write the source code of that argument into each serialized task, which takes longer than everything else.

    :param workflow: name of the workflow.
    :param job: name of the job in the state; None for a handler, which has no state.
    :param redis_conn_id: Airflow connection of the Redis server; None for the default.
    :param enabled: ``enabled`` of a handler in the file. Other jobs are disabled in Redis, by ``open``.
    """

    workflow: str
    job: str | None
    redis_conn_id: str | None = None
    enabled: bool = True

    def __call__(self, context: Any) -> None:
        """Run the check, then the ``pre_execute`` of the operator.

        :param context: the template context of the task.
        """
        task, ti = context["task"], context["ti"]
        ask_ahead = getattr(task, "ask_ahead", None) if getattr(task, "previous", None) else None
        self.check(
            ti,
            take_over=getattr(task, "take_batch_over", None),
            meanwhile=None if ask_ahead is None else partial(ask_ahead, ti),
        )
        type(task).pre_execute(task, context)

    def check_context(self, context: Any) -> None:
        """Run the check alone, for mapped tasks: Airflow calls the ``pre_execute`` of their operator itself."""
        self.check(context["ti"])

    def check(
        self,
        ti: Any,
        *,
        take_over: Callable[[Any, Any, Batch], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Raise if the task must not run.

        :param take_over: called with what closes the connection to Redis, with the store and with the batch, so that
            the task does not open and read them again. None: the connection is closed.
        :param meanwhile: called while Redis is asked. None: nothing is.
        :raises AirflowSkipException: the job is disabled, or is not part of this batch; its window stays where it is.
        :raises AirflowFailException: this run has no open batch, for example when one task was run by hand.
        """
        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        from batchy_provider.hooks.batchy import BatchyHook
        from batchy_provider.operators.dag_run import run_keys_of

        if not self.enabled:
            raise AirflowSkipException(f"{ti.task_id} is disabled in the workflow's file (enabled: false)")
        with ExitStack() as connection:
            store = connection.enter_context(BatchyHook(self.redis_conn_id))
            ask = partial(self._ask, store, run_keys_of(self.workflow, ti))
            batch, disabled = ask() if meanwhile is None else answer_beside(ask, meanwhile)
            if batch is None and _was_skipped(ti):
                # Instances of a mapped task are not skipped with the tasks.
                raise AirflowSkipException("there is nothing to load, so no batch was opened")
            if batch is None or batch.status != "open":
                found = "has opened no batch" if batch is None else f"closed its batch, {batch.batch_id}"
                lost = f". If its open succeeded, Redis has lost the batch since: `batchy restore {self.workflow}`"
                raise AirflowFailException(
                    f"run {ti.run_id!r} of workflow {self.workflow!r} {found}; a job runs only between open "
                    f"and close: clear the task open as well, or trigger a new run{lost if batch is None else ''}"
                )
            if self.job is not None and self.job not in batch.jobs:
                # Airflow adds tasks to a run that has already started when they appear in the file.
                raise AirflowSkipException(
                    f"job {self.job!r} was added to the file after batch {batch.batch_id} was opened; the next "
                    "batch runs it"
                )
            if (
                self.job is not None
                and not runs_for_sure(batch, self.job, disabled)
                and store.skip_job(self.workflow, batch.batch_id, self.job)
            ):
                if _is_ahead(batch, self.job):
                    raise AirflowSkipException(
                        f"job {self.job!r} has loaded its data beyond the window of this batch, which other jobs still "
                        "have to load; its window does not move"
                    )
                raise AirflowSkipException(
                    f"job {self.job!r} is disabled; its window waits and is caught up when it is enabled again"
                )
            if take_over is not None:
                take_over(connection.pop_all(), store, batch)

    def _ask(self, store: Any, runs: Sequence[str]) -> tuple[Batch | None, frozenset[str]]:
        """Return the batch of the run, and the jobs that are switched off now; a handler is no such job."""
        found: tuple[Batch | None, frozenset[str]]
        if self.job is None:
            found = store.batch_of_run(self.workflow, *runs), frozenset()
        else:
            found = store.batch_and_disabled(self.workflow, *runs)
        return found


def _is_ahead(batch: Batch, job: str) -> bool:
    """Tell whether a job was left out of a batch because it is loaded at least up to the end of its window."""
    if batch.record is None or job not in batch.record.left_out:
        return False
    return (JobState(batch.jobs[job]).loaded_to or "") >= batch.record.to_date


def _was_skipped(ti: Any) -> bool:
    """Tell whether the opening of this run was skipped, because there was nothing to load."""
    from batchy_provider.operators.task_instances import states_of

    if not hasattr(ti, "get_task_states"):
        return False  # not a task instance of a run: nobody can ask
    return set(states_of(ti, ti.dag_id, ti.run_id, {OPEN})[OPEN].values()) == {"skipped"}
