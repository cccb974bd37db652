# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Slices of an interval: they cover it, touch each other, and follow the clock of the workflow's timezone."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.fill_slices import slices
from batchy_provider.core.intervals import Interval

DAY = timedelta(days=1)
NOVEMBER = datetime(2026, 11, 1)


def cut(start: str, end: str, every: timedelta = DAY, zone: str = "UTC") -> list[tuple[str, str]]:
    whole = Interval(datetime.fromisoformat(start), datetime.fromisoformat(end))
    return [(f"{each.start:%d %H:%M}", f"{each.end:%d %H:%M}") for each in slices(whole, every, zone)]


def test_the_last_slice_is_short() -> None:
    assert cut("2026-11-01T02:00", "2026-11-03T12:00") == [
        ("01 02:00", "02 02:00"),
        ("02 02:00", "03 02:00"),
        ("03 02:00", "03 12:00"),
    ]


def test_a_range_shorter_than_a_slice_is_one_slice_and_an_empty_one_is_none() -> None:
    assert cut("2026-11-01", "2026-11-01T05:00") == [("01 00:00", "01 05:00")]
    assert cut("2026-11-01", "2026-11-01") == []


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [("2026-10-23T22:00", "2026-10-26T23:00", [24, 25, 24]), ("2026-03-27T23:00", "2026-03-30T22:00", [24, 23, 24])],
    ids=["25 hours in autumn", "23 hours in spring"],
)
def test_days_are_those_of_the_workflow_s_timezone(start: str, end: str, hours: list[int]) -> None:
    whole = Interval(datetime.fromisoformat(start), datetime.fromisoformat(end))
    found = [each.end - each.start for each in slices(whole, DAY, "Europe/Paris")]
    assert found == [timedelta(hours=number) for number in hours]


def test_a_clock_time_that_is_skipped_moves_one_boundary_and_no_other() -> None:
    # 01:30 UTC is 02:30 in Paris. On 29 March 2026 there is no 02:30; from then on 02:30 is 00:30 UTC.
    assert cut("2026-03-27T01:30", "2026-03-31T00:30", zone="Europe/Paris") == [
        ("27 01:30", "28 01:30"),
        ("28 01:30", "29 01:30"),
        ("29 01:30", "30 00:30"),
        ("30 00:30", "31 00:30"),
    ]


def test_slices_of_hours_and_of_weeks() -> None:
    assert len(cut("2026-10-24T22:00", "2026-10-25T23:00", timedelta(hours=5), "Europe/Paris")) == 5
    assert cut("2026-11-01", "2026-11-15", timedelta(weeks=1)) == [("01 00:00", "08 00:00"), ("08 00:00", "15 00:00")]


def test_the_ends_of_the_calendar_are_no_error() -> None:
    assert cut("9999-12-30", "9999-12-31T12:00") == [("30 00:00", "31 00:00"), ("31 00:00", "31 12:00")]
    assert len(list(slices(Interval(datetime(9999, 1, 1), datetime.max), timedelta(days=36_525), "UTC"))) == 1
    assert cut("0001-01-01", "0001-01-02", timedelta(days=1), "America/New_York")


@given(
    st.integers(0, 24 * 400),
    st.integers(0, 24 * 20),
    st.sampled_from([0.5, 1, 5, 7, 24, 36, 100]),
    st.sampled_from(["UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_slices_touch_and_cover_the_whole(start: int, length: int, hours: float, zone: str) -> None:
    begin = NOVEMBER + timedelta(hours=start)
    whole = Interval(begin, begin + timedelta(hours=length))
    found = list(slices(whole, timedelta(hours=hours), zone))
    assert all(each.start < each.end for each in found)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert ([] if not length else [whole.start, whole.end]) == ([found[0].start, found[-1].end] if found else [])
