# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide which revision a change makes, and which batches it closes, so that the archive can follow."""

from __future__ import annotations

from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change, Snapshot
from batchy_provider.core.statuses import overall_status
from batchy_provider.core.vocabulary import Status


def ended_batches(change: Change) -> dict[int, Status]:
    """Return the batches whose hashes a change writes and that are closed afterwards, with their results."""
    found: dict[int, Status] = {}
    for batch_id, jobs in change.batches.items():
        record = change.records.get(batch_id)
        status = record.status if record is not None else overall_status(jobs, None)
        if status in ("success", "failed"):
            found[batch_id] = status
    return found


def revised(state: Snapshot, change: Change, *, token: str | None, superseded: Revision | None = None) -> Revision:
    """Return the revision after a change.

    :param token: a random token, if the change makes a new state that the archive records; an opening does not.
    :param superseded: the revision of the archive's state, if this change replaces that state on purpose.
    """
    after = state.revision or Revision()
    if token is not None:
        after = after.next(token) if superseded is None else after.next(token, superseded.number, superseded.tokens)
    noted = {batch_id for batch_id, record in change.records.items() if record.status != "open"}
    return after.waiting_for({*change.closed, *ended_batches(change), *noted})
