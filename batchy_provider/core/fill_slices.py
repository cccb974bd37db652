# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cut an interval into slices that follow each other without a gap, as `batchy fill` loads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from batchy_provider.core.dates import to_utc, zone
from batchy_provider.core.intervals import Interval

_DAY = timedelta(days=1)


def slices(whole: Interval, every: timedelta, timezone_name: str) -> Iterator[Interval]:
    """Yield the slices of an interval, oldest first. They touch, and the last one ends where the interval ends.

    Whole days are days of the clock in the timezone: where the clocks change, a slice has 23 or 25 hours. All other
    lengths are real time.

    :param every: length of a slice, more than zero.
    :param timezone_name: IANA name.
    """
    start, number = whole.start, 0
    while start < whole.end:
        number += 1
        end = min(_boundary(whole.start, every, number, timezone_name), whole.end)
        if end > start:  # a boundary in an hour that clocks skip may equal the one before
            yield Interval(start, end)
            start = end


def _boundary(start: datetime, every: timedelta, number: int, timezone_name: str) -> datetime:
    """Return where a slice ends.

    :param number: 1 for the first slice.
    """
    try:
        if every % _DAY:
            return start + every * number
        place = zone(timezone_name)
        local = start.replace(tzinfo=timezone.utc).astimezone(place)
        # All boundaries are counted from the start: a clock change moves one of them, and not those after it.
        return to_utc((local.replace(tzinfo=None) + every * number).replace(tzinfo=place, fold=local.fold))
    except OverflowError:  # beyond the last date of the calendar
        return datetime.max
