# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say when a workflow is due: its cron expressions, with the calendar that it has picked applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.cron_days import days_from, fires_each_hour, times_of_day
from batchy_provider.core.cron_times import next_fire, previous_fire
from batchy_provider.core.dates import day_bounds, day_of, format_date, to_utc, zone
from batchy_provider.core.day_rules import DayRule, Days, Move, Period
from batchy_provider.core.due_days import DueDays
from batchy_provider.exceptions import StateError

__all__ = ["DayRule", "Days", "LeftOut", "Move", "Period", "Schedule"]

_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_NO_DAY = "it names no day within fifty years"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A day that a cron expression names, and on which the schedule has no fires of it.

    :param day: in the timezone of the schedule.
    :param reason: for people, as in ``Good Friday, ECB``.
    :param moved_to: the day that its fires have moved to, where they may have met those of another day; None if they
        are left out.
    """

    day: date
    reason: str
    moved_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a workflow is due.

    :param crons: its cron expressions; none if it has no schedule that is known.
    :param timezone: IANA name of the timezone that they, and the days of the calendar, are read in.
    :param calendar: the calendar that decides which days count; None for all days.
    :param on: the days of the calendar on which it fires; None for the days that the cron expressions name.
    :param move: what becomes of fires on days that are no business days.
    """

    crons: tuple[str, ...] = ()
    timezone: str = "UTC"
    calendar: Calendar | None = None
    on: DayRule | None = None
    move: Move = Move.SKIP

    @property
    def known(self) -> bool:
        """Whether it is known when the workflow is due."""
        return bool(self.crons)

    def last_fire(self, moment: datetime) -> datetime:
        """Return the last fire at `moment` or before it; naive UTC.

        :raises StateError: see `fire_before`.
        """
        return self.fire_before(moment + _TICK)

    def fire_before(self, moment: datetime) -> datetime:
        """Return the last fire before `moment`; naive UTC.

        :raises StateError: if an expression or a calendar cannot be read, or the schedule never fires.
        """
        try:
            if (due_days := self._due_days()) is None:
                return previous_fire(self.crons, self.timezone, moment)
            return self._search(due_days, moment, -1)
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("before", moment, error) from error

    def next_fire(self, moment: datetime) -> datetime:
        """Return the first fire after `moment`; naive UTC.

        :raises StateError: see `fire_before`.
        """
        try:
            if (due_days := self._due_days()) is None:
                return next_fire(self.crons, self.timezone, moment)
            return self._search(due_days, moment, 1)
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("after", moment, error) from error

    def due_day(self, moment: datetime) -> date:
        """Return the first day with fires, beginning with the day of `moment`; that is cheaper than the fire itself.

        :raises StateError: see `fire_before`.
        """
        day = self._day(moment)
        try:
            if (due_days := self._due_days()) is None:
                return next(days_from(self.crons, day, 1))
            for each in due_days.days(day, 1):
                if due_days.source(each) is not None:
                    return each
            raise ValueError(_NO_DAY)
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("after", moment, error) from error

    def fires(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the fires from `start` (inclusive) to `end` (exclusive), in order; naive UTC.

        :raises StateError: see `fire_before`.
        """
        due_days = self._due_days()
        if due_days is None:
            fire = self.next_fire(start - _TICK)
            while fire < end:
                yield fire
                fire = self.next_fire(fire)
            return
        # Day by day, so that a schedule whose days end in between, such as those that a calendar adds, is no error.
        last, before = self._day(end), set[datetime]()
        try:
            for day in due_days.days(self._day(start) - _DAY, 1):
                if day > last:
                    return
                if (source := due_days.source(day)) is not None:
                    fires = _fires_of(self, day, source)
                    # A day that a timezone has left out has the fires of the next one.
                    yield from (fire for fire in fires if start <= fire < end and fire not in before)
                    before = {*fires}
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("after", start, error) from error

    def left_out(self, start: datetime, end: datetime) -> Iterator[LeftOut]:
        """Yield the days that the cron expressions name, and on which the schedule has no fires of theirs, in order.

        :param start: the day of this moment is the first one; naive UTC.
        :param end: days that begin at this moment or later are not yielded; naive UTC.
        :raises StateError: see `fire_before`.
        """
        if (due_days := self._due_days()) is None or start >= end:
            return
        last = self._day(end - _TICK)
        try:
            for day in days_from(self.crons, self._day(start), 1):
                if day > last:
                    return
                if due_days.source(day) != day:
                    yield LeftOut(day, due_days.reason(day), due_days.moved_to(day))
        except (ValueError, KeyError, OverflowError):
            return  # the expressions name no further day

    def _due_days(self) -> DueDays | None:
        if self.calendar is None or not self.crons:
            return None
        return DueDays(crons=self.crons, calendar=self.calendar, on=self.on, move=self.move)

    def _search(self, due_days: DueDays, moment: datetime, step: int) -> datetime:
        """Return the nearest fire after `moment`, or before it.

        :param step: 1 for after, -1 for before.
        """
        first = self._day(moment)
        # Fires of the day before may come after midnight, see `_fires_of`.
        for day in due_days.days(first - _DAY if step > 0 else first, step):
            if (source := due_days.source(day)) is None:
                continue
            fires = _fires_of(self, day, source)[::step]
            found = next((fire for fire in fires if (fire > moment if step > 0 else fire < moment)), None)
            if found is not None:
                return found
        raise ValueError(_NO_DAY)

    def _day(self, moment: datetime) -> date:
        return date.fromisoformat(day_of(moment, self.timezone))

    def _error(self, side: str, moment: datetime, error: Exception) -> StateError:
        crons = ", ".join(map(repr, self.crons))
        calendar = "" if self.calendar is None else f", calendar {self.calendar.name}"
        return StateError(
            f"the schedule {crons} ({self.timezone}{calendar}) has no fire {side} {format_date(moment)} UTC: {error}. "
            "Load the configuration of the workflow again"
        )


@lru_cache(maxsize=512)
def _fires_of(schedule: Schedule, day: date, source: date) -> tuple[datetime, ...]:
    """Return the fires of a day in order, at the times of day of its source."""
    place = zone(schedule.timezone)
    fires = {
        # As Airflow reads times of day that occur twice, or never: the later of the two readings.
        max(to_utc(datetime.combine(day, each, place).replace(fold=fold)) for fold in (0, 1))
        for each in times_of_day(schedule.crons, source)
    }
    start, end = day_bounds(day.isoformat(), schedule.timezone)
    if source == day and end - start != _DAY:
        # The clock changes on this day, and the cron expressions alone decide.
        plain = replace(schedule, calendar=None, on=None, move=Move.SKIP)
        # Where the clock skips the end of the day, its fires come after midnight.
        each_hour = fires_each_hour(schedule.crons)
        late = {fire for fire in fires if fire >= end and not each_hour and plain.last_fire(fire) == fire}
        fires = {*plain.fires(start, end), *late}
    return tuple(sorted(fires))


NO_SCHEDULE = Schedule()
"""Nobody knows when it is due: by hand, after other workflows, or without cron expressions."""
