# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the days around today for one workflow: when it is due, which days are left out and why, and how runs ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.dates import day_bounds, local_time, parse_date, zone
from batchy_provider.core.vocabulary import Kind, Status
from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.services.due_times import (
    days_with_moves,
    moved_here,
    next_fires,
    reason_of,
)
from batchy_provider.services.schedule_source import NoteCode, ScheduleNote

if TYPE_CHECKING:
    from batchy_provider.core.schedules import LeftOut
    from batchy_provider.core.values import Batch
    from batchy_provider.services.due_times import DueTimeService
    from batchy_provider.services.schedule_source import ScheduleSource
    from batchy_provider.state.store import Store

MONTHS_AHEAD = 2
FIRES_PER_DAY = 24
"""How many fires of one day are listed."""
_BATCHES_AT_ONCE = 200
_MAX_BATCHES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarRun:
    """A batch that was opened on a day.

    :param started: ISO 8601, with the offset of the workflow's timezone.
    """

    batch_id: int
    status: Status
    kind: Kind
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """One day in the workflow's timezone.

    :param fires: when the workflow is due, from now on; ISO 8601, with the offset of its timezone. At most 24 of them.
    :param more_fires: there are more than these.
    :param note: why the day is left out, or from which day its fires have moved.
    :param left_out: a cron expression names the day, and the calendar leaves it out.
    :param holiday: the name of the holiday, with its calendar.
    :param business_day: None without a calendar.
    :param runs: the batches that were opened on that day, oldest first.
    """

    day: str
    fires: list[str]
    more_fires: bool
    note: str | None
    left_out: bool
    holiday: str | None
    business_day: bool | None
    runs: list[CalendarRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarView:
    """Whole months of days: from the last month to two months ahead.

    :param timezone: IANA name; the days and times are those of this timezone.
    :param today: ISO day.
    :param schedule: when the workflow runs, in a line.
    :param calendar: the name of its calendar; None without one.
    :param notes: what else a person should know, for example that the DAG is paused.
    """

    workflow: str
    timezone: str
    today: str
    schedule: str
    calendar: str | None
    notes: list[ScheduleNote]
    days: list[CalendarDay]


class CalendarDayService:
    """Work out the days of a workflow's calendar.

    :param store: returns the state in Redis.
    :param due_times: knows the schedules.
    """

    def __init__(self, *, store: Callable[[], Store], due_times: DueTimeService) -> None:
        self._store = store
        self._due_times = due_times

    def of(self, workflow: str, *, now: datetime | None = None) -> CalendarView:
        """Return the days from the first of last month to the end of the month in two months.

        :param now: naive UTC; by default the time of the Redis server.
        :raises UnknownWorkflowError: neither a file nor Redis knows it; the message names the nearest.
        :raises InvalidFilesError: its file has errors.
        """
        moment = now if now is not None else self._store().backend.server_time()
        source = self._due_times.source(workflow)
        place = source.schedule.timezone
        today = local_time(moment, zone(place)).date()
        first, last = _month(today, -1), _month(today, MONTHS_AHEAD + 1) - timedelta(days=1)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        begin, end = day_bounds(first.isoformat(), place)[0], day_bounds(last.isoformat(), place)[1]
        fires, error = _fires(source, moment, days)
        notes = list(source.notes)
        if error is not None:
            notes.append(ScheduleNote(code=NoteCode.NO_MORE_FIRES, text=error))
        around = days_with_moves(source.schedule, begin, end) if source.schedule.known else []
        runs = self._runs(workflow, begin, place)
        return CalendarView(
            workflow=workflow,
            timezone=place,
            today=today.isoformat(),
            schedule=source.text,
            calendar=None if source.schedule.calendar is None else source.schedule.calendar.name,
            notes=notes,
            days=list(_days(source, days, fires, around, runs)),
        )

    def _runs(self, workflow: str, begin: datetime, place: str) -> dict[str, list[CalendarRun]]:
        """Return day → its batches, oldest first. One that cannot be read, or a workflow not in Redis, has none."""
        found: dict[str, list[CalendarRun]] = {}
        for batch in self._batches(workflow, begin):
            started = local_time(parse_date(str(batch.started)), zone(place))
            run = CalendarRun(
                batch_id=batch.batch_id,
                status=batch.status,
                kind=batch.kind,
                started=started.isoformat(timespec="seconds"),
            )
            found.setdefault(started.date().isoformat(), []).insert(0, run)
        return found

    def _batches(self, workflow: str, begin: datetime) -> Iterator[Batch]:
        """Yield the batches that were opened since a moment, newest first."""
        store = self._store()
        for offset in range(0, _MAX_BATCHES, _BATCHES_AT_ONCE):
            try:
                batches = store.history(workflow, limit=_BATCHES_AT_ONCE, offset=offset)
            except RedisUnavailableError:
                raise
            except BatchyError:  # the state of the workflow cannot be read; its schedule is known all the same
                return
            recent = [each for each in batches if each.started and parse_date(str(each.started)) >= begin]
            yield from recent
            # Ids of history batches lie at or before the clock: a whole page of old ones ends the search.
            if not recent or len(batches) < _BATCHES_AT_ONCE:
                return


def _month(day: date, step: int) -> date:
    """Return the first day of the month that many months after the day's."""
    months = day.year * 12 + day.month - 1 + step
    return date(months // 12, months % 12 + 1, 1)


def _fires(source: ScheduleSource, now: datetime, days: Sequence[date]) -> tuple[dict[str, list[str]], str | None]:
    """Return day → the first fires from now on, one more than is listed, and the error that has ended them."""
    found: dict[str, list[str]] = {}
    place = source.schedule.timezone
    if not source.schedule.known:
        return found, None
    for day in days:
        begin, end = day_bounds(day.isoformat(), place)
        if end <= now:
            continue
        fires, error = next_fires(source, max(begin, now), FIRES_PER_DAY + 1, before=end)
        if error is not None:
            return found, error
        found[day.isoformat()] = [local_time(fire, zone(place)).isoformat() for fire in fires]
    return found, None


def _days(
    source: ScheduleSource,
    days: Sequence[date],
    fires: dict[str, list[str]],
    around: Sequence[LeftOut],
    runs: dict[str, list[CalendarRun]],
) -> Iterator[CalendarDay]:
    calendar = source.schedule.calendar
    left_out = {each.day: reason_of(each) for each in around}
    moved = moved_here(around)
    for day in days:
        name = day.isoformat()
        due = fires.get(name, [])
        yield CalendarDay(
            day=name,
            fires=due[:FIRES_PER_DAY],
            more_fires=len(due) > FIRES_PER_DAY,
            note=left_out.get(day) or moved.get(day),
            left_out=day in left_out,
            holiday=None if calendar is None else calendar.holiday_name(day),
            business_day=None if calendar is None else calendar.is_business_day(day),
            runs=runs.get(name, []),
        )
