# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide which interval of data a wait needs from another workflow, and say which part of it is loaded.

With a known schedule the interval runs from fire to fire, as windows do. Without one, the day stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchy_provider.core.dates import day_bounds, format_date
from batchy_provider.core.intervals import Interval, Intervals, missing
from batchy_provider.core.ledger import Ledger
from batchy_provider.core.schedules import Schedule

_TICK = timedelta(microseconds=1)


def due_interval(schedule: Schedule, due: datetime) -> Interval:
    """Return the interval that ends with the last fire of a workflow at `due` or before it.

    :param schedule: with at least one cron expression.
    :param due: when the run that waits was due; naive UTC.
    """
    last = schedule.last_fire(due)
    return Interval(schedule.fire_before(last), last)


def day_interval(
    schedule: Schedule, day: str, timezone: str, due: datetime | None, loaded: Iterable[Interval] = ()
) -> Interval:
    """Return the interval of a day's data, up to what was due when the run that waits was due.

    With a schedule: from the fire before the first fire of the day to the last fire not after `due`; where no fire
    of the day was due, the interval of the last fire before it. Without one: from midnight to the end of what is
    loaded on that day, or to the next midnight.

    :param day: ISO day of the run that waits.
    :param timezone: IANA name of the timezone that `day` is read in.
    :param due: naive UTC; None for the end of the day.
    :param loaded: what one job has loaded.
    """
    start, end = day_bounds(day, timezone)
    if schedule.known:
        last = schedule.last_fire(end - _TICK if due is None else due)
        return Interval(schedule.fire_before(start if last >= start else last), last)
    return recent_interval(Interval(start, end), loaded)


def recent_interval(span: Interval, loaded: Iterable[Interval]) -> Interval:
    """Return the interval that stands for a span of time where no schedule is known.

    :param span: for example the day of the run that waits.
    :param loaded: what one job has loaded.
    :returns: from the start of the span to the end of what is loaded in it, or to its own end if nothing ends in it.
    """
    ends = [each.end for each in loaded if span.start < each.end <= span.end]
    return Interval(span.start, max(ends, default=span.end))


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a job still has to load before a wait ends.

    :param wanted: the interval that is waited for.
    :param missing: the parts of it that are not loaded; none if the job has not to load anything more.
    """

    job: str
    wanted: Interval
    missing: Intervals

    @property
    def missing_time(self) -> timedelta:
        """How long the missing parts are together."""
        return sum((each.end - each.start for each in self.missing), timedelta())

    @property
    def share(self) -> float:
        """How much of the interval is loaded, from 0 to 1."""
        whole = self.wanted.end - self.wanted.start
        return 1 - self.missing_time / whole if whole else 1.0

    @property
    def loaded_until(self) -> datetime:
        """Up to where the interval is loaded without a gap; its start if nothing there is loaded."""
        return self.missing[0].start if self.missing else self.wanted.end

    def __str__(self) -> str:
        gaps = ", ".join(f"{format_date(each.start)} to {format_date(each.end)}" for each in self.missing[:3])
        more = f" and {len(self.missing) - 3} more gaps" if len(self.missing) > 3 else ""
        return f"job {self.job} has loaded {self.share:.0%} of it and lacks {gaps}{more}"


def comparisons(ledger: Ledger, wanted: dict[str, Interval]) -> list[Shortfall]:
    """Return for each job what it lacks of its interval, also where that is nothing.

    :param wanted: job → the interval that it must have loaded.
    """
    return [Shortfall(job, interval, missing(interval, ledger.get(job, ()))) for job, interval in wanted.items()]


def shortfalls(ledger: Ledger, wanted: dict[str, Interval]) -> list[Shortfall]:
    """Return the jobs that have not loaded their interval, with what they lack.

    :param wanted: job → the interval that it must have loaded.
    """
    return [each for each in comparisons(ledger, wanted) if each.missing]
