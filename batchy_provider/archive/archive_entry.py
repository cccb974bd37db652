# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive entry of a change: the state, batches and audit entries to write into the archive after it.

An entry is made from the change that Redis has acknowledged, and is not read back. So the archive also holds a change
that Redis acknowledged and then lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchy_provider.archive.archived_batch import ArchivedBatch, closed_batches
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Committed


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """What the archive writes about one change.

    :param state: the new live state; None if the change made none that the archive records.
    :param batches: the batches that the change closed.
    :param pending: ids of all closed batches that the archive still lacks.
    :param audit: all audit entries of the workflow, newest first; None unless the change added one.
    """

    state: ArchivedState | None = None
    batches: Sequence[ArchivedBatch] = ()
    pending: Sequence[int] = ()
    audit: list[dict[str, Any]] | None = None

    @classmethod
    def of(cls, committed: Committed) -> ArchiveEntry:
        """Return the entry of a change."""
        before, change, revision = committed.before, committed.change, committed.revision
        state = None
        if committed.moves:
            state = ArchivedState.of(before, change, revision, at=committed.at, redis=committed.redis)
        return cls(
            state=state,
            batches=closed_batches(before, change),
            pending=revision.pending,
            audit=None if change.audit is None else codec.dump_changes(change.audit),
        )
