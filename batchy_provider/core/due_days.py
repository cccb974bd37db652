# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide on which days a schedule with a calendar fires, and which day's times of day it takes there.

All fires that the cron expressions name on one day stay together. Those of a day that is no business day move, if they
are to move, as long as no day on the way has fires too: the nearest day's fires come, so a business day has the fires
of one day, its own if it has some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile

from batchy_provider.core.calendars import LONGEST_BREAK, Calendar
from batchy_provider.core.cron_days import days_from, names_day
from batchy_provider.core.day_rules import DayRule, Days, Move, nth_day, nth_days, place_in_period

_DAY = timedelta(days=1)
HORIZON = timedelta(days=50 * 366)
"""How far a day is looked for: cron expressions are searched for as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDays:
    """The days of one schedule; see `Schedule` for the fields."""

    crons: Sequence[str]
    calendar: Calendar
    on: DayRule | None
    move: Move

    def source(self, day: date) -> date | None:
        """Return the day whose fires come on a day: itself, or the one that they have moved from; None if none do."""
        if self._names(day) and self.target(day) == day:
            return day
        if self.move is Move.SKIP or not self.calendar.is_business_day(day):
            return None
        step = _DAY if self.move is Move.PREVIOUS else -_DAY
        for _ in range(LONGEST_BREAK):
            day += step
            if self.calendar.is_business_day(day):
                return None
            if self._names(day):
                return day
        return None

    def target(self, day: date) -> date | None:
        """Return the day on which the fires of a day come, if no other day's come there; None if nowhere."""
        if self.move is Move.SKIP:
            stays = self._is_on(Days.HOLIDAYS) or self.calendar.is_business_day(day)
            return day if stays else None
        return self.calendar.business_day(day, 1 if self.move is Move.NEXT else -1)

    def days(self, day: date, step: int) -> Iterator[date]:
        """Yield the days that may have fires, each once, beginning with `day`, of fifty years; `source` decides.

        :param step: 1 to go forward, -1 to go back.
        :raises ValueError: if the cron expressions name no day.
        :raises OverflowError: if the years of dates end before.
        """
        start, latest = day, None
        if self.move is not Move.SKIP:  # the fires of days off before may have moved here
            while abs(start - day) < LONGEST_BREAK * _DAY and not self.calendar.is_business_day(start - step * _DAY):
                start -= step * _DAY
        for named in self._named(start, day + step * HORIZON):
            found = self.target(named)
            if found is not None and found != latest and (found - day).days * step >= 0:
                yield found
                latest = found

    def moved_to(self, day: date) -> date | None:
        """Return the day that the fires of a day have moved to; None if they are left out, or come on their own day.

        They are left out, too, if they were to move to a day that has fires of its own, or those of a nearer day.
        """
        if not self._names(day) or (target := self.target(day)) == day:
            return None
        return target if target is not None and self.source(target) == day else None

    def reason(self, day: date) -> str:
        """Say why a day that the cron expressions name has no fires of its own."""
        if self._is_on(Days.HOLIDAYS) and self.calendar.holiday_name(day) is None:
            return "no holiday"
        if (text := self.calendar.day_off(day)) is not None:
            return text
        if self.on is not None and self.on.days is Days.NTH:
            return f"business day {place_in_period(self.calendar, self.on, day)} of the {self.on.of.value}"
        return "no day of the calendar"

    def __str__(self) -> str:
        rule = "" if self.on is None else f" on {self.on}"
        return f"{', '.join(map(repr, self.crons))}{rule} of the calendar {self.calendar.name}"

    def _is_on(self, days: Days) -> bool:
        return self.on is not None and self.on.days is days

    def _names(self, day: date) -> bool:
        """Tell whether a day is named by the cron expressions and by the rule."""
        if self._is_on(Days.HOLIDAYS) and self.calendar.holiday_name(day) is None:
            return False
        if self.on is not None and self.on.days is Days.NTH and nth_day(self.calendar, self.on, day) != day:
            return False
        return names_day(self.crons, day)

    def _named(self, day: date, last: date) -> Iterator[date]:
        """Yield the days that the sparser of rule and cron expressions names.

        :param last: before `day` to go back.
        """
        step = 1 if last >= day else -1
        if self.on is not None and self.on.days is Days.NTH:
            yield from nth_days(self.calendar, self.on, day, last)
        elif self._is_on(Days.HOLIDAYS):
            for year in range(day.year, last.year + step, step):
                holidays = self.calendar.holidays_in(year)[::step]
                yield from (found for found in holidays if (found - day).days * step >= 0)
        else:
            named = days_from(self.crons, day, step)
            yield from takewhile(lambda each: (last - each).days * step >= 0, named)
