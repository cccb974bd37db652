# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the deadline of a workflow, and whether it was met, for an overview of all workflows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from batchy_provider.config.run_checks import schedule_of_model, time_to_deadline
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.exceptions import StateError

if TYPE_CHECKING:
    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.core.schedules import Schedule

_MOST_STEPS = 100


class Deadline(NamedTuple):
    """The deadline that counts now.

    :param at: UTC, ISO 8601.
    :param late_seconds: how long ago it was missed; None while it can be met.
    """

    at: str
    late_seconds: int | None


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
    allowed = time_to_deadline(model)
    if schedule is None:
        schedule = schedule_of_model(model)
    if allowed is None or not schedule.known:
        return None
    succeeded = parse_date(last_success) if last_success else None
    begin = parse_date(model.start_date) if model.start_date else None
    try:
        due = schedule.last_fire(now)
    except StateError:  # the first day of its calendar is ahead
        return None
    ahead: Deadline | None = None
    for _ in range(_MOST_STEPS):
        if (succeeded is not None and succeeded >= due) or (begin is not None and due < begin):
            return ahead
        if due + allowed <= now:
            return Deadline(format_date(due + allowed), int((now - due - allowed).total_seconds()))
        ahead = Deadline(format_date(due + allowed), None)
        try:
            due = schedule.fire_before(due)
        except StateError:
            return ahead
    return ahead
