# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the days that cron expressions name, and the times of day on them; on the clock of the wall, without timezones.

The arithmetic is that of croniter, as in `cron_times`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

_EVERY_DAY = "0 0 * * *"
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def names_day(crons: Sequence[str], day: date) -> bool:
    """Tell whether one of the expressions names a day."""
    return any(_names(_day_part(cron), day) for cron in crons)


def days_from(crons: Sequence[str], day: date, step: int) -> Iterator[date]:
    """Yield the days that the expressions name, beginning with `day`, without an end.

    :param step: 1 to go forward, -1 to go back.
    :raises ValueError: if there is none within fifty years, or an expression cannot be read.
    :raises OverflowError: if the calendar ends.
    """
    parts = sorted({_day_part(cron) for cron in crons})
    if _EVERY_DAY in parts:
        while True:
            yield day
            day += step * _DAY
    runs = [_run(part, day, step) for part in parts]
    heads = [next(run) for run in runs]
    while True:
        nearest = min(heads) if step > 0 else max(heads)
        yield nearest
        heads = [next(run) if head == nearest else head for run, head in zip(runs, heads, strict=True)]


def times_of_day(crons: Sequence[str], day: date) -> list[time]:
    """Return the times at which the expressions fire on a day, in order, each once."""
    return sorted({each for cron in crons if _names(_day_part(cron), day) for each in _times(cron)})


def fires_each_hour(crons: Sequence[str]) -> bool:
    """Tell whether an expression fires in each hour, so also in an hour that the clock repeats."""
    return any(expanded(cron)[1] == ["*"] for cron in crons)


@lru_cache(maxsize=10_000)  # to read an expression takes longer than all that is done with it
def expanded(cron: str) -> list[list[Any]]:
    """Return the fields of a cron expression as croniter reads them; callers do not change them.

    :raises ValueError: if it is none; for some texts, KeyError or AttributeError.
    """
    from croniter import croniter

    fields: list[list[Any]] = croniter.expand(cron)[0]
    return fields


@lru_cache(maxsize=1024)
def _day_part(cron: str) -> str:
    """Return the expression that fires once on each day that another one names."""
    _, _, days, months, weekdays = expanded(cron)[:5]
    if days == months == weekdays == ["*"]:
        return _EVERY_DAY
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"{cron!r} is not a cron expression of five fields")
    return " ".join(["0", "0", *fields[2:]])


@lru_cache(maxsize=8192)
def _names(day_part: str, day: date) -> bool:
    return day_part == _EVERY_DAY or next(_run(day_part, day, 1)) == day


def _run(day_part: str, day: date, step: int) -> Iterator[date]:
    from croniter import croniter

    cron = croniter(day_part, datetime.combine(day, time()) - step * _SECOND)
    following = cron.get_next if step > 0 else cron.get_prev
    while True:
        yield following(datetime).date()


@lru_cache(maxsize=1024)
def _times(cron: str) -> tuple[time, ...]:
    minutes, hours = (
        range(count) if field == ["*"] else field for field, count in zip(expanded(cron), (60, 24), strict=False)
    )
    return tuple(time(hour, minute) for hour in hours for minute in minutes)
