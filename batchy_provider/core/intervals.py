# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Arithmetic on intervals of time: merge, add, take away, and say what is missing.

An interval goes from its start (inclusive) to its end (exclusive), so two that touch leave nothing between them. All
functions return intervals in normal form: in order, disjoint, none that touches the next, none that is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple


class Interval(NamedTuple):
    """A span of time, naive UTC.

    :param start: the first moment in it.
    :param end: the first moment after it.
    """

    start: datetime
    end: datetime


Intervals = tuple[Interval, ...]
"""Intervals in normal form."""


def merge(intervals: Iterable[Interval]) -> Intervals:
    """Return the normal form of any intervals."""
    merged: list[Interval] = []
    for each in sorted(intervals):
        if each.start >= each.end:
            continue
        if merged and each.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, each.end))
        else:
            merged.append(each)
    return tuple(merged)


def added(intervals: Intervals, window: Interval) -> Intervals:
    """Return intervals in normal form with one more; the same object if that changes nothing.

    This is `merge` for what a batch nearly always does: it goes on at the end of the last interval.
    """
    if intervals:
        last = intervals[-1]
        if last.start <= window.start <= last.end and window.start < window.end:
            return intervals if window.end <= last.end else (*intervals[:-1], Interval(last.start, window.end))
    return merge((*intervals, window))


def missing(whole: Interval, loaded: Iterable[Interval]) -> Intervals:
    """Return the parts of `whole` that are in none of `loaded`."""
    left: list[Interval] = []
    at = whole.start
    for each in merge(loaded):
        if each.start >= whole.end:
            break
        if each.start > at:
            left.append(Interval(at, each.start))
        at = max(at, each.end)
    if at < whole.end:
        left.append(Interval(at, whole.end))
    return tuple(left)


def until(intervals: Iterable[Interval], end: datetime) -> Intervals:
    """Return the parts of intervals that lie before `end`."""
    return merge(Interval(each.start, min(each.end, end)) for each in intervals)


def covers(loaded: Iterable[Interval], whole: Interval) -> bool:
    """Tell whether all of `whole` is in `loaded`; an empty `whole` always is."""
    return not missing(whole, loaded)


def contiguous_end(loaded: Iterable[Interval], start: datetime) -> datetime:
    """Return up to where `loaded` goes on from `start` without a gap; `start` itself if nothing there is loaded."""
    for each in merge(loaded):
        if each.start <= start < each.end:
            return each.end
    return start


def repeated(windows: Sequence[tuple[Interval, int]]) -> list[tuple[Interval, tuple[int, ...]]]:
    """Return what is in more than one window, in order, each time with the ids of all windows that hold it.

    :param windows: interval and id; one id may stand for several intervals.
    """
    edges = sorted({moment for window, _ in windows for moment in window})
    begins: dict[datetime, list[tuple[Interval, int]]] = {}
    for window in windows:
        if window[0].start < window[0].end:
            begins.setdefault(window[0].start, []).append(window)
    found: list[tuple[Interval, tuple[int, ...]]] = []
    active: list[tuple[Interval, int]] = []
    for start, end in pairwise(edges):
        active = [each for each in active if each[0].end > start] + begins.get(start, [])
        ids = tuple(sorted({number for _, number in active}))
        if len(ids) < 2:
            continue
        if found and found[-1][0].end == start and found[-1][1] == ids:
            found[-1] = (Interval(found[-1][0].start, end), ids)
        else:
            found.append((Interval(start, end), ids))
    return found
