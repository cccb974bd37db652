# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Name the words of a schedule with a calendar, and find the business day that one of its rules counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache

from batchy_provider.core.calendars import Calendar

_DAY = timedelta(days=1)


class Move(str, Enum):
    """What becomes of a fire on a day that is no business day."""

    SKIP = "skip"
    """It is left out."""
    NEXT = "next"
    """It moves to the next business day, at the same time of day."""
    PREVIOUS = "previous"
    """It moves to the business day before, at the same time of day."""


class Days(str, Enum):
    """Which days a rule names."""

    BUSINESS_DAYS = "business_days"
    """All business days."""
    HOLIDAYS = "holidays"
    """All holidays, also those on a weekend. A weekend alone is no holiday."""
    NTH = "nth"
    """One business day of each period."""


class Period(str, Enum):
    """A span of time whose business days are counted."""

    WEEK = "week"
    """From Monday to Sunday, whatever the weekend is."""
    MONTH = "month"
    QUARTER = "quarter"
    """From January, April, July and October."""
    YEAR = "year"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRule:
    """Which days of a calendar a schedule fires on.

    :param nth: for `Days.NTH`: 1 is the first business day of the period, -1 the last one.
    :param of: for `Days.NTH`: the period.
    """

    days: Days
    nth: int = 0
    of: Period = Period.MONTH

    def __str__(self) -> str:
        return f"business day {self.nth} of the {self.of.value}" if self.days is Days.NTH else self.days.value


def period_of(day: date, period: Period) -> tuple[date, date]:
    """Return the first day of the period that a day is in, and that of the next period."""
    match period:
        case Period.WEEK:
            start = day - day.weekday() * _DAY
            return start, start + 7 * _DAY
        case Period.YEAR:
            return date(day.year, 1, 1), date(day.year + 1, 1, 1)
        case Period.MONTH:
            months = 1
        case Period.QUARTER:
            months = 3
    month = (day.month - 1) // months * months
    following = month + months
    return date(day.year, month + 1, 1), date(day.year + following // 12, following % 12 + 1, 1)


def nth_day(calendar: Calendar, rule: DayRule, day: date) -> date | None:
    """Return the business day that a rule counts, of the period that a day is in.

    :returns: None if the period has fewer business days.
    """
    return _nth_of(calendar, rule, period_of(day, rule.of)[0])


@lru_cache(maxsize=4096)
def _nth_of(calendar: Calendar, rule: DayRule, start: date) -> date | None:
    end = period_of(start, rule.of)[1]
    step = 1 if rule.nth > 0 else -1
    day, left = (start if step > 0 else end - _DAY), abs(rule.nth)
    while start <= day < end:
        left -= calendar.is_business_day(day)
        if not left:
            return day
        day += step * _DAY
    return None


def place_in_period(calendar: Calendar, rule: DayRule, day: date) -> int:
    """Return which business day of its period a business day is, counted from the same end as the rule counts."""
    start, end = period_of(day, rule.of)
    if rule.nth > 0:
        return sum(1 for _ in calendar.business_days(start, day + _DAY))
    return -sum(1 for _ in calendar.business_days(day, end))


def nth_days(calendar: Calendar, rule: DayRule, day: date, last: date) -> Iterator[date]:
    """Yield the business days that a rule counts, from the period that a day is in, to the period of `last`.

    :param last: before `day` to go back.
    """
    step = 1 if last >= day else -1
    while (last - day).days * step >= 0:
        start, end = period_of(day, rule.of)
        if (found := _nth_of(calendar, rule, start)) is not None:
            yield found
        day = end if step > 0 else start - _DAY
