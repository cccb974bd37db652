# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Record batches that other programs opened and closed, above all the original server.

The original writes the live hash and a hash for each batch, and nothing else: no list of batches, no ledger, no time
of closing to ask for. And where it opens over an open batch, that one stays open in its own hash for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.dates import format_date, parse_date, unix_seconds
from batchy_provider.core.job_durations import durations_of_history
from batchy_provider.core.job_state import DATE_FIELDS, JobState
from batchy_provider.core.ledger import Loaded, Withdrawn, windows_loaded
from batchy_provider.core.ledger_history import live_windows, still_loaded
from batchy_provider.core.presenters import live_batch, stored_batch
from batchy_provider.core.snapshot import NOTHING, UNCHANGED, Change, LastSuccess, Snapshot, StoredBatch
from batchy_provider.core.values import Batch, BatchRecord
from batchy_provider.exceptions import WindowError


def record_success(state: Snapshot, batch_id: int, jobs: Mapping[str, JobState], record: BatchRecord | None) -> Change:
    """Return what a success changes beside its own batch: the ledger, and the last success.

    Where a person asked for the window and moved the watermark with it, what lies after its end is to be loaded again.
    """
    windows = windows_loaded(jobs, record.left_out if record is not None else ())
    moved = record is not None and record.moved
    later = [Withdrawn(frozenset({job}), window.end) for job, window in windows.items()] if moved else []
    end = _end(jobs, record)
    last = state.last_success
    is_last = end is not None and (last is None or moved or parse_date(last.to_date) <= parse_date(end))
    return Change(
        entries=(*later, Loaded(windows)),
        last_success=LastSuccess(batch_id, end) if end is not None and is_last else UNCHANGED,
    )


def is_recorded_success(state: Snapshot) -> bool:
    """Tell whether the live batch was closed here as success: then the ledger has its windows already."""
    return state.live_record is not None and state.live_record.status == "success"


def record_foreign(state: Snapshot, now: datetime) -> Change:
    """Record for waits, ledger and lists what the original server did since, before its traces are overwritten.

    The original closes the jobs of a batch one by one, so each success counts by itself.

    :param now: end of a batch that the original left open when it opened another one.
    """
    if is_recorded_success(state):
        return NOTHING
    change = record_overtaken(state, now).then(Change(entries=[Loaded(live_windows(state))]))
    batch_id, record = state.live_id, state.live_record
    if batch_id is None or state.is_open or (record is not None and record.status != "open"):
        return change
    change = change.then(Change(history=[batch_id]))
    batch = live_batch(state)
    if batch.status not in ("success", "failed"):
        return change
    change = change.then(_ended(batch, record))
    if batch.status == "success":
        change = change.then(record_success(state, batch_id, state.jobs, record))
        past = durations_of_history([StoredBatch(batch_id, state.jobs, record)])
        change = change.then(Change(durations=past))
    return change


def record_overtaken(state: Snapshot, now: datetime) -> Change:
    """Record what became of our batch over which the original server has opened another one.

    This comes before all that is said of the later batch: a window that moves the watermark back takes out of the
    ledger what lies after it.

    :param now: its end, if nobody closed it.
    """
    if state.overtaken is None:
        return NOTHING
    settled, change = settle(state, state.overtaken, now)
    if settled is None:
        return change
    if settled.status == "success":
        change = change.then(Change(durations=durations_of_history([settled])))
        return change.then(record_success(state, settled.batch_id, settled.jobs, settled.record))
    return change.then(Change(entries=[Loaded(windows_loaded(settled.jobs, settled.left_out))]))


def settle(state: Snapshot, stored: StoredBatch, now: datetime) -> tuple[StoredBatch | None, Change]:
    """Return the end of a batch that is not the latest: it was closed, or left open when a later one opened.

    :param now: its end, if it was left open.
    :returns: the ended batch, or None if it is recorded already; and what to record.
    """
    record, batch_id = stored.record, stored.batch_id
    if not stored.jobs or (record is not None and (record.kind == "history" or record.status != "open")):
        return None, Change()
    change = Change(history=[batch_id])
    if stored.is_open:
        jobs = {name: job.aborted(format_date(now)) for name, job in stored.jobs.items()}
        change = change.then(Change(batches={batch_id: jobs}))
        stored = replace(stored, jobs=jobs, record=None if record is None else replace(record, status="failed"))
    batch = stored_batch(state.workflow, stored)
    if batch.status not in ("success", "failed"):
        return None, change
    return stored, change.then(_ended(batch, record))


def _ended(batch: Batch, record: BatchRecord | None) -> Change:
    """Return the record and the time of closing of a batch that another program closed."""
    return Change(
        records={} if record is None else {batch.batch_id: replace(record, status=batch.status)},
        closed={} if batch.batch_end is None else {batch.batch_id: unix_seconds(parse_date(batch.batch_end))},
    )


def adopt_history(
    state: Snapshot,
    batches: Sequence[StoredBatch],
    following: StoredBatch | None,
    listed: frozenset[int],
    now: datetime,
) -> Change:
    """List batches that only their own hashes know, with what they loaded and when; end those that were left open.

    :param batches: sorted by id.
    :param following: the next batch after them.
    :param listed: ids that the history already lists.
    :param now: end of a batch that was left open and is the last one.
    """
    change = Change()
    newest = state.live_id or max((batch.batch_id for batch in (*batches, following) if batch is not None), default=0)
    last = state.last_success
    for batch, after in zip(batches, [*batches[1:], following], strict=True):
        if batch.is_open and batch.batch_id >= newest:
            change = change.then(Change(history=[batch.batch_id]))  # it still runs, or is being opened right now
            continue
        if batch.record is None and batch.batch_id in listed and not batch.is_open:
            continue
        settled, ending = settle(state, batch, _started(state.workflow, after) or now)
        change = change.then(ending)
        if settled is None:
            continue
        change = change.then(Change(entries=still_loaded(state, [settled])))
        if settled.status != "success" or (end := _end(settled.jobs, settled.record)) is None:
            continue
        if _is_later(state, last, settled.batch_id, end):
            last = LastSuccess(settled.batch_id, end)
            change = change.then(Change(last_success=last))
    return replace(change, history=[batch_id for batch_id in change.history if batch_id not in listed])


def why_no_batch(stored: StoredBatch) -> str | None:
    """Say why a hash with the key of a batch cannot be listed as one; None if it can."""
    if not any(job.batch_name == str(stored.batch_id) for job in stored.jobs.values()):
        return f"no job in it has the batch_id {stored.batch_id}"
    for name, job in stored.jobs.items():
        for field in DATE_FIELDS:
            value = job.fields.get(field)
            try:
                if value is not None:
                    parse_date(value if isinstance(value, str) else str(value))
            except WindowError as error:
                return f"{field} of job {name!r}: {error}"
    return None


def _is_later(state: Snapshot, last: LastSuccess | None, batch_id: int, end: str) -> bool:
    """Tell whether a success is the last one. A watermark that a person moved or reset stays."""
    if last is None:
        return state.live_id is not None
    return 0 < last.batch_id < batch_id and parse_date(last.to_date) <= parse_date(end)


def _end(jobs: Mapping[str, JobState], record: BatchRecord | None) -> str | None:
    if record is not None:
        return record.to_date
    return max((end for job in jobs.values() if (end := job.batch_start) is not None), default=None)


def _started(workflow: str, stored: StoredBatch | None) -> datetime | None:
    text = None if stored is None else stored_batch(workflow, stored).started
    return None if text is None else parse_date(text)
