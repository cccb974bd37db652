# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which days are business days and which are holidays, by the calendar that a workflow has picked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from batchy_provider.core.holiday_library import holidays_of, last_year_of

SATURDAY_AND_SUNDAY = frozenset({5, 6})
"""The weekend of a calendar that names no other; Monday is 0."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_DAY = timedelta(days=1)
LONGEST_BREAK = 366
"""Days without a business day among which one is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Business days and holidays.

    A business day is neither of the weekend nor a holiday. A day of the weekend stays one, also where it is removed
    from the holidays.

    :param weekend: days of the week that are never business days; Monday is 0.
    :param holidays: codes of the library ``holidays``: countries (``DE``), their regions (``DE-BY``), and markets
        (``ECB``, ``NYSE``). Of several codes, each day counts that is a holiday of one of them.
    :param add: days that are holidays too.
    :param remove: days that are no holidays, though the library says so.
    """

    name: str
    weekend: frozenset[int] = SATURDAY_AND_SUNDAY
    holidays: tuple[str, ...] = ()
    add: frozenset[date] = frozenset()
    remove: frozenset[date] = frozenset()

    def holiday_name(self, day: date) -> str | None:
        """Return the name of a holiday and whose it is, as in ``Good Friday, ECB``; None if the day is none.

        :raises StateError: if the library does not know a code.
        """
        if day not in self.remove:
            for code in self.holidays:
                if (name := holidays_of(code, day.year).get(day)) is not None:
                    return f"{name}, {code}"
        return f"added to {self.name}" if day in self.add else None

    def is_business_day(self, day: date) -> bool:
        """Tell whether a day is neither of the weekend nor a holiday.

        :raises StateError: see `holiday_name`.
        """
        return day.weekday() not in self.weekend and self.holiday_name(day) is None

    def day_off(self, day: date) -> str | None:
        """Say why a day is no business day: the name of the holiday, or the day of the week; None if it is one."""
        return self.holiday_name(day) or (WEEKDAYS[day.weekday()] if day.weekday() in self.weekend else None)

    def holidays_in(self, year: int) -> list[date]:
        """Return the holidays of a year in order, also those on a weekend."""
        known = {day for code in self.holidays for day in holidays_of(code, year)} - self.remove
        return sorted(known | {day for day in self.add if day.year == year})

    def business_day(self, day: date, step: int) -> date | None:
        """Return the nearest business day.

        :param day: the answer, if it is a business day itself.
        :param step: 1 to look forward, -1 to look back.
        :returns: None if there is none within a year.
        """
        for _ in range(LONGEST_BREAK):
            if self.is_business_day(day):
                return day
            day += step * _DAY
        return None

    def business_days(self, start: date, end: date) -> Iterator[date]:
        """Yield the business days from `start` (inclusive) to `end` (exclusive)."""
        while start < end:
            if self.is_business_day(start):
                yield start
            start += _DAY

    @property
    def last_year_known(self) -> int | None:
        """The last year of which the library knows all holidays; None for a calendar of weekends and own days.

        In later years, only the weekends and the days that are added are left out.

        :raises StateError: see `holiday_name`.
        """
        return min(map(last_year_of, self.holidays), default=None)
