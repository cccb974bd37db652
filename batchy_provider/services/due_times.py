# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say when a workflow is due next, its calendar applied, and why a day is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING

from batchy_provider.config.field_types import in_zone
from batchy_provider.core.calendars import WEEKDAYS
from batchy_provider.core.dates import local_time, to_utc, zone
from batchy_provider.core.schedules import LeftOut, Schedule
from batchy_provider.exceptions import StateError
from batchy_provider.services.schedule_source import NoteCode, ScheduleNote, ScheduleSource, SourceReader

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.services.fill_requests import DagRuns
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

MAX_COUNT = 1000
"""The most fires in one answer."""
_HORIZON = timedelta(days=30 * 366)
"""How far a list goes at most."""
_LONGEST_LIST = timedelta(days=366)
"""How far the days that are left out are listed where no fire ends the list."""
_LONGEST_MOVE = timedelta(days=60)
"""More than a fire moves: longer than any row of days without a business day that is likely."""
_TICK = timedelta(microseconds=1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTime:
    """A time at which a workflow is due, or a day that its calendar leaves out.

    :param due: ISO 8601, with the offset of the workflow's timezone; None for a day that is left out.
    :param day: ISO day in that timezone.
    :param note: why the day is left out, or from which day the fire has moved; None where there is nothing to say.
    """

    due: str | None
    day: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimes:
    """When a workflow is due next.

    :param timezone: IANA name of the timezone of the schedule.
    :param times: by time.
    :param notes: what else a person should know, for example that the workflow has no schedule.
    """

    workflow: str
    timezone: str
    times: list[DueTime]
    notes: list[ScheduleNote]


class DueTimeService:
    """Work out when workflows are due.

    :param store: returns the state in Redis. Only workflows without a file ask it.
    :param catalog: the workflow files.
    :param names: the workflows that Redis knows.
    :param runs: the runs of this Airflow; None where there is none.
    """

    def __init__(
        self, *, store: Callable[[], Store], catalog: Catalog, names: WorkflowNames, runs: DagRuns | None
    ) -> None:
        self._sources = SourceReader(store=store, catalog=catalog, names=names)
        self._runs = runs

    def source(self, workflow: str) -> ScheduleSource:
        """Return the schedule of a workflow, with a note if its DAG is paused.

        :raises UnknownWorkflowError: neither a file nor Redis knows it; the message names the nearest.
        :raises InvalidFilesError: its file has errors.
        """
        source = self._sources.read(workflow)
        if not self._is_paused(workflow):
            return source
        note = ScheduleNote(
            code=NoteCode.PAUSED, text=f"the DAG {workflow} is paused: nothing runs until it is unpaused"
        )
        return replace(source, notes=(*source.notes, note))

    def _is_paused(self, workflow: str) -> bool:
        # A schedule is known without Airflow: a worker cannot ask Airflow's database, and shows the rest.
        with contextlib.suppress(Exception):
            return self._runs is not None and bool(self._runs.is_paused(workflow))
        return False

    def of(self, workflow: str, *, start: str | None = None, count: int = 10, left_out: bool = False) -> DueTimes:
        """Return when a workflow is due next.

        :param start: the first moment that counts, ISO 8601; without an offset in the timezone of the schedule. By
            default now.
        :param count: how many fires, at most `MAX_COUNT`.
        :param left_out: return the days between them that the calendar leaves out, too.
        :raises UnknownWorkflowError: neither a file nor Redis knows it; the message names the nearest.
        :raises InvalidFilesError: its file has errors.
        :raises WindowError: `start` is not a date.
        """
        source = self.source(workflow)
        schedule, place = source.schedule, source.schedule.timezone
        begin = to_utc(datetime.now(timezone.utc) if start is None else in_zone(start.strip(), place), written=start)
        notes, times = list(source.notes), []
        if schedule.known:
            count = max(1, min(count, MAX_COUNT))
            fires, error = next_fires(source, begin, count, before=_later(begin, _HORIZON))
            first, last = source.clipped(begin)
            end = fires[-1] + _TICK if len(fires) == count else min(last, _later(first, _LONGEST_LIST))
            times = _times(source.schedule, fires, (first, end), left_out)
            if error is not None:
                notes.append(ScheduleNote(code=NoteCode.NO_MORE_FIRES, text=error))
            notes += _notes(source, begin, fires, is_short=len(fires) < count and error is None)
        return DueTimes(workflow=workflow, timezone=place, times=times, notes=notes)


def next_fires(
    source: ScheduleSource, begin: datetime, count: int, *, before: datetime = datetime.max
) -> tuple[list[datetime], str | None]:
    """Return the first fires from a moment (inclusive) to another (exclusive), and the error that has ended them.

    :param begin: naive UTC.
    :param before: naive UTC.
    """
    found: list[datetime] = []
    try:
        found.extend(islice(source.schedule.fires(*source.clipped(begin, before)), count))
    except StateError as error:
        return found, str(error)
    return found, None


def days_left_out(schedule: Schedule, start: datetime, end: datetime) -> list[LeftOut]:
    """Return the days from a moment (inclusive) to another (exclusive) that the calendar leaves out, moved ones too."""
    if schedule.calendar is None or start >= end:
        return []
    found: list[LeftOut] = []
    with contextlib.suppress(StateError):  # the fires end there, too, and their error is shown
        found.extend(schedule.left_out(start, end))
    return found


def days_with_moves(schedule: Schedule, start: datetime, end: datetime) -> list[LeftOut]:
    """Return the days as `days_left_out` does, and those around whose fires may have moved to a day of the span."""
    return days_left_out(schedule, _later(start, -_LONGEST_MOVE), _later(end, _LONGEST_MOVE))


def moved_here(days: Iterable[LeftOut]) -> dict[date, str]:
    """Return day → from which days its fires have moved, and why."""
    found: dict[date, list[str]] = {}
    for each in days:
        if each.moved_to is not None:
            found.setdefault(each.moved_to, []).append(f"moved from {short_day(each.day)}: {_reason(each)}")
    return {day: "; ".join(texts) for day, texts in found.items()}


def reason_of(day: LeftOut) -> str:
    """Say why nothing runs on a day, and to which day its fires have moved."""
    return _reason(day) if day.moved_to is None else f"moved to {short_day(day.moved_to)}: {_reason(day)}"


def _reason(day: LeftOut) -> str:
    # The name of the day stands beside it already.
    return "weekend" if day.reason in WEEKDAYS else day.reason


def short_day(day: date) -> str:
    """Write a day for people: ``Sat 28 Feb``."""
    return f"{WEEKDAYS[day.weekday()][:3]} {day.day} {_MONTHS[day.month - 1]}"


def _times(schedule: Schedule, fires: list[datetime], span: tuple[datetime, datetime], left_out: bool) -> list[DueTime]:
    days = days_with_moves(schedule, *span)
    moved = moved_here(days)
    found: list[DueTime] = []
    for fire in fires:
        here = local_time(fire, zone(schedule.timezone))
        found.append(DueTime(due=here.isoformat(), day=here.date().isoformat(), note=moved.get(here.date())))
    if left_out:
        first, last = (local_time(moment, zone(schedule.timezone)).date() for moment in span)
        found += [
            DueTime(due=None, day=each.day.isoformat(), note=reason_of(each))
            for each in days
            if first <= each.day <= last
        ]
    return sorted(found, key=lambda each: each.day)  # the fires of a day stay in their order


def _notes(
    source: ScheduleSource, begin: datetime, fires: Sequence[datetime], *, is_short: bool
) -> Iterator[ScheduleNote]:
    """Yield what a person should know about a list of fires.

    :param is_short: there are fewer fires than were asked for.
    """
    place, calendar = source.schedule.timezone, source.schedule.calendar
    if source.start is not None and begin < source.start:
        text = f"nothing is due before its start_date, {_text(source.start, place)}"
        yield ScheduleNote(code=NoteCode.NOT_BEGUN, text=text)
    if is_short and source.end is not None and source.end < _later(begin, _HORIZON):
        text = f"nothing is due after its end_date, {_text(source.end, place)}"
        yield ScheduleNote(code=NoteCode.ENDS, text=text)
    elif is_short:
        years = f"{_HORIZON.days // 366} years"
        text = f"the list ends {years} after its start" if fires else f"it is never due in {years}"
        yield ScheduleNote(code=NoteCode.LIST_ENDS, text=text)
    last_year = None if calendar is None else calendar.last_year_known
    if calendar is not None and last_year is not None and fires and local_time(fires[-1], zone(place)).year > last_year:
        text = f"the holidays of calendar {calendar.name} are known up to {last_year}; later days may be holidays"
        yield ScheduleNote(code=NoteCode.HOLIDAYS_UNKNOWN, text=text)


def _text(moment: datetime, timezone_name: str) -> str:
    return local_time(moment, zone(timezone_name)).isoformat(" ", "minutes")


def _later(moment: datetime, step: timedelta) -> datetime:
    try:
        return moment + step
    except OverflowError:
        return datetime.max if step > timedelta() else datetime.min
