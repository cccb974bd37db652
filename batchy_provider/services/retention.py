# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove old batches: from the history in Redis, from the result store and from the archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.state.store import Store

_SPARED = 1000
"""How many more of the newest batches are protected: batches may open between the two removals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How many batches of one workflow were removed.

    :param batches: batches removed from the history.
    :param results: batches whose results were removed.
    """

    batches: int
    results: int


class RetentionService:
    """Remove all but the newest batches.

    :param store: returns the state in Redis.
    :param results: returns the result store.
    :param archive: returns the archive; None where there is none.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        results: Callable[[], ResultStore],
        archive: Callable[[], ArchiveService | None],
    ) -> None:
        self._store = store
        self._results = results
        self._archive = archive

    def each(
        self, workflow: str | None = None, *, keep: int, keep_days: int | None = None, with_results: bool = True
    ) -> dict[str, Callable[[], Removed]]:
        """Return one call per workflow, by name, that removes its old batches.

        If one call fails, the others still work.

        :param workflow: only this one; None for all workflows, and for all DAGs that have results.
        :param keep: how many of the newest batches to keep.
        :param keep_days: for how many days to remember the run and the day of a removed batch; None for ever.
        :param with_results: also remove results and archive entries. If False, neither store is opened.
        :raises UnknownWorkflowError: `workflow` is in neither Redis nor the result store.
        """
        store = self._store()
        results = self._results() if with_results else None
        archive = self._archive() if with_results else None
        in_redis = {*store.workflows(), *store.history_only()}
        with_files = set(results.workflows()) if results is not None else set()
        if workflow is not None and workflow not in with_files | in_redis:
            store.status(workflow)  # raises for a mistyped name
        names = sorted(in_redis | with_files) if workflow is None else [workflow]

        def remove(name: str) -> Removed:
            batches = store.prune(name, keep=keep, keep_days=keep_days) if name in in_redis else 0
            # Read the ids after pruning: a job may write results at this moment, for a batch opened since.
            spare = [str(i) for i in store.batch_ids(name, limit=keep + _SPARED)] if name in in_redis else []
            removed = results.prune(name, keep=keep, spare=spare) if results is not None else 0
            if archive is not None and name in in_redis:
                archive.prune(name)
            return Removed(batches=batches, results=removed)

        return {name: partial(remove, name) for name in names}
