# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the data that workflows have not loaded before their watermark: their gaps, by the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.services.gap_cache import FoundGaps, GapCache, GapTotal, GapView, WorkflowGap, WorkflowGaps
from batchy_provider.state.ledger_scan import read_ledger, scan_ledgers

if TYPE_CHECKING:
    from batchy_provider.core.snapshot import Snapshot
    from batchy_provider.core.workflow_state import UnreadableWorkflow
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.state_cache import StateCache
    from batchy_provider.state.store import Store


class GapService:
    """Find gaps in the ledger.

    :param store: returns the state in Redis.
    :param names: the workflows that Redis knows.
    :param states: returns what learns from Redis which workflows have changed; None to read each ledger each time.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        names: WorkflowNames,
        states: Callable[[], StateCache] | None = None,
    ) -> None:
        self._store = store
        self._names = names
        self._cache = GapCache(states)

    def of(self, workflow: str) -> list[GapView]:
        """Return the gaps of one workflow, by job and time.

        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        state = read_ledger(self._store().backend, workflow)
        if not state.jobs:
            raise unknown_workflow(workflow)
        return [*WorkflowGaps.of(state).views]

    def all(self, only: Collection[str] | None = None) -> tuple[list[GapView], list[UnreadableWorkflow]]:
        """Return the gaps of all workflows, by workflow, job and time, and the workflows that cannot be read.

        :param only: the workflows that the caller may see; None for all.
        """
        names = self._chosen(only)
        found = self._read(names)
        done = found.workflows.keys() | {each.workflow for each in found.unreadable}
        if rest := names - done:  # they have no ledger yet: it is made of their whole history
            more = FoundGaps.of(scan_ledgers(self._store().backend, rest))
            found = FoundGaps(found.workflows | more.workflows, found.unreadable + more.unreadable)
        unreadable = sorted(found.unreadable, key=lambda each: each.workflow)
        return [view for name in sorted(found.workflows) for view in found.workflows[name].views], unreadable

    def merged(self, only: Collection[str] | None = None) -> list[WorkflowGap]:
        """Return the gaps of all workflows, those of the jobs of a workflow merged where they touch.

        The page asks often. So workflows that have no ledger yet are left out: to make one takes the whole history.

        :param only: the workflows that the caller may see; None for all.
        """
        found = self._read(self._chosen(only)).workflows
        return [view for name in sorted(found) for view in found[name].merged]

    def totals(self, names: Collection[str]) -> dict[str, GapTotal]:
        """Return workflow → how much its enabled jobs lack.

        Workflows that cannot be read are left out, and, as in `merged`, those that have no ledger yet.
        """
        return _totals(self._read(names))

    def totals_of(self, states: Iterable[Snapshot | UnreadableWorkflow]) -> dict[str, GapTotal]:
        """Return the same of workflows whose ledgers are read already."""
        return _totals(FoundGaps.of(states))

    def _chosen(self, only: Collection[str] | None) -> set[str]:
        names = self._names.all()
        return names if only is None else names & set(only)

    def _read(self, names: Collection[str]) -> FoundGaps:
        self._cache.keep(self._names.seen())
        return self._cache.read(self._store().backend, names)


def _totals(found: FoundGaps) -> dict[str, GapTotal]:
    return {name: found.workflows[name].total for name in sorted(found.workflows)}
