# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cut an interval into slices that follow each other without a gap, as `batchy fill` loads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from batchy_provider.core.boundaries import later_by
from batchy_provider.core.intervals import Interval


def slices(whole: Interval, every: timedelta, timezone_name: str) -> Iterator[Interval]:
    """Yield the slices of an interval, oldest first. They touch, and the last one ends where the interval ends.

    Boundaries are counted from the start, whole days by the calendar: where the clocks change, a day has 23 or 25
    hours, and a clock time that is skipped moves one boundary and not those after it.

    :param every: length of a slice, more than zero.
    :param timezone_name: IANA name.
    """
    start, number = whole.start, 0
    while start < whole.end:
        number += 1
        end = min(_boundary(whole.start, every, number, timezone_name), whole.end)
        if end > start:  # not so for a boundary in an hour that the clock skips
            yield Interval(start, end)
            start = end


def _boundary(start: datetime, every: timedelta, number: int, timezone_name: str) -> datetime:
    """Return where a slice ends.

    :param number: 1 for the first slice.
    """
    try:
        return later_by(start, every * number, timezone_name)
    except OverflowError:  # longer than any time between two dates
        return datetime.max
