# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the deadline of a workflow, and whether it was met, for an overview of all workflows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.exceptions import StateError

if TYPE_CHECKING:
    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.core.schedules import Schedule

_MOST_STEPS = 100
_NEVER = datetime.max


class Deadline(NamedTuple):
    """The deadline that counts now.

    :param at: UTC, ISO 8601.
    :param late_seconds: how long ago it was missed; None while it can be met.
    """

    at: str
    late_seconds: int | None


class DeadlineSpan(NamedTuple):
    """The deadline that counts at a moment, and for how long it does. Moments are naive UTC.

    :param at: the deadline; None if there is none.
    :param is_missed: it has passed.
    :param until: until then (exclusive), this changes only if the workflow does.
    """

    at: datetime | None
    is_missed: bool
    until: datetime

    def deadline(self, now: datetime) -> Deadline | None:
        """Return the deadline as people see it at a moment."""
        if self.at is None:
            return None
        return Deadline(format_date(self.at), self.late_seconds(now))

    def late_seconds(self, now: datetime) -> int | None:
        """Return how long ago the deadline was missed; None if it was not."""
        return None if self.at is None or not self.is_missed else int((now - self.at).total_seconds())


@dataclass(frozen=True, slots=True)
class _Known:
    workflow: Workflow
    last_success: str | None
    since: datetime
    span: DeadlineSpan


class DeadlineCache:
    """Find the deadlines of many workflows again and again: to search a schedule takes longer than all else in a row.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def find(self, workflow: Workflow, last_success: str | None, now: datetime) -> DeadlineSpan:
        """Return the deadline of a workflow; the other parameters are those of `deadline_of`."""
        known = self._known.get(workflow.name)
        if (
            known is None
            or known.workflow is not workflow
            or known.last_success != last_success
            or not known.since <= now < known.span.until
        ):
            span = _find(workflow.model, last_success, now, workflow.schedule)
            known = self._known[workflow.name] = _Known(workflow, last_success, now, span)
        return known.span


def deadline_of(
    model: WorkflowModel, last_success: str | None, now: datetime, schedule: Schedule | None = None
) -> Deadline | None:
    """Return the deadline of the newest run that has not succeeded yet.

    If a deadline has passed and there was no success since its run was due, it is missed. It stays missed until a
    success. If no deadline is missed, the one of the oldest due run without a success counts.

    :param last_success: when a live batch last succeeded; UTC, ISO 8601.
    :param now: naive UTC.
    :param schedule: with the calendar that the file picks; None for a file that picks none.
    :returns: None if the file has no deadline, or all due runs have succeeded.
    """
    return _find(model, last_success, now, schedule).deadline(now)


def _find(
    model: WorkflowModel | None, last_success: str | None, now: datetime, schedule: Schedule | None
) -> DeadlineSpan:
    if model is None:
        return DeadlineSpan(None, False, _NEVER)
    from batchy_provider.config.run_checks import schedule_of_model, time_to_deadline

    allowed = time_to_deadline(model)
    if allowed is None:
        return DeadlineSpan(None, False, _NEVER)
    if schedule is None:
        schedule = schedule_of_model(model)
    if not schedule.known:
        return DeadlineSpan(None, False, _NEVER)
    succeeded = parse_date(last_success) if last_success else None
    begin = parse_date(model.start_date) if model.start_date else None
    try:
        due = schedule.last_fire(now)
    except StateError:  # the first day of its calendar is ahead
        return DeadlineSpan(None, False, now)
    next_due = _next_fire(schedule, now)
    ahead: datetime | None = None
    for _ in range(_MOST_STEPS):
        if (succeeded is not None and succeeded >= due) or (begin is not None and due < begin):
            break
        if due + allowed <= now:
            return DeadlineSpan(due + allowed, True, min(next_due, ahead or _NEVER))
        ahead = due + allowed
        try:
            due = schedule.fire_before(due)
        except StateError:
            break
    return DeadlineSpan(ahead, False, min(next_due, ahead or _NEVER))


def _next_fire(schedule: Schedule, now: datetime) -> datetime:
    try:
        return schedule.next_fire(now)
    except StateError:  # the last day of its calendar has passed
        return now
