# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide when a workflow was due last, when it is due next, and whether it has done what was due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from batchy_provider.core.dates import day_bounds, day_of, parse_date
from batchy_provider.core.duration_text import format_duration
from batchy_provider.core.schedules import LeftOut
from batchy_provider.core.wait_coverage import moment_text
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.why_facts import FileFacts, WorkflowFacts

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DueTimes:
    """When a workflow is due.

    :param last: the last time at now or before it, naive UTC; None if it was never due, or its schedule is not known.
    :param next: the next time, naive UTC; None if there is none.
    :param ended: its `end_date` has passed.
    """

    last: datetime | None = None
    next: datetime | None = None
    ended: bool = False


def due_times(workflow: WorkflowFacts, now: datetime) -> DueTimes:
    """Return when a workflow was due last, and when it is due next."""
    schedule = workflow.schedule
    if not schedule.known:
        return DueTimes()
    file = workflow.file or FileFacts()
    begins, ends = file.begins, file.ends
    try:
        last: datetime | None = schedule.last_fire(now if ends is None else min(now, ends))
    except (BatchyError, OverflowError):
        last = None
    if last is not None and begins is not None and last < begins:
        last = None
    try:
        after = now if begins is None else max(now, begins - _TICK)
        upcoming: datetime | None = schedule.next_fire(after)
    except (BatchyError, OverflowError):
        upcoming = None
    if upcoming is None or ends is None or upcoming <= ends:
        return DueTimes(last, upcoming)
    return DueTimes(last, None, ended=True)


def left_out_since(workflow: WorkflowFacts, due: DueTimes, now: datetime) -> LeftOut | None:
    """Return the day that the calendar leaves out, if that is why the workflow is not due today."""
    schedule = workflow.schedule
    if not schedule.known or schedule.calendar is None:
        return None
    today = day_of(now, schedule.timezone)
    try:
        days = list(schedule.left_out(*day_bounds(today, schedule.timezone)))
    except (BatchyError, OverflowError):
        return None
    found = next((each for each in days if each.day.isoformat() == today), None)
    is_due_today = due.last is not None and day_of(due.last, schedule.timezone) == today
    return None if is_due_today else found


def attempted(state: WorkflowState, due: datetime) -> bool:
    """Tell whether the latest batch is one of the run that was due at a moment, or later."""
    batch = state.batch
    if batch is None:
        return False
    record = batch.record
    own = batch.started if record is None or record.due is None else record.due
    # A run that was due earlier counts if its window goes beyond: it has taken what was due since.
    return any(parse_date(each) >= due for each in (own, batch.to_date) if each is not None)


def due_of_open(workflow: WorkflowFacts, due: DueTimes) -> datetime | None:
    """Return when the run was due that has opened the batch, naive UTC; None if it was not due, or that is not known.

    A run that a person starts does what was due last, if nothing has succeeded since and its window reaches that far.
    """
    state = workflow.readable
    record = state.batch.record if state is not None and state.batch is not None else None
    own = None if record is None or record.due is None else parse_date(record.due)
    if state is None or due.last is None or is_fire(workflow, own) or not attempted(state, due.last):
        return own
    last = state.last_success
    return due.last if last is None or parse_date(last) < due.last else own


def is_fire(workflow: WorkflowFacts, moment: datetime | None) -> bool:
    """Tell whether a workflow is due at a moment, by its schedule and its `end_date`."""
    ends = None if workflow.file is None else workflow.file.ends
    if moment is None or not workflow.schedule.known or (ends is not None and moment > ends):
        return False
    try:
        return workflow.schedule.last_fire(moment) == moment
    except (BatchyError, OverflowError):
        return False


def is_done(workflow: WorkflowFacts, due: DueTimes) -> bool:
    """Tell whether the workflow has succeeded and was not due since."""
    state = workflow.readable
    if state is None or state.batch is None:
        return False
    if state.batch.status == "success":
        return due.last is None or attempted(state, due.last)
    if state.batch.status != "new" or state.last_success is None:
        return False
    return due.last is None or parse_date(state.last_success) >= due.last


def is_catching_up(workflow: WorkflowFacts) -> bool:
    """Tell whether the latest batch has succeeded, and was a slice of a window of which more slices follow."""
    state = workflow.readable
    batch = state.batch if state is not None else None
    return batch is not None and batch.record is not None and batch.status == "success" and batch.record.more is True


def at_text(moment: datetime) -> str:
    """Write a moment (naive UTC) for people."""
    return f"{moment_text(moment.replace(second=0, microsecond=0))} UTC"


def stored_text(moment: str | None) -> str:
    """Write a stored moment for people."""
    return "an unknown time" if moment is None else at_text(parse_date(moment))


def ago_text(moment: datetime, now: datetime) -> str:
    """Write how long ago a moment was, to the minute or, within a minute, to the second."""
    passed = max(now - moment, timedelta())
    unit = timedelta(minutes=1) if passed >= timedelta(minutes=1) else timedelta(seconds=1)
    return format_duration(passed // unit * unit)


def due_text(due: DueTimes) -> str:
    """Say when the workflow is due next, as the end of a sentence."""
    return "" if due.next is None else f"; it is due next at {at_text(due.next)}"


def ended_text(moment: str | None, now: datetime) -> str:
    """Say when a batch has ended, and how long ago that is."""
    return stored_text(moment) + ("" if moment is None else f" ({ago_text(parse_date(moment), now)} ago)")
