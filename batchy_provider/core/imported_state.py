# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide what becomes of an open batch in a state that is imported: its run is not here, so nobody will close it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.closing import abort
from batchy_provider.core.dates import format_date
from batchy_provider.core.snapshot import Change, Owner, Snapshot, StoredBatch

WHY = "it was open in the environment that it was exported from"


def end_open_batches(state: Snapshot, batches: Sequence[StoredBatch], now: datetime, *, by: str) -> Change:
    """End all open batches as failed, so that the next batch takes the window of the live one again.

    :param state: the imported state.
    :param batches: the imported batches.
    :param by: who imports it, for the records.
    """
    change = Change()
    if state.is_open and state.live_id is not None:
        change = abort(state, now, by=by, why=WHY)
        owner, record = state.owner, change.records.get(state.live_id)
        live = Change(live=change.batches[state.live_id])
        if owner is not None and record is not None:
            live = replace(live, owner=Owner(owner.batch_id, owner.holder, record))
        change = change.then(live)
    end = format_date(now)
    for batch in batches:
        if batch.is_open and batch.batch_id not in change.batches:
            jobs = {name: job.aborted(end) for name, job in batch.jobs.items()}
            ended = Change(batches={batch.batch_id: jobs})
            if batch.record is not None:
                record = replace(batch.record, status="failed", closed_by=by, closed_why=WHY)
                ended = replace(ended, records={batch.batch_id: record})
            change = change.then(ended)
    return change
