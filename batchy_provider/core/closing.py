# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide what closing a batch changes.

A batch is closed for the whole workflow, since jobs that hand data to each other must run again together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.alike import for_each, for_each_pair, grouped
from batchy_provider.core.dates import format_date, unix_seconds
from batchy_provider.core.foreign_batches import record_overtaken, record_success
from batchy_provider.core.holders import Sighting
from batchy_provider.core.holding import check_closer
from batchy_provider.core.job_durations import durations_of, is_measured
from batchy_provider.core.job_state import Fields, JobState, as_fields, by_state
from batchy_provider.core.ledger import Loaded, windows_loaded
from batchy_provider.core.presenters import event, live_batch, stored_batch, unknown_workflow
from batchy_provider.core.snapshot import NOTHING, UNCHANGED, Change, Decision, Owner, Snapshot, StoredBatch
from batchy_provider.core.values import Batch, BatchRecord, CloseRequest, JobDuration
from batchy_provider.core.vocabulary import Outcome
from batchy_provider.exceptions import NotOpenError, UnknownBatchError


def close_batch(
    state: Snapshot, request: CloseRequest, now: datetime, sighting: Sighting | None = None
) -> Decision[Batch]:
    """Close a batch as success or failed; once more with the same result changes nothing.

    :param state: with the batch asked for, if one is, as `state.own`.
    :param now: the Redis server's time, naive UTC.
    :param sighting: what this machine sees of the process that holds the live batch; None if nobody looked.
    :raises BatchHeldError: if the request names no batch, and another caller has opened the open one.
    :raises NotOpenError: if the batch is not the open one, or was closed with the other result.
    :raises UnknownWorkflowError: if Redis does not know the workflow.
    :raises UnknownBatchError: if the batch asked for does not exist.
    """
    own = state.own
    if own is not None and own.record is not None and own.record.kind == "history":
        return _close_history(state, own, request, now)
    if not state.jobs:
        raise unknown_workflow(state.workflow)
    batch_id = state.live_id if request.batch_id is None else request.batch_id
    if batch_id is None:
        raise NotOpenError(f"{state.workflow}: no batch was ever opened, so there is none to close; open one first")
    check_closer(state, request, sighting, now)
    if batch_id != state.live_id:
        return _close_other(state, own, batch_id, request)
    if not state.is_open:
        # Its result is in the history: the live hash may have got another window since.
        closed = live_batch(state) if own is None else stored_batch(state.workflow, own)
        return Decision(_same_result(closed, request))
    return _close_live(state, batch_id, request, now)


def _close_live(state: Snapshot, batch_id: int, request: CloseRequest, now: datetime) -> Decision[Batch]:
    record = state.live_record
    jobs = _all_closed(state.jobs, record.left_out if record is not None else (), request, now)
    records, owner, is_listed = {}, state.owner, record is not None
    if record is not None and owner is not None:
        record = records[batch_id] = _ended(record, request)
        owner = Owner(batch_id, owner.holder, record)
    is_success = request.result == "success"
    success = record_success(state, batch_id, jobs, record) if is_success else NOTHING
    closing = Change(
        live=jobs,
        batches={batch_id: jobs},
        records=records,
        owner=owner if records else UNCHANGED,
        last_success=success.last_success,
        history=() if is_listed else (batch_id,),  # the opening of a recorded one has listed it
        closed={batch_id: unix_seconds(now)},
        entries=success.entries,
        durations=_durations(jobs, record, request, now) if is_success else {},
        lease=UNCHANGED if state.lease is None else None,
        event=event(state.workflow, batch_id, request.result, "live", now),
    )
    batch = Batch(
        workflow=state.workflow,
        batch_id=batch_id,
        status=request.result,
        kind="live",
        jobs=as_fields(jobs),
        record=record,
    )
    return Decision(batch, record_overtaken(state, now).then(closing))


def _ended(record: BatchRecord, request: CloseRequest) -> BatchRecord:
    own_run = record.run is not None and request.by == record.by
    by = None if own_run else request.by
    return replace(record, status=request.result, closed_by=by, closed_why=request.why)


def _durations(
    jobs: Mapping[str, JobState], record: BatchRecord | None, request: CloseRequest, now: datetime
) -> Mapping[str, Sequence[JobDuration]]:
    """Return what is to be remembered of how long the jobs took, as `Change.durations`.

    :param record: after the closing.
    """
    if request.seconds is None and not is_measured(record):
        return {}
    left_out = record.left_out if record is not None else ()
    found = durations_of(jobs, record, now, request.seconds, left_out)
    return for_each(found, lambda _, duration: (duration,))


def abort(
    state: Snapshot,
    now: datetime,
    *,
    by: str | None = None,
    why: str | None = None,
    taken_over_by: int | None = None,
) -> Change:
    """End the open batch, because its holder will not close it.

    :param by: person, program or run that ends it.
    :param why: the reason given.
    :param taken_over_by: id of the batch that takes its window.
    """
    batch_id, record = state.live_id, state.live_record
    assert batch_id is not None
    end = format_date(now)
    jobs = {name: job.aborted(end) for name, job in state.jobs.items()}
    records = {}
    if record is not None:
        records[batch_id] = replace(record, status="failed", closed_by=by, closed_why=why, taken_over_by=taken_over_by)
    return Change(batches={batch_id: jobs}, records=records, closed={batch_id: unix_seconds(now)}, history=[batch_id])


def _close_history(state: Snapshot, own: StoredBatch, request: CloseRequest, now: datetime) -> Decision[Batch]:
    assert own.record is not None
    if not own.is_open:
        return Decision(_same_result(stored_batch(state.workflow, own), request))
    record = _ended(own.record, request)
    closed = StoredBatch(own.batch_id, _all_closed(own.jobs, own.left_out, request, now), record)
    is_success = request.result == "success"
    change = Change(
        batches={own.batch_id: closed.jobs},
        records={own.batch_id: record},
        entries=[Loaded(windows_loaded(closed.jobs, closed.left_out))] if is_success else (),
        durations=_durations(closed.jobs, record, request, now) if is_success else {},
        event=event(state.workflow, own.batch_id, request.result, "history", now),
    )
    return Decision(stored_batch(state.workflow, closed), change)


def _close_other(state: Snapshot, own: StoredBatch | None, batch_id: int, request: CloseRequest) -> Decision[Batch]:
    """Answer a request to close a batch that is not the latest."""
    if own is None or not own.jobs:
        raise UnknownBatchError(
            f"{state.workflow}: there is no batch {batch_id}; the latest is {state.live_id}. It may have been pruned"
        )
    if own.status == request.result:
        return Decision(stored_batch(state.workflow, own))
    raise NotOpenError(
        f"{state.workflow}: batch {batch_id} ({own.status}) is not the open one: the latest is batch "
        f"{state.live_id} ({state.status}), by {state.holder}. Nothing was changed"
    )


def _same_result(batch: Batch, request: CloseRequest) -> Batch:
    recorded = batch.record.status if batch.record is not None else "open"
    if request.result in (batch.status, recorded):
        return batch
    raise NotOpenError(
        f"{batch.workflow}: batch {batch.batch_id} is not open: it is {batch.status} since {batch.batch_end} UTC and "
        f"cannot be closed as {request.result}. To load its window again, rerun it or use set-window"
    )


def _all_closed(
    jobs: Mapping[str, JobState], left_out: Collection[str], request: CloseRequest, now: datetime
) -> Mapping[str, JobState]:
    """Close all jobs of a batch alike, also one that the original had closed alone before it was killed.

    :param left_out: the jobs that took no part in it.
    """
    end = format_date(now)
    open_batches = {job.batch_name for job in by_state(jobs).different if job.status == "open"}

    def took_part(job: JobState, *, is_left_out: bool) -> bool:
        if job.stored_status in ("open", "new"):
            return job.status == "open"
        return job.batch_name in open_batches and not is_left_out

    states: dict[tuple[int, str], Fields] = {}
    parts: dict[tuple[int, bool], bool] = {}

    def close(job: JobState, end_of: tuple[bool, Outcome]) -> JobState:
        is_left_out, outcome = end_of
        key = (id(job.state), is_left_out)
        is_in = parts.get(key)
        if is_in is None:
            is_in = took_part(job, is_left_out=is_left_out)
            if job.state is not None:  # jobs share it, see `by_state`
                parts[key] = is_in
        return job.closed(request.result, outcome, end, states) if is_in else job

    if not left_out and not request.outcomes:
        return for_each(jobs, lambda _, job: close(job, (False, request.result)))
    ends = {name: (name in left_out, request.outcomes.get(name, request.result)) for name in jobs}
    return for_each_pair(jobs, grouped(ends, tuple), close)
