# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find when a cron schedule last fired before a moment: the start of a backfilled window.

Airflow's cron trigger timetable gives a run no interval (its ends are equal), so the window of a backfill is
worked out here by the same arithmetic, croniter on wall-clock time, that Airflow schedules with.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from croniter import croniter

from batchy_provider.core.dates import to_utc, zone


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
