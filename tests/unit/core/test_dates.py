# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Dates: written in one form, read in any of ISO 8601; days where the workflow lives."""

from __future__ import annotations

import contextlib
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.dates import (
    day_bounds,
    day_of,
    format_date,
    from_unix,
    midnight,
    parse_date,
    read_date,
    to_utc,
    unix_seconds,
    zone,
)
from batchy_provider.exceptions import WindowError

ZONES = [
    "UTC",
    "Europe/Paris",
    "America/Sao_Paulo",  # skipped midnights until 2018
    "America/Havana",  # repeats midnight
    "America/St_Johns",  # changed clocks a minute past midnight until 2011
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",
    "Pacific/Apia",  # has no 2011-12-30
    "Africa/Casablanca",
]
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1))


@given(st.datetimes())
def test_what_is_written_is_read_again_and_always_has_six_digits(moment: datetime) -> None:
    text = format_date(moment)
    assert len(text) == 26
    assert parse_date(text) == moment


@given(MOMENTS, st.sampled_from(ZONES))
def test_aware_moments_are_written_in_utc(moment: datetime, name: str) -> None:
    aware = moment.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(name))
    assert format_date(aware) == format_date(moment)
    assert type(to_utc(pendulum.instance(aware))) is datetime


def test_the_two_readings_of_an_hour_that_the_clock_repeats_are_two_dates() -> None:
    doubtful = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
    assert format_date(doubtful) == "2026-10-25T00:30:00.000000"
    assert format_date(doubtful.replace(fold=1)) == "2026-10-25T01:30:00.000000"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T18:30:00",
        "2026-11-22 18:30:00",
        "2026-11-22T18:30",
        "20261122T183000",
        "2026-11-22T18:30:00Z",
        "2026-11-22T18:30:00.000000",
        "2026-11-22T18:30:00+00:00",
        "2026-11-22T19:30:00+01:00",
        "2026-11-22T13:00:00-05:30",
        "2026-W47-7T18:30:00",
        "2026-326T18:30:00",
    ],
)
def test_any_iso_8601_is_read(text: str) -> None:
    assert parse_date(text) == datetime(2026, 11, 22, 18, 30)


@pytest.mark.parametrize("text", ["2026-11-22", "20261122", "2026-W47-7", "2026-326"])
def test_a_day_is_its_first_moment(text: str) -> None:
    assert parse_date(text) == datetime(2026, 11, 22)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "yesterday",
        "22.11.2026",
        "18:30",
        "P1D",
        "2026-11-22/2026-11-23",
        "2026-13-01",
        "2026-02-30",
        "1795372788",
        "2026-11-22T18:30:00+25:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-11-22",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(WindowError, match="is not a date"):
        parse_date(text)


@given(st.text(max_size=30))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(WindowError):
        assert isinstance(parse_date(text), datetime)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (" 2026-11-22 ", datetime(2026, 11, 22)),
        (date(2026, 11, 22), datetime(2026, 11, 22)),
        (datetime(2026, 11, 22, 5), datetime(2026, 11, 22, 5)),
        (datetime(2026, 11, 22, 5, tzinfo=timezone(timedelta(hours=5))), datetime(2026, 11, 22)),
        (pendulum.datetime(2026, 11, 22, 5, tz="Asia/Karachi"), datetime(2026, 11, 22)),
    ],
)
def test_what_people_and_yaml_give_is_read(given_: Any, expected: datetime) -> None:
    assert read_date(given_) == expected


@pytest.mark.parametrize(
    "given_", [None, 5, 1.5, [], {}, b"2026-11-22", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))]
)
def test_what_else_they_give_is_refused(given_: Any) -> None:
    with pytest.raises(WindowError, match="is not a date"):
        read_date(given_)


@given(MOMENTS, st.sampled_from(ZONES))
def test_midnight_is_the_first_moment_of_the_day(moment: datetime, name: str) -> None:
    first = midnight(moment, name)
    assert first <= moment
    assert day_of(first, name) == day_of(moment, name)
    assert day_of(first - timedelta(microseconds=1), name) < day_of(moment, name)
    assert midnight(first, name) == first


@given(MOMENTS, st.sampled_from(ZONES))
def test_a_day_holds_the_moments_that_fall_on_it(moment: datetime, name: str) -> None:
    first, next_first = day_bounds(day_of(moment, name), name)
    assert first <= moment < next_first
    assert first == midnight(moment, name)


@pytest.mark.parametrize(
    ("day", "name", "hours"),
    [
        ("2026-03-29", "Europe/Paris", 23),
        ("2026-10-25", "Europe/Paris", 25),
        ("2026-06-01", "Europe/Paris", 24),
        ("2018-11-04", "America/Sao_Paulo", 23),
        ("2026-11-01", "America/Havana", 25),
        ("2026-04-05", "Australia/Lord_Howe", 24.5),
    ],
)
def test_days_have_as_many_hours_as_the_clock_gives_them(day: str, name: str, hours: float) -> None:
    first, next_first = day_bounds(day, name)
    assert next_first - first == timedelta(hours=hours)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "Europe", "x" * 300, "a\x00b"])
def test_a_timezone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(WindowError, match="is not a timezone; use a name of the IANA list"):
        zone(name)


@given(st.integers(0, 2**32), st.integers(0, 999_999))
def test_the_servers_time_is_read_to_the_microsecond(seconds: int, micros: int) -> None:
    moment = from_unix(seconds, micros)
    assert moment.microsecond == micros
    assert int(unix_seconds(moment)) == seconds
