# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find when a cron schedule last fired before a moment, and when it fires next.

Airflow's cron trigger timetable gives a run no interval (its ends are equal), so the window of a backfill is worked
out here. A schedule fires at the moments at which that timetable starts runs one after the other, and at no others.
So `previous_fire` and `next_fire` are inverse to each other everywhere, also where the clocks of a timezone change:

- With fixed hours (``30 2 * * *``), a time that the clock skips fires as much later as the clock skips: 02:30 fires at
  03:30. Of several such times only the first fires; the schedule then goes on with the times after that fire. A time
  that the clock repeats fires once, at its second occurrence.
- With an hour of ``*`` (``0 * * * *``), the next fire is counted in elapsed time from the fire before it. So it fires
  in both hours of the same name, and in none that the clock skips. Where the clock changes by half an hour, or while
  the schedule pauses for days, the first fire after the change still follows the old clock.

The functions import croniter, since a build of this package, which writes the schema of workflow files, has only
pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import MAXYEAR, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from batchy_provider.core.dates import to_utc, zone

if TYPE_CHECKING:
    from croniter import croniter

_TICK = timedelta(microseconds=1)
_REMEMBERED = 16_384
"""So many fires are kept in memory. A plan asks for the same ones again and again; each takes half a millisecond."""
_LONGEST_CHANGE = timedelta(hours=26)
"""More than any change of clocks: some places have left out a whole day."""


def is_cron(expression: str) -> bool:
    """Tell whether a text is a cron expression."""
    from croniter import croniter

    return bool(croniter.is_valid(expression))


def previous_fire(expressions: Iterable[str], timezone_name: str, at: datetime) -> datetime:
    """Return when one of the schedules fired last, strictly before `at`; see the module for changes of clocks.

    :param expressions: one or more cron expressions.
    :param timezone_name: IANA name of the timezone that they are read in.
    :param at: aware, or naive UTC.
    :returns: naive UTC.
    """
    return _previous_fire(tuple(expressions), timezone_name, to_utc(at))


@lru_cache(maxsize=_REMEMBERED)
def _previous_fire(expressions: tuple[str, ...], timezone_name: str, moment: datetime) -> datetime:
    place = zone(timezone_name)
    return max(_before(_Cron(expression), place, moment) for expression in expressions)


def next_fire(expressions: Iterable[str], timezone_name: str, at: datetime) -> datetime:
    """Return when one of the schedules fires next, strictly after `at`; the inverse of `previous_fire`.

    :param expressions: one or more cron expressions.
    :param timezone_name: IANA name of the timezone that they are read in.
    :param at: aware, or naive UTC.
    :returns: naive UTC.
    """
    return _next_fire(tuple(expressions), timezone_name, to_utc(at))


@lru_cache(maxsize=_REMEMBERED)
def _next_fire(expressions: tuple[str, ...], timezone_name: str, moment: datetime) -> datetime:
    place = zone(timezone_name)
    crons = [_Cron(expression) for expression in expressions]
    return min(_after(cron, place, _before(cron, place, moment + _TICK)) for cron in crons)


class _Cron:
    """A cron expression on the clock on the wall.

    :ivar is_hourly: its hour is ``*``, so that it is counted in elapsed time.
    :ivar pauses: it is counted in elapsed time, and leaves out days.
    """

    def __init__(self, expression: str) -> None:
        from croniter import croniter

        self._times: croniter = croniter(expression)
        self.is_hourly: bool = self._times.expanded[1] == ["*"]
        self.pauses = self.is_hourly and any(days != ["*"] for days in self._times.expanded[2:5])

    def before(self, wall: datetime) -> datetime:
        self._times.set_current(wall, force=True)
        found: datetime = self._times.get_prev(datetime)
        return found

    def after(self, wall: datetime) -> datetime:
        self._times.set_current(wall, force=True)
        found: datetime = self._times.get_next(datetime)
        return found


def _before(cron: _Cron, place: ZoneInfo, moment: datetime) -> datetime:
    """Return the last fire strictly before a moment, naive UTC."""
    plain = _plain_before(cron, place, moment)
    if not cron.pauses and not _changes(place, plain - 2 * _LONGEST_CHANGE, moment):
        return plain
    # The first fire after a change of clocks may be none of the times of the expression, and may come after some of
    # them. So begin at a time that is so long before that this makes no difference, and go on from change to change.
    fire = _latest(place, cron.before(plain + _offset(place, moment - _TICK) - _LONGEST_CHANGE))
    for change in _changes(place, fire, moment - _TICK):
        fire = max(fire, _plain_before(cron, place, change))
        following = _after(cron, place, fire)
        if following >= moment:
            return fire
        fire = following
    return max(fire, plain)


def _plain_before(cron: _Cron, place: ZoneInfo, moment: datetime) -> datetime:
    """Return the last time of an expression before a moment, on the clock that holds until then; naive UTC."""
    offset = _offset(place, moment - _TICK)
    wall = moment + offset
    if not cron.is_hourly:
        # A clock that goes back soon repeats times. They have not fired yet.
        for change in _changes(place, moment - _TICK, moment + _LONGEST_CHANGE):
            wall = min(wall, change + _offset(place, change))
    return cron.before(wall) - offset


def _after(cron: _Cron, place: ZoneInfo, fire: datetime) -> datetime:
    """Return the fire that follows a fire, as Airflow's timetable does; naive UTC."""
    wall = fire + _offset(place, fire)
    following = cron.after(wall)
    return fire + (following - wall) if cron.is_hourly else _latest(place, following)


def _latest(place: ZoneInfo, wall: datetime) -> datetime:
    """Return when the clocks of a place show a time: the later moment, if they skip or repeat it; naive UTC."""
    return max(to_utc(wall.replace(tzinfo=place, fold=fold)) for fold in (0, 1))


def _offset(place: ZoneInfo, moment: datetime) -> timedelta:
    """Return how far the clocks of a place are ahead of UTC."""
    offset = moment.replace(tzinfo=timezone.utc).astimezone(place).utcoffset()
    return offset or timedelta()


def _changes(place: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Return the changes of clocks in a time, of which the start does not count and the end does."""
    years = range(after.year, until.year + 1)
    return [change for year in years for change in _changes_of_year(place, year) if after < change <= until]


@lru_cache(maxsize=4096)
def _changes_of_year(place: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return when the clocks of a place change in a year: the first moment of each new offset, naive UTC."""
    found: list[datetime] = []
    step = timedelta(days=1)
    for day in (datetime(year, 1, 1) + number * step for number in range(366 if year < MAXYEAR else 364)):
        start, end = day, day + step
        before, after = _offset(place, start), _offset(place, end)
        if before == after or day.year > year:
            continue
        while end - start > timedelta(seconds=1):
            middle = (start + (end - start) / 2).replace(microsecond=0)
            start, end = (middle, end) if _offset(place, middle) == before else (start, middle)
        found.append(end)
    return tuple(found)
