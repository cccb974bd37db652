# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say when a workflow is due: its cron expressions, with the calendar that it has picked applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.cron_times import next_fire, previous_fire
from batchy_provider.core.dates import format_date
from batchy_provider.exceptions import StateError

_TICK = timedelta(microseconds=1)


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
    """All holidays, also those on a weekend. A weekend itself is no holiday."""
    NTH = "nth"
    """One business day of each period."""


class Period(str, Enum):
    """A span of time whose business days are counted."""

    WEEK = "week"
    """From Monday."""
    MONTH = "month"
    QUARTER = "quarter"
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A day that a cron expression names, and on which the schedule does not fire.

    :param day: in the timezone of the schedule.
    :param reason: for people, as in ``Good Friday, ECB``.
    :param moved_to: the day that its fires have moved to.
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

        :raises StateError: if an expression cannot be read, or never fires.
        """
        try:
            return previous_fire(self.crons, self.timezone, moment)
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("before", moment, error) from error

    def next_fire(self, moment: datetime) -> datetime:
        """Return the first fire after `moment`; naive UTC.

        :raises StateError: see `fire_before`.
        """
        try:
            return next_fire(self.crons, self.timezone, moment)
        except (ValueError, KeyError, OverflowError) as error:
            raise self._error("after", moment, error) from error

    def fires(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the fires from `start` (inclusive) to `end` (exclusive), in order; naive UTC.

        :raises StateError: see `fire_before`.
        """
        fire = self.next_fire(start - _TICK)
        while fire < end:
            yield fire
            fire = self.next_fire(fire)

    def left_out(self, start: datetime, end: datetime) -> Iterator[LeftOut]:
        """Yield the days from `start` to `end` that a cron expression names and the calendar leaves out."""
        yield from ()

    def _error(self, side: str, moment: datetime, error: Exception) -> StateError:
        crons = ", ".join(map(repr, self.crons))
        return StateError(
            f"the schedule {crons} ({self.timezone}) has no fire {side} {format_date(moment)} UTC: {error}. Load "
            "the configuration of the workflow again"
        )


NO_SCHEDULE = Schedule()
"""Nobody knows when it is due: by hand, after other workflows, or without cron expressions."""
