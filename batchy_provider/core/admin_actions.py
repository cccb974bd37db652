# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide what people do between batches: set the window, reset to the file, switch jobs off and on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.closing import abort
from batchy_provider.core.dates import format_date, read_date
from batchy_provider.core.foreign_batches import record_foreign
from batchy_provider.core.holding import has_lease
from batchy_provider.core.job_state import Fields, JobState, as_fields
from batchy_provider.core.ledger import Withdrawn
from batchy_provider.core.presenters import event, stored_batch, unknown_workflow
from batchy_provider.core.snapshot import UNCHANGED, Change, Decision, LastSuccess, Owner, Snapshot, StoredConfig
from batchy_provider.core.values import Batch, WorkflowConfig
from batchy_provider.exceptions import BatchHeldError, ConfigError, UnknownJobError, WindowError


def set_window(state: Snapshot, start: object, names: Collection[str], now: datetime) -> Decision[dict[str, Fields]]:
    """Let the next window of jobs start exactly at `start`, without the overlap of ``reprocess_hours``.

    :param start: a date, or ISO 8601 text, UTC.
    :param names: the jobs; all if empty.
    :returns: the jobs that were set, as they are now.
    :raises BatchHeldError: if a batch is open, because its window cannot change.
    :raises WindowError: if `start` is not a date or lies in the future.
    :raises UnknownJobError: if the workflow has no such job.
    """
    _check_jobs(state, names)
    moment = read_date(start)
    if moment > now:
        raise WindowError(
            f"{state.workflow}: from_date {format_date(moment)} lies in the future (it is {format_date(now)} UTC); "
            "what arrives until then would be skipped"
        )
    if state.open_id is not None:
        raise _held(state, state.open_id)
    text = format_date(moment)
    moved = {name: state.jobs[name].starts_at(text) for name in names or state.jobs}
    change = record_foreign(state, now).then(
        Change(
            live={**state.jobs, **moved},
            last_success=LastSuccess(0, text) if moved.keys() == state.jobs.keys() else UNCHANGED,
            entries=[Withdrawn(frozenset(moved), moment)],
            event=event(state.workflow, state.live_id, "window", "live", now),
        )
    )
    return Decision(as_fields(moved), change)


def load(
    state: Snapshot, config: WorkflowConfig, now: datetime, *, by: str | None = None, why: str | None = None
) -> Decision[dict[str, Fields]]:
    """Reset a workflow to its configuration on purpose, as the original's ``load_cfg`` does; history stays.

    :param by: the person, for the record of a batch that this ends.
    :param why: the reason given.
    :returns: the jobs as they are now.
    :raises BatchHeldError: if an Airflow run, or a program with a lease, holds a batch open.
    :raises ConfigError: if the configuration has no job.
    """
    if not config.jobs:
        raise ConfigError(f"{config.name}: the configuration has no job; add at least one")
    if state.open_id is not None and (state.holder.is_run or has_lease(state, now)):
        raise _held(state, state.open_id)
    jobs = {name: JobState.new(given) for name, given in config.jobs.items()}
    change = record_foreign(state, now)
    if state.open_id is not None:
        change = change.then(abort(state, now, by=by, why=why or "the workflow was reset to its file"))
    reset = Change(
        live=jobs,
        entries=[Withdrawn()],
        owner=None,
        last_success=None,
        config=StoredConfig.of(config),
        event=event(state.workflow, None, "load", "live", now),
    )
    return Decision(as_fields(jobs), change.then(reset))


def switch(state: Snapshot, name: str, now: datetime, *, enabled: bool) -> Decision[frozenset[str]]:
    """Switch a job off or on at run time; from then on it is skipped, and its window does not move.

    :returns: all jobs that are switched off now.
    :raises UnknownJobError: if the workflow has no such job.
    :raises ConfigError: if it is to be switched on, but its configuration says ``enabled: false``.
    """
    _check_jobs(state, [name])
    if enabled and name in state.config.disabled:
        raise ConfigError(
            f"{state.workflow}: job {name!r} is switched off in its configuration; set `enabled: true` there"
        )
    disabled = state.disabled - {name} if enabled else state.disabled | {name}
    if disabled == state.disabled:
        return Decision(disabled | state.config.disabled)
    # The event wakes waits: one of them may wait only for this job.
    change = Change(disabled=disabled, event=event(state.workflow, state.live_id, "switch", "live", now))
    return Decision(disabled | state.config.disabled, change)


def skip_job(state: Snapshot, name: str, now: datetime, *, removed: bool = False) -> Decision[Batch | None]:
    """Take a job that is switched off out of the open batch `state.own`; its window does not move.

    :param removed: the job is no longer part of the workflow, and is taken out for that reason.
    :returns: the batch without it, or None if the job is not switched off and may run.
    """
    own = state.own
    if own is None or own.record is None or name not in own.jobs:
        return Decision(None)
    job = own.jobs[name]
    if job.status != "open":
        # The job was left out when the batch was opened, whatever the switch says now.
        left_out = name in own.record.left_out
        return Decision(stored_batch(state.workflow, own) if left_out else None)
    if name not in state.disabled and not removed:
        return Decision(None)
    record = replace(own.record, left_out=sorted({*own.record.left_out, name}))
    jobs = {**own.jobs, name: job.skipped(format_date(now))}
    change = Change(batches={own.batch_id: jobs}, records={own.batch_id: record})
    if own.batch_id == state.live_id and state.owner is not None:
        change = change.then(Change(live=jobs, owner=Owner(own.batch_id, state.owner.holder, record)))
    return Decision(stored_batch(state.workflow, replace(own, jobs=jobs, record=record)), change)


def runs_for_sure(batch: Batch, name: str, disabled: Collection[str]) -> bool:
    """Tell whether a job of an open batch runs. If this is False, `skip_job` decides.

    :param disabled: the jobs that are switched off now.
    """
    return batch.jobs[name].get("status") == "open" and name not in disabled


def _check_jobs(state: Snapshot, names: Collection[str]) -> None:
    if not state.jobs:
        raise unknown_workflow(state.workflow)
    for name in names:
        if name not in state.jobs:
            raise UnknownJobError(f"{state.workflow}: there is no job {name!r}; its jobs are {', '.join(state.jobs)}")


def _held(state: Snapshot, open_id: int) -> BatchHeldError:
    return BatchHeldError(
        f"{state.workflow}: batch {open_id} is open, by {state.holder}; close or fail it first",
        holder=state.holder,
        batch_id=open_id,
    )
