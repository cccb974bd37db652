# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The contents of the archive for one workflow, as far as a comparison or a restore needs them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchy_provider.archive.archived_batch import ArchivedBatch
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.core.statuses import overall_status
from batchy_provider.state import codec


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveContents:
    """What was read from the archive about one workflow.

    :param state: the archived state; None if the archive has none.
    :param ids: ids of all batches in the archive.
    :param batches: id → batch, of the batches that were read.
    :param audit: audit entries, newest first.
    :param runs: run key → batch id, of batches that were pruned.
    :param days: day → batch id, of batches that were pruned.
    """

    state: ArchivedState | None = None
    ids: Collection[int] = ()
    batches: Mapping[int, ArchivedBatch] = field(default_factory=dict)
    audit: Sequence[dict[str, Any]] = ()
    runs: Mapping[str, int] = field(default_factory=dict)
    days: Mapping[str, int] = field(default_factory=dict)

    @property
    def newest_id(self) -> int:
        """The id of the newest batch in the archive; 0 if there is none."""
        of_state = self.state.batch_id if self.state is not None else None
        return max((*self.ids, of_state or 0), default=0)

    def batch_of_state(self) -> ArchivedBatch | None:
        """Return the latest batch of the archived state, if the archive has no file of it.

        Such a batch is open, or the writer stopped after it wrote the state and before it wrote the batch.
        """
        state = self.state
        if state is None or state.batch_id is None or state.batch_id in self.ids:
            return None
        owner = state.meta.get(codec.OWNER)
        record = owner["record"] if owner is not None and owner["batch_id"] == state.batch_id else None
        closed_by_state = state.closed == state.batch_id
        if record is None and not closed_by_state:
            return None  # a batch of the original server, which keeps no list of its batches
        status = record["status"] if record is not None else overall_status(state.live, None)
        if not closed_by_state and status != "open":
            return None  # a later `set-window` has changed the windows of its jobs
        batch = ArchivedBatch(
            workflow=state.workflow, batch_id=state.batch_id, status=status, jobs=state.live, record=record
        )
        if status == "open":
            return batch
        return replace(
            batch,
            day=record["day"] if record is not None and status == "success" else None,
            closed=unix_seconds(parse_date(batch.batch_end)) if batch.batch_end else None,
        )
