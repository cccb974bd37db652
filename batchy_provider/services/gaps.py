# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the data that workflows have not loaded before their watermark: their gaps, by the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from batchy_provider.core.dates import format_date
from batchy_provider.core.missing_data import gaps_of, merged_gaps
from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.state.ledger_scan import read_ledger, scan_ledgers
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

T = TypeVar("T")

_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True, kw_only=True)
class GapView:
    """Data that a job has not loaded: from `from_date` (inclusive) to `to_date` (exclusive), UTC, ISO 8601."""

    workflow: str
    job: str
    from_date: str
    to_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowGap:
    """Data that some jobs of a workflow lack: from `from_date` (inclusive) to `to_date` (exclusive), UTC, ISO 8601.

    :param jobs: the jobs that lack it, or a part of it.
    :param disabled: these jobs are disabled, so no run loads the data.
    """

    workflow: str
    from_date: str
    to_date: str
    jobs: list[str]
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class GapTotal:
    """How much one workflow lacks: the number of its gaps, and their length together."""

    count: int
    length: timedelta


class GapService:
    """Find gaps in the ledger.

    :param store: returns the state in Redis.
    :param names: the workflows that Redis knows.
    """

    def __init__(self, *, store: Callable[[], Store], names: WorkflowNames) -> None:
        self._store = store
        self._names = names

    def of(self, workflow: str) -> list[GapView]:
        """Return the gaps of one workflow, by job and time.

        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        state = read_ledger(self._store().backend, workflow)
        if not state.jobs:
            raise unknown_workflow(workflow)
        return _views(state)

    def all(self, only: Collection[str] | None = None) -> tuple[list[GapView], list[UnreadableWorkflow]]:
        """Return the gaps of all workflows, by workflow, job and time, and the workflows that cannot be read.

        :param only: the workflows that the caller may see; None for all.
        """
        found, unreadable = self._each(self._chosen(only), _views)
        return [view for views in found.values() for view in views], unreadable

    def merged(self, only: Collection[str] | None = None) -> list[WorkflowGap]:
        """Return the gaps of all workflows, those of the jobs of a workflow merged where they touch.

        The page asks often. So workflows that have no ledger yet are left out: to make one takes the whole history.

        :param only: the workflows that the caller may see; None for all.
        """
        found, _ = self._each(self._chosen(only), _merged_views, with_history=False)
        return [view for views in found.values() for view in views]

    def totals(self, names: Collection[str]) -> dict[str, GapTotal]:
        """Return workflow → how much its enabled jobs lack.

        Workflows that cannot be read are left out, and, as in `merged`, those that have no ledger yet.
        """
        return self.totals_of(scan_ledgers(self._store().backend, names, with_history=False))

    def totals_of(self, states: Iterable[Snapshot | UnreadableWorkflow]) -> dict[str, GapTotal]:
        """Return the same of workflows whose ledgers are read already."""
        return _calculated(states, _total)[0]

    def _chosen(self, only: Collection[str] | None) -> set[str]:
        names = self._names.all()
        return names if only is None else names & set(only)

    def _each(
        self, names: Collection[str], calculate: Callable[[Snapshot], T], *, with_history: bool = True
    ) -> tuple[dict[str, T], list[UnreadableWorkflow]]:
        return _calculated(scan_ledgers(self._store().backend, names, with_history=with_history), calculate)


def _calculated(
    states: Iterable[Snapshot | UnreadableWorkflow], calculate: Callable[[Snapshot], T]
) -> tuple[dict[str, T], list[UnreadableWorkflow]]:
    """Return workflow → what is calculated of its state, by name. An error in one affects no other."""
    done: dict[str, T] = {}
    unreadable: list[UnreadableWorkflow] = []
    for state in states:
        if isinstance(state, UnreadableWorkflow):
            unreadable.append(state)
            continue
        try:
            done[state.workflow] = calculate(state)
        except Exception as error:
            _unforeseen.warning(state.workflow, "%s: its gaps cannot be found", state.workflow, exc_info=error)
            unreadable.append(UnreadableWorkflow(state.workflow, f"{type(error).__name__}: {error}"))
    return done, unreadable


def _views(state: Snapshot) -> list[GapView]:
    return [
        GapView(workflow=state.workflow, job=gap.job, from_date=gap.from_date, to_date=gap.to_date)
        for gap in gaps_of(state)
    ]


def _merged_views(state: Snapshot) -> list[WorkflowGap]:
    return [
        WorkflowGap(
            workflow=state.workflow,
            from_date=format_date(gap.interval.start),
            to_date=format_date(gap.interval.end),
            jobs=list(gap.jobs),
            disabled=disabled,
        )
        for disabled in (False, True)
        for gap in merged_gaps(state, disabled=disabled)
    ]


def _total(state: Snapshot) -> GapTotal:
    gaps = merged_gaps(state)
    return GapTotal(len(gaps), sum((gap.interval.end - gap.interval.start for gap in gaps), timedelta()))
