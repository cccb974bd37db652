# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Put the runs of all workflows on one time axis, those with problems first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from batchy_provider.core.batch_outline import BatchOutline
from batchy_provider.core.dates import parse_date
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.plan.expected_runs import ExpectedRun
from batchy_provider.plan.timeline_runs import TimelineBand, TimelineRun, TimelineState, collapse, timeline_runs
from batchy_provider.plan.why_facts import WorkflowFacts

LIKELY = 0.5
"""A deadline with this probability of a miss is in danger."""
MOST_RUNS = 24
"""A workflow with more runs on the axis has bands."""
_LONG = timedelta(hours=24)


class TimelineProblem(str, Enum):
    """What is wrong with a workflow, the worst first."""

    UNREADABLE = "unreadable"
    """Its state in Redis cannot be read."""
    INVALID_FILE = "invalid_file"
    """Its file has errors."""
    FAILED = "failed"
    """Its latest live batch has failed."""
    MISSED = "missed"
    """A deadline has passed, and there was no success since its run was due."""
    AT_RISK = "at_risk"
    """A run probably misses its deadline, or a warning that it will stands."""
    OPEN_LONG = "open_long"
    """A batch has been open for more than a day."""
    ON_HOLD = "on_hold"
    """A person has put it on hold."""
    ACKNOWLEDGED = "acknowledged"
    """Its latest live batch has failed, and somebody has acknowledged that."""


_BY_WEIGHT = list(TimelineProblem)


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One workflow on the time axis.

    :param problems: the worst first.
    :param runs: by their begin.
    :param bands: many runs in a row that are shown as one.
    """

    workflow: str
    problems: Sequence[TimelineProblem]
    runs: Sequence[TimelineRun]
    bands: Sequence[TimelineBand]

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing on the axis."""
        return not self.runs and not self.bands


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the axis shows.

    :param start: naive UTC, inclusive.
    :param end: naive UTC, exclusive.
    """

    start: datetime
    end: datetime

    def has(self, run: TimelineRun) -> bool:
        """Tell whether a run belongs on the axis. One whose begin nobody knows does: it may begin at any time."""
        if run.place is None:
            return True
        if run.place >= self.end:
            return False
        # A run without an end is open, or its end is unknown: then it may be there still.
        return run.state in (TimelineState.OPEN, TimelineState.PENDING) or run.last is None or run.last >= self.start


def timeline_row(
    facts: WorkflowFacts,
    batches: Sequence[BatchOutline],
    expected: Sequence[ExpectedRun],
    *,
    span: Span,
    now: datetime,
    is_late: bool,
) -> TimelineRow:
    """Return one workflow on the time axis.

    :param batches: those that were open within the span, oldest first.
    :param expected: what the plan says of the workflow.
    :param now: naive UTC.
    :param is_late: its deadline has passed, and there was no success since its run was due.
    """
    allowed = facts.file.deadline if facts.file is not None else None
    runs = [run for run in timeline_runs(batches, expected, allowed, now) if span.has(run)]
    problems = _problems(facts, runs, now, is_late) if now < span.end else _past_problems(runs)
    return TimelineRow(facts.workflow, problems, *collapse(runs, MOST_RUNS))


def _problems(
    facts: WorkflowFacts, runs: Sequence[TimelineRun], now: datetime, is_late: bool
) -> tuple[TimelineProblem, ...]:
    state, found = facts.readable, set[TimelineProblem]()
    if isinstance(facts.state, UnreadableWorkflow):
        found.add(TimelineProblem.UNREADABLE)
    if facts.file is not None and facts.file.fault is not None:
        found.add(TimelineProblem.INVALID_FILE)
    if is_late or any(run.missed for run in runs):
        found.add(TimelineProblem.MISSED)
    warnings = () if state is None else state.warnings.values()
    if any(each.stands and each.deadline > now for each in warnings):
        found.add(TimelineProblem.AT_RISK)
    if any(not run.missed and (run.miss_probability or 0.0) >= LIKELY for run in runs):
        found.add(TimelineProblem.AT_RISK)
    batch = state.batch if state is not None else None
    if batch is not None and batch.status == "failed":
        found.add(TimelineProblem.FAILED if batch.acknowledged is None else TimelineProblem.ACKNOWLEDGED)
    started = batch.started if batch is not None and batch.status == "open" else None
    if started is not None and now - parse_date(started) > _LONG:
        found.add(TimelineProblem.OPEN_LONG)
    if state is not None and state.hold is not None and not state.hold.is_over(now):
        found.add(TimelineProblem.ON_HOLD)
    return tuple(each for each in _BY_WEIGHT if each in found)


def _past_problems(runs: Sequence[TimelineRun]) -> tuple[TimelineProblem, ...]:
    """Return what was wrong at the end of a span that is over."""
    found = set[TimelineProblem]()
    if any(run.missed for run in runs):
        found.add(TimelineProblem.MISSED)
    ended = [run for run in runs if run.kind == "live" and run.end is not None]
    if ended and ended[-1].state is TimelineState.FAILED:
        found.add(TimelineProblem.FAILED if ended[-1].acknowledged is None else TimelineProblem.ACKNOWLEDGED)
    return tuple(each for each in _BY_WEIGHT if each in found)


def in_order(rows: Mapping[str, TimelineRow]) -> list[TimelineRow]:
    """Return rows with the worst problems first, then those that run now, by name; those with an empty axis last."""
    return sorted(rows.values(), key=lambda row: (_weight(row), row.workflow))


def _weight(row: TimelineRow) -> int:
    if row.problems:
        return _BY_WEIGHT.index(row.problems[0])
    states = {run.state for run in row.runs}
    if states & {TimelineState.OPEN, TimelineState.PENDING}:
        return len(_BY_WEIGHT)
    return len(_BY_WEIGHT) + (2 if row.is_empty else 1)
