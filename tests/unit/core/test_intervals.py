# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Interval arithmetic against sets of hours, which need none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.intervals import Interval, added, contiguous_end, covers, merge, missing, repeated, until

ZERO = datetime(2026, 11, 1)
HOURS = range(41)

moments = st.integers(0, 40).map(lambda hour: ZERO + timedelta(hours=hour))
some = st.tuples(moments, moments).map(lambda pair: Interval(*pair))
many = st.lists(some, max_size=8)


def at(hour: float) -> datetime:
    return ZERO + timedelta(hours=hour)


def hours(found: Iterable[Interval]) -> set[int]:
    """The hours that are in any of some intervals, found without interval arithmetic."""
    kept = list(found)
    return {hour for hour in HOURS if any(each.start <= at(hour) < each.end for each in kept)}


@given(many)
def test_merged_intervals_hold_the_same_points_and_neither_overlap_nor_touch(found: list[Interval]) -> None:
    merged = merge(found)
    assert hours(merged) == hours(found)
    assert all(each.start < each.end for each in merged)
    assert all(one.end < other.start for one, other in pairwise(merged))
    assert merge(merged) == merged


@given(some, many)
def test_missing_parts_are_in_none_of_the_intervals_and_complete_them(whole: Interval, found: list[Interval]) -> None:
    left = missing(whole, found)
    assert hours(left) == hours([whole]) - hours(found)
    assert left == merge(left)
    assert missing(whole, [*found, *left]) == ()


@given(some, many)
def test_an_interval_is_covered_exactly_when_all_its_hours_are_loaded(whole: Interval, found: list[Interval]) -> None:
    assert covers(found, whole) == (hours([whole]) <= hours(found))


@given(many, moments)
def test_until_keeps_what_lies_before_a_moment_and_nothing_else(found: list[Interval], end: datetime) -> None:
    assert hours(until(found, end)) == {hour for hour in hours(found) if at(hour) < end}
    assert until(found, end) == merge(until(found, end))


@given(many, moments)
def test_the_contiguous_end_is_the_first_hour_from_the_start_on_that_is_not_loaded(
    found: list[Interval], start: datetime
) -> None:
    loaded = hours(found)
    expected = next(hour for hour in range(int((start - ZERO) / timedelta(hours=1)), 42) if hour not in loaded)
    assert contiguous_end(found, start) == at(expected)


@given(many)
def test_repeated_parts_name_all_windows_that_hold_them(found: list[Interval]) -> None:
    windows = list(zip(found, range(len(found)), strict=True))
    result = repeated(windows)
    for hour in HOURS:
        holders = tuple(number for each, number in windows if each.start <= at(hour) < each.end)
        named = [ids for each, ids in result if each.start <= at(hour) < each.end]
        assert named == ([holders] if len(holders) > 1 else [])


@given(many, many)
def test_one_more_interval_is_merged_as_all_are(first: list[Interval], more: list[Interval]) -> None:
    found = merge(first)
    for each in more:
        assert added(found, each) == merge([*found, each])
        found = added(found, each)
