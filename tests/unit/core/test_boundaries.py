# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Boundaries of windows: hours, days, weeks, months and crons, also where clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.boundaries import UNITS, boundary_after, boundary_at, later_by
from batchy_provider.core.cron_times import next_fire, previous_fire

TICK = timedelta(microseconds=1)
ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"]
CHANGES = [
    datetime(2026, 3, 8, 7),
    datetime(2026, 3, 29, 1),
    datetime(2026, 4, 4, 15),
    datetime(2026, 10, 3, 15, 30),
    datetime(2026, 10, 25, 1),
    datetime(2026, 11, 1, 5),
]
"""Moments about which clocks change in `ZONES`."""

moments = st.one_of(
    st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)),
    st.builds(lambda at, off: at + off, st.sampled_from(CHANGES), st.timedeltas(timedelta(days=-2), timedelta(days=2))),
)


def wall(moment: datetime, zone: str) -> datetime:
    return moment.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("align", "moment", "before", "after"),
    [
        ("hour", "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),  # the hour that Paris repeats, first
        ("hour", "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),  # and once more
        ("day", "2026-10-25T10:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("day", "2026-03-29T10:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("week", "2026-11-29T12:00", "2026-11-22T23:00", "2026-11-29T23:00"),  # a Sunday
        ("month", "2026-02-28T12:00", "2026-01-31T23:00", "2026-02-28T23:00"),
        ("month", "2028-02-29T12:00", "2028-01-31T23:00", "2028-02-29T23:00"),
        ("month", "2026-12-31T12:00", "2026-11-30T23:00", "2026-12-31T23:00"),
        ("0 6 * * *", "2026-03-29T03:00", "2026-03-28T05:00", "2026-03-29T04:00"),
        ("30 2 * * *", "2026-10-25T00:40", "2026-10-24T00:30", "2026-10-25T01:30"),  # the later 02:30
        ("0 0 1 */3 *", "2026-11-29T00:00", "2026-09-30T22:00", "2026-12-31T23:00"),
    ],
)
def test_boundaries_are_those_of_the_clock_on_the_wall(align: str, moment: str, before: str, after: str) -> None:
    at = datetime.fromisoformat(moment)
    assert f"{boundary_at(align, 'Europe/Paris', at):%Y-%m-%dT%H:%M}" == before
    assert f"{boundary_after(align, 'Europe/Paris', at):%Y-%m-%dT%H:%M}" == after


@given(align=st.sampled_from(UNITS), zone=st.sampled_from(ZONES), moment=moments)
def test_a_moment_lies_between_two_boundaries_that_follow_each_other(align: str, zone: str, moment: datetime) -> None:
    before, after = boundary_at(align, zone, moment), boundary_after(align, zone, moment)
    assert before <= moment < after
    assert boundary_at(align, zone, before) == before
    assert boundary_at(align, zone, after) == after
    assert boundary_at(align, zone, after - TICK) == before
    assert boundary_after(align, zone, before) == after
    assert wall(after, zone).minute in (0, 30)
    if align == "week":
        assert wall(after, zone).weekday() == 0
    if align == "month":
        assert wall(after, zone).day == 1


@given(
    cron=st.sampled_from(
        ["30 2 * * *", "*/20 * * * *", "0 0 * * 1", "15 1,2 * * *", "45 * * * *", "0 0 1 * *", "0 0 L * *"]
    ),
    zone=st.sampled_from([*ZONES, "Antarctica/Troll", "America/Santiago", "Pacific/Chatham"]),
    moment=moments,
)
def test_the_next_fire_is_the_one_after_the_last(cron: str, zone: str, moment: datetime) -> None:
    found = next_fire([cron], zone, moment)
    assert found > moment
    assert previous_fire([cron], zone, found + TICK) == found
    assert previous_fire([cron], zone, found) <= moment


def test_the_next_fire_of_several_crons_is_the_earliest() -> None:
    at = datetime(2026, 11, 29, 12)
    assert next_fire(["0 2 * * *", "0 14 * * *"], "UTC", at) == datetime(2026, 11, 29, 14)


@given(zone=st.sampled_from(ZONES), moment=moments, days=st.integers(0, 40), rest=st.integers(0, 86_399))
def test_days_later_is_the_same_time_of_day(zone: str, moment: datetime, days: int, rest: int) -> None:
    found = later_by(moment, timedelta(days=days), zone)
    assert found >= moment
    assert abs(found - moment - timedelta(days=days)) <= timedelta(hours=2)
    assert abs(wall(found, zone) - wall(moment, zone) - timedelta(days=days)) <= timedelta(hours=1)
    seconds = timedelta(seconds=rest)
    assert later_by(moment, timedelta(days=days) + seconds, zone) == found + seconds


def test_a_day_over_a_change_of_clocks_is_a_day_of_the_calendar() -> None:
    start = datetime(2026, 3, 28, 23)  # midnight in Paris
    assert later_by(start, timedelta(days=1), "Europe/Paris") == datetime(2026, 3, 29, 22)
    assert later_by(start, timedelta(hours=23), "Europe/Paris") == datetime(2026, 3, 29, 22)


def test_the_ends_of_the_calendar_are_the_last_boundaries() -> None:
    assert boundary_at("month", "Europe/Paris", datetime.min) == datetime.min
    assert boundary_after("month", "UTC", datetime(9999, 12, 31)) == datetime.max
    assert later_by(datetime(9999, 12, 31), timedelta(days=2), "UTC") == datetime.max
