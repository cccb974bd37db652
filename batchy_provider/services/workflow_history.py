# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""List the batches of one workflow: those in Redis, and then those that only the archive has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.services.batches import bounds_of_page

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.services.batch_history import HistoryAnswer, HistoryService
    from batchy_provider.state.store import Store


@dataclass(frozen=True, slots=True)
class WorkflowHistory:
    """A page of the batches of one workflow.

    :param batches: newest first.
    :param total: how many there are in all; without those that only the archive has, if the archive was not asked.
    :param older: what the archive has; None if it was not asked.
    """

    batches: list[Batch]
    total: int
    limit: int
    offset: int
    older: HistoryAnswer | None = None


class WorkflowHistoryService:
    """List the batches of one workflow.

    :param store: returns the state in Redis.
    :param history: knows the archive.
    """

    def __init__(self, *, store: Callable[[], Store], history: HistoryService) -> None:
        self._store = store
        self._history = history

    def page(self, workflow: str, *, limit: int, offset: int = 0) -> WorkflowHistory:
        """Return batches of a workflow, newest first, backfills included.

        The archive is asked only if the page goes beyond what Redis has.

        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        store = self._store()
        total, limit, offset = bounds_of_page(store, workflow, limit, offset)
        batches = store.history(workflow, limit=limit, offset=offset)
        if offset + limit < total:
            return WorkflowHistory(batches, total, limit, offset)
        room = limit - max(0, total - offset)
        older = self._history.archived(workflow, limit=room, offset=max(0, offset - total))
        in_all = total + sum(each.batches for each in older.archived)
        return WorkflowHistory([*batches, *older.batches], in_all, limit, offset, older)
