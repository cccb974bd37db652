# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find when a cron schedule last fired before a moment, and when it fires next.

Airflow's cron trigger timetable gives a run no interval (its ends are equal), so the window of a backfill is worked
out here by the same arithmetic, croniter on wall-clock time, that Airflow schedules with. The functions import
croniter, since a build of this package, which writes the schema of workflow files, has only pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from batchy_provider.core.dates import to_utc, zone


def is_cron(expression: str) -> bool:
    """Tell whether a text is a cron expression."""
    from croniter import croniter

    return bool(croniter.is_valid(expression))


def previous_fire(expressions: Iterable[str], timezone_name: str, at: datetime) -> datetime:
    """Return when one of the schedules fired last, strictly before `at`.

    :param expressions: one or more cron expressions.
    :param timezone_name: IANA name of the timezone that they are read in.
    :param at: aware, or naive UTC.
    :returns: naive UTC.
    """
    moment = to_utc(at).replace(tzinfo=timezone.utc)
    return max(_previous(expression, timezone_name, moment) for expression in expressions)


def _previous(expression: str, timezone_name: str, moment: datetime) -> datetime:
    from croniter import croniter

    place = zone(timezone_name)
    wall = moment.astimezone(place).replace(tzinfo=None)
    cron = croniter(expression, wall)
    if cron.expanded[1] == ["*"]:
        # Fires each hour, so also in an hour that the clock repeats: count back in real time.
        return to_utc(moment - (wall - cron.get_prev(datetime)))
    while True:
        previous: datetime = cron.get_prev(datetime)
        # As Airflow reads wall-clock times that occur twice, or never: the later of the two readings.
        fired = max(to_utc(previous.replace(tzinfo=place, fold=fold)) for fold in (0, 1))
        # About a change of clocks, the predecessor by the clock may lie at or behind the moment.
        if fired < to_utc(moment):
            return fired


def next_fire(expressions: Sequence[str], timezone_name: str, at: datetime) -> datetime:
    """Return when one of the schedules fires next, strictly after `at`; the inverse of `previous_fire`.

    :param expressions: one or more cron expressions.
    :param timezone_name: IANA name of the timezone that they are read in.
    :param at: aware, or naive UTC.
    :returns: naive UTC.
    """
    moment = to_utc(at)
    found = min(_next(expression, timezone_name, moment) for expression in expressions)
    # Where the clock changes by half an hour, the clock on the wall leads past a fire.
    while (earlier := previous_fire(expressions, timezone_name, found)) > moment:
        found = earlier
    return found


_LONGEST_CHANGE = timedelta(hours=26)
"""More than any change of clocks: some places have left out a whole day."""


def _next(expression: str, timezone_name: str, moment: datetime) -> datetime:
    from croniter import croniter

    # The clock may have gone back between a fire and the moment, so begin before it, and go on by what fired last.
    place = zone(timezone_name)
    wall = moment.replace(tzinfo=timezone.utc).astimezone(place).replace(tzinfo=None)
    cron = croniter(expression, wall)
    if cron.expanded[1] == ["*"]:
        following: datetime = cron.get_next(datetime)
        return moment + (following - wall)
    cron = croniter(expression, wall - _LONGEST_CHANGE)
    found: list[datetime] = []
    while True:
        following = cron.get_next(datetime)
        fired = max(to_utc(following.replace(tzinfo=place, fold=fold)) for fold in (0, 1))
        if fired > moment:
            found.append(fired)
            # One further by the clock may come earlier.
            if following > wall + _LONGEST_CHANGE:
                return min(found)
