# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn stored state into what faces show, and make the events and errors that all rules share.

What faces show is valid UTF-8, whatever Redis holds: a lone surrogate would break every answer that contains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from batchy_provider.core.alike import for_each
from batchy_provider.core.dates import format_date
from batchy_provider.core.job_state import Fields, JobState
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import Batch, PersonalChange
from batchy_provider.core.vocabulary import EventName, Kind
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.exceptions import UnknownWorkflowError


def _shown_jobs(jobs: Mapping[str, JobState]) -> dict[str, Fields]:
    """Return job → its JSON object, an object for each job. Jobs that are alike are looked through once."""
    clean = for_each(jobs, lambda _, job: encodable(job.fields))
    return {name if name.isascii() else encodable(name): fields.copy() for name, fields in clean.items()}


def live_batch(state: Snapshot) -> Batch:
    """Return the live batch as faces show it; it must have been opened."""
    assert state.live_id is not None
    return Batch(
        workflow=state.workflow,
        batch_id=state.live_id,
        status=state.status,
        kind="live",
        jobs=_shown_jobs(state.jobs),
        record=state.live_record,
    )


def stored_batch(workflow: str, stored: StoredBatch) -> Batch:
    """Return a batch of the history as faces show it."""
    return Batch(
        workflow=workflow,
        batch_id=stored.batch_id,
        status=stored.status,
        kind=stored.record.kind if stored.record else "live",
        jobs=_shown_jobs(stored.jobs),
        record=stored.record,
    )


def event(workflow: str, batch_id: int | None, what: EventName, kind: Kind, now: datetime) -> dict[str, Any]:
    """Return the event of a change, as it is published."""
    return {"workflow": workflow, "batch_id": batch_id, "event": what, "kind": kind, "at": format_date(now)}


def unknown_workflow(workflow: str) -> UnknownWorkflowError:
    """Return the error for a workflow without any job."""
    return UnknownWorkflowError(
        f"workflow {workflow!r} is not in Redis; load its configuration (`batchy load {workflow}`) or run its DAG "
        f"once. If it was there before, Redis has lost it: `batchy restore {workflow}`"
    )


def workflow_state(
    state: Snapshot,
    now: datetime,
    changes: Sequence[PersonalChange] = (),
    *,
    progress: Mapping[str, Mapping[str, Any]] | None = None,
    succeeded: str | None = None,
) -> WorkflowState:
    """Return a workflow as callers see it.

    :param now: the Redis server's time, naive UTC.
    :param changes: what people changed, newest first.
    :param progress: job → its latest report.
    :param succeeded: when a live batch before the latest one succeeded last; None if unknown.
    """
    batch = live_batch(state) if state.live_id is not None else None
    return WorkflowState(
        workflow=state.workflow,
        # Objects of its own, as those of the batch: a caller may change them.
        jobs=_shown_jobs(state.jobs) if batch is None else {job: fields.copy() for job, fields in batch.jobs.items()},
        batch=batch,
        holder=state.holder if state.is_open else None,
        disabled=state.disabled | (state.config.disabled & state.jobs.keys()),
        timezone=state.config.timezone,
        infa=state.config.infa,
        window=state.config.window,
        hold=None if state.hold is None or state.hold.is_over(now) else state.hold,
        changes=changes,
        last_success=batch.batch_end if batch is not None and batch.status == "success" else succeeded,
        progress={} if progress is None else progress,
        schedule=state.config.schedule,
        lease=state.lease if state.is_open and state.lease and state.lease.batch_id == state.live_id else None,
    )
