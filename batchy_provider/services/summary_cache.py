# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keep the rows of workflows in a long-running process, and make again only those whose facts have changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.services.deadlines import DeadlineCache, DeadlineSpan
from batchy_provider.services.workflow_summaries import row_of

if TYPE_CHECKING:
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.services.answers import WorkflowSummary


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What the row of a workflow is made of, beside the time.

    :param state: None if Redis has none.
    :param workflow: None without a valid file.
    :param faults: number of errors in its file.
    """

    state: WorkflowState | UnreadableWorkflow | None
    workflow: Workflow | None
    faults: int
    waits_for: list[str]
    waited_for_by: list[str]

    def is_same(self, other: RowFacts) -> bool:
        """Tell whether both are the same. State and file that have not changed are the same objects."""
        return (
            self.state is other.state
            and self.workflow is other.workflow
            and self.faults == other.faults
            and self.waits_for == other.waits_for
            and self.waited_for_by == other.waited_for_by
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """A row, and from when (inclusive) until when (exclusive) it stays the same, but for how late it is."""

    facts: RowFacts
    row: WorkflowSummary
    deadline: DeadlineSpan | None
    since: datetime
    until: datetime


class SummaryCache:
    """Return the row of each workflow: the same object as before, if nothing about it has changed.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._deadlines = DeadlineCache()

    def row(self, name: str, facts: RowFacts, now: datetime) -> WorkflowSummary:
        """Return the row of a workflow; see `row_of`.

        :param now: naive UTC.
        """
        known = self._known.get(name)
        if known is None or not known.since <= now < known.until or not known.facts.is_same(facts):
            known = self._known[name] = self._made(name, facts, now)
        elif known.deadline is not None and known.row.late_seconds is not None:
            late = known.deadline.late_seconds(now)
            if late != known.row.late_seconds:
                known = self._known[name] = replace(known, row=replace(known.row, late_seconds=late))
        return known.row

    def _made(self, name: str, facts: RowFacts, now: datetime) -> _Known:
        row = row_of(
            name,
            facts.state,
            facts.workflow,
            faults=facts.faults,
            waits_for=facts.waits_for,
            waited_for_by=facts.waited_for_by,
            now=now,
            deadlines=self._deadlines,
        )
        state = facts.state if isinstance(facts.state, WorkflowState) else None
        deadline = None
        if facts.workflow is not None and row.unreadable is None:
            last_success = state.last_success if state is not None else None
            deadline = self._deadlines.find(facts.workflow, last_success, now)
        # A warning stands until its deadline has passed.
        ends = [each.deadline for each in (state.warnings.values() if state is not None else ()) if each.deadline > now]
        until = min([datetime.max if deadline is None else deadline.until, *ends])
        if row.unreadable is not None:
            until = now  # the error may pass with time
        return _Known(facts, row, deadline, now, until)

    def keep(self, names: Collection[str]) -> None:
        """Forget workflows that are gone."""
        if len(self._known) > 2 * len(names):
            self._known = {name: known for name, known in self._known.items() if name in names}
