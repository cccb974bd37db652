# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the boundaries to which windows are aligned: hours, days, weeks and months of a timezone, or a cron's fires.

The boundaries are those of the clock on the wall. So a day has 23 to 25 hours, a month 28 to 31 days, and where the
clock repeats an hour, both begin one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

from batchy_provider.core.cron_times import next_fire, previous_fire
from batchy_provider.core.dates import day_bounds, day_of, to_utc, zone
from batchy_provider.exceptions import WindowError

UNITS = ("hour", "day", "week", "month")
"""The words for boundaries; everything else is a cron expression."""

SHORTEST = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}
"""Unit → its least length, counted in whole days of the calendar."""

_TICK = timedelta(microseconds=1)
_QUARTER = timedelta(minutes=15)
_FIRST_DAY: dict[str, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
}


def boundary_at(align: str, timezone_name: str, moment: datetime) -> datetime:
    """Return the last boundary at `moment` or before it.

    :param align: one of `UNITS`, or a cron expression.
    :param timezone_name: IANA name of the timezone in which units begin and crons fire.
    :param moment: naive UTC.
    :returns: naive UTC; the beginning of the calendar if there is no boundary before `moment`.
    """
    try:
        if align not in UNITS:
            return previous_fire([align], timezone_name, moment + _TICK)
        if align == "hour":
            return _hour_at(timezone_name, moment)
        day = _FIRST_DAY[align](date.fromisoformat(day_of(moment, timezone_name)))
        return day_bounds(day.isoformat(), timezone_name)[0]
    except OverflowError:
        return datetime.min


def boundary_after(align: str, timezone_name: str, moment: datetime) -> datetime:
    """Return the first boundary after `moment`; the parameters are those of `boundary_at`.

    :returns: naive UTC; the end of the calendar if there is no boundary after `moment`.
    """
    try:
        if align not in UNITS:
            return next_fire([align], timezone_name, moment)
        if align == "hour":
            return _hour_after(timezone_name, moment)
        day = _FIRST_DAY[align](date.fromisoformat(day_of(moment, timezone_name)))
        later = _FIRST_DAY[align](day + SHORTEST[align] + (timedelta(days=4) if align == "month" else timedelta()))
        return day_bounds(later.isoformat(), timezone_name)[0]
    except (OverflowError, ValueError):
        return datetime.max


def later_by(moment: datetime, duration: timedelta, timezone_name: str) -> datetime:
    """Return the moment that is later by a duration, whole days of it counted by the calendar of a timezone.

    So a day later is the same time of day, also where the clocks change.

    :param moment: naive UTC.
    :returns: naive UTC; the end of the calendar if it lies beyond.
    """
    try:
        place = zone(timezone_name)
        local = moment.replace(tzinfo=timezone.utc).astimezone(place)
        wall = local.replace(tzinfo=None) + timedelta(days=duration.days)
        shifted = to_utc(wall.replace(tzinfo=place, fold=local.fold)) if duration.days else moment
        return max(shifted + (duration - timedelta(days=duration.days)), moment)
    except (OverflowError, WindowError):
        return datetime.max


def _hour_at(timezone_name: str, moment: datetime) -> datetime:
    place = zone(timezone_name)
    local = moment.replace(tzinfo=timezone.utc).astimezone(place)
    wall = local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    while True:
        # An hour that the clock repeats begins twice; one that it skips, not at all.
        begins = {to_utc(wall.replace(tzinfo=place, fold=fold)) for fold in (0, 1)}
        real = [each for each in begins if each <= moment and _wall(each, timezone_name) == wall]
        if real:
            return max(real)
        wall -= timedelta(hours=1)


def _hour_after(timezone_name: str, moment: datetime) -> datetime:
    at = moment
    while True:
        # Some clocks change by half an hour, so that an hour of the wall has less than 60 minutes.
        at += _QUARTER
        if (found := _hour_at(timezone_name, at)) > moment:
            return found


def _wall(moment: datetime, timezone_name: str) -> datetime:
    return moment.replace(tzinfo=timezone.utc).astimezone(zone(timezone_name)).replace(tzinfo=None)
