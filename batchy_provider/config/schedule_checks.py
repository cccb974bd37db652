# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the keys of ``schedule`` together, and find the calendar that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from batchy_provider.config.calendar_model import KnownCalendars
from batchy_provider.config.diagnostics import Code, Violation, did_you_mean
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import schedule_of_model
from batchy_provider.config.schedule_model import After, CronSchedule, Nth
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import Days, Schedule
from batchy_provider.exceptions import StateError

_YEARS = 10
"""A schedule that has no due time for so many years, in the past and from now on, is taken for a mistake."""


def check_schedule(model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of a schedule whose single keys are all valid."""
    schedule = model.schedule
    if not isinstance(schedule, CronSchedule):
        return
    if schedule.calendar is None:
        for key in ("on", "move"):
            if getattr(schedule, key) is not None:
                message = f"{key} needs a calendar, which says what a business day is; add calendar: NAME"
                yield Violation(("schedule", key), Code.MISSING_KEY, message, at_key=True)
    if isinstance(schedule.on, Nth) and schedule.move in ("next", "previous"):
        message = "the business days that nth counts never move; remove move"
        yield Violation(("schedule", "move"), Code.CONFLICT, message, at_key=True)
    if schedule.same_day:
        message = "same_day is for schedules by workflows alone; remove cron, or same_day"
        yield Violation(("schedule", "same_day"), Code.CONFLICT, message, at_key=True)
    if not schedule.after:
        if "after" in schedule.model_fields_set:
            yield Violation(("schedule", "after"), Code.MISSING_VALUE, "expected at least one workflow")
            return
        for key in After.model_fields:
            if key in schedule.model_fields_set and key != "same_day":
                message = f"{key} has an effect only together with after"
                yield Violation(("schedule", key), Code.CONFLICT, message, at_key=True)


def pick_calendar(
    model: WorkflowModel, calendars: Callable[[], KnownCalendars]
) -> tuple[Calendar | None, list[Violation]]:
    """Return the calendar that the schedule names, and what is wrong with the two together.

    :param calendars: returns the calendars that there are; called only if the schedule names one.
    """
    schedule = model.schedule
    if not isinstance(schedule, CronSchedule) or schedule.calendar is None:
        return None, []
    known, name = calendars(), schedule.calendar
    calendar = known.calendars.get(name)
    path = ("schedule", "calendar")
    if calendar is None:
        file = known.files[0] if known.files else None
        if name in known.calendars:
            message = f"the calendar {name!r} cannot be used: it, or one that it extends, has an error in {file}"
            return None, [Violation(path, Code.INVALID_CALENDAR, message)]
        if not known.complete:
            message = f"the calendar {name!r} cannot be used: {file} has an error"
            return None, [Violation(path, Code.INVALID_CALENDAR, message)]
        if file is None:
            message = f"no calendar {name!r}: there is no _calendars.yaml in the folder of workflow files"
        else:
            message = f"no calendar {name!r} in {file}{did_you_mean(name, known.calendars)}"
        return None, [Violation(path, Code.UNDEFINED_CALENDAR, message)]
    due = schedule_of_model(model, calendar)
    if not _is_ever_due(due, datetime.now(timezone.utc).year):
        rule = "on" if schedule.on is not None else "calendar"
        message = f"the schedule never fires: {_never(due)}"
        return calendar, [Violation(("schedule", rule), Code.NEVER_FIRES, message)]
    return calendar, []


@lru_cache(maxsize=10_000)  # workflows often have the same schedule
def _is_ever_due(schedule: Schedule, year: int) -> bool:
    """Tell whether a schedule has a due time within some years of the beginning of a year."""
    start = datetime(year, 1, 1)
    try:
        if schedule.due_day(start).year <= year + _YEARS:
            return True
    except StateError:
        pass  # the days that its calendar adds may all be past
    try:
        return schedule.fire_before(start) > start - timedelta(days=366 * _YEARS)
    except StateError:
        return False


def _never(schedule: Schedule) -> str:
    assert schedule.calendar is not None
    crons, name = ", ".join(map(repr, schedule.crons)), schedule.calendar.name
    if schedule.on is None or schedule.on.days is Days.BUSINESS_DAYS:
        days = "a business day"
    else:
        days = "a holiday" if schedule.on.days is Days.HOLIDAYS else str(schedule.on)
    return f"for {_YEARS} years, no day of {crons} is {days} of the calendar {name}"
