# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The batch that a job runs in, and what the job gets from it: params and window."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from batchy_provider.bundles.errors import BundleError
from batchy_provider.core.job_state import JobState
from batchy_provider.operators.beside import FRESH_SECONDS
from batchy_provider.operators.dag_run import run_keys_of

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """What the check before a job has opened and read.

    :param connection: closes the connection to Redis.
    :param read: when it was read, monotonic seconds.
    """

    connection: ExitStack
    store: Store
    batch: Batch
    read: float = field(default_factory=time.monotonic)


@contextmanager
def open_store(
    redis_conn_id: str | None, workflow: str, ti: Any, checked: CheckedBatch | None = None
) -> Iterator[tuple[Store, Batch]]:
    """Yield the store and the batch that a task's run has opened.

    :param ti: the running task's instance.
    :param checked: of the check before the job; None: without one.
    :raises BundleError: if the run has opened no batch.
    """
    if checked is None:
        from batchy_provider.hooks.batchy import BatchyHook

        with BatchyHook(redis_conn_id) as store:
            yield store, batch_of_run(store, workflow, ti)
        return
    with checked.connection:
        is_same = checked.batch.workflow == workflow and time.monotonic() - checked.read < FRESH_SECONDS
        yield checked.store, checked.batch if is_same else batch_of_run(checked.store, workflow, ti)


def batch_of_run(store: Store, workflow: str, ti: Any) -> Batch:
    """Return the batch that a task's run has opened.

    :param ti: the running task's instance.
    :raises BundleError: if the run has opened none.
    """
    batch = store.batch_of_run(workflow, *run_keys_of(workflow, ti))
    if batch is None:
        raise BundleError(
            f"Run {ti.run_id} of DAG {ti.dag_id} has opened no batch of workflow {workflow}. "
            "Put a BatchyOpenOperator before this task, or leave `workflow` out. If the run has opened one, Redis "
            f"has lost it since: `batchy restore {workflow}`."
        )
    return batch


def check_job(batch: Batch, job: str) -> None:
    """Check that a job may run in a batch.

    :raises AirflowFailException: if another run has taken the batch over.
    :raises BundleError: if the batch has no such job.
    """
    if batch.jobs.get(job, {}).get("outcome") == "aborted":
        raise AirflowFailException(
            f"Batch {batch.batch_id} of workflow {batch.workflow} was taken over by another run, which loads its "
            f"window now. Job {job!r} of this run does not start."
        )
    if job not in batch.jobs:
        raise BundleError(
            f"Batch {batch.batch_id} of workflow {batch.workflow} has no job {job!r}. "
            f"Its jobs: {', '.join(batch.jobs)}. Give `job` where it is not the task id, or "
            "`job_params` for a task that is no job of the workflow."
        )


def params_and_window(batch: Batch, job: str, job_params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``params``, ``from_date`` (inclusive) and ``to_date`` (exclusive) of a task in a batch.

    :param job_params: params of a task that is no job of the workflow: it gets the window of the whole batch.
    """
    if job_params is not None:
        return {"params": dict(job_params), "from_date": batch.from_date, "to_date": batch.to_date}
    fields = batch.jobs[job]
    return {"params": JobState(fields).params, "from_date": fields.get("from_date"), "to_date": fields.get("to_date")}
