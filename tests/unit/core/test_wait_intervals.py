# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which interval a wait in a backfill needs: the cases of a hand-written calendar, and laws over random schedules."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.dates import day_bounds
from batchy_provider.core.intervals import Interval
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.wait_intervals import day_interval, due_interval, shortfalls


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def span(start: str, end: str) -> Interval:
    return Interval(utc(start), utc(end))


HOURLY = Schedule(crons=("0 * * * *",))
NIGHTLY = Schedule(crons=("0 2 * * *",))
MONDAYS = Schedule(crons=("0 6 * * 1",))


@pytest.mark.parametrize(
    ("schedule", "day", "due", "expected"),
    [
        (NIGHTLY, "2026-11-12", "2026-11-12T04:00", ("2026-11-11T02:00", "2026-11-12T02:00")),
        # The fire at 02:00 is not due yet when a run of 01:00 waits: the night before counts.
        (NIGHTLY, "2026-11-12", "2026-11-12T01:00", ("2026-11-10T02:00", "2026-11-11T02:00")),
        # A fire at the very moment is due.
        (NIGHTLY, "2026-11-12", "2026-11-12T02:00", ("2026-11-11T02:00", "2026-11-12T02:00")),
        # All hours of the day up to the run, with the hour that ended at midnight.
        (HOURLY, "2026-11-12", "2026-11-12T04:30", ("2026-11-11T23:00", "2026-11-12T04:00")),
        (HOURLY, "2026-11-12", None, ("2026-11-11T23:00", "2026-11-12T23:00")),
        # 2026-11-12 is a Thursday: the last Monday counts.
        (MONDAYS, "2026-11-12", "2026-11-12T04:00", ("2026-11-02T06:00", "2026-11-09T06:00")),
        (MONDAYS, "2026-11-09", "2026-11-09T07:00", ("2026-11-02T06:00", "2026-11-09T06:00")),
    ],
)
def test_with_a_schedule_the_interval_runs_from_fire_to_fire(
    schedule: Schedule, day: str, due: str | None, expected: tuple[str, str]
) -> None:
    assert day_interval(schedule, day, "UTC", None if due is None else utc(due)) == span(*expected)


def test_the_schedule_has_its_own_timezone_and_the_day_has_that_of_the_run_that_waits() -> None:
    paris = Schedule(crons=("0 2 * * *",), timezone="Europe/Paris")
    assert day_interval(paris, "2026-07-12", "America/New_York", utc("2026-07-12T10:00")) == span(
        "2026-07-11T00:00", "2026-07-12T00:00"
    )


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ([], ("2026-11-12", "2026-11-13")),
        ([("2026-11-01", "2026-11-12T02:00")], ("2026-11-12", "2026-11-12T02:00")),
        ([("2026-11-06", "2026-11-09"), ("2026-11-12", "2026-11-12T01:00")], ("2026-11-12", "2026-11-12T01:00")),
        ([("2026-11-01", "2026-11-20")], ("2026-11-12", "2026-11-13")),
    ],
)
def test_without_a_schedule_the_day_is_wanted_up_to_the_end_of_the_last_window_on_it(
    loaded: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    intervals = [span(*each) for each in loaded]
    assert day_interval(Schedule(), "2026-11-12", "UTC", None, intervals) == span(*expected)


CRONS = st.sampled_from(["0 2 * * *", "*/20 * * * *", "30 1 * * 1-5", "0 6 1 * *", "15 2,14 * * *", "30 2 * * 0"])
ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
DAYS = st.dates(date(2026, 3, 1), date(2026, 11, 30))


@given(st.lists(CRONS, min_size=1, max_size=2), ZONES, ZONES, DAYS, st.integers(0, 1439))
def test_a_run_never_waits_for_data_that_was_not_due_when_it_was_due(
    crons: list[str], zone: str, own_zone: str, day: date, minutes: int
) -> None:
    schedule = Schedule(crons=crons, timezone=zone)
    start, end = day_bounds(day.isoformat(), own_zone)
    due = min(start + timedelta(minutes=minutes), end)
    wanted = day_interval(schedule, day.isoformat(), own_zone, due)
    assert wanted.start < wanted.end <= due
    # It contains what scope "due" wants, and begins before the day only by one fire.
    assert wanted.end == due_interval(schedule, due).end
    assert wanted.start <= due_interval(schedule, due).start
    assert wanted.start >= schedule.fire_before(min(start, wanted.end))


def test_a_shortfall_says_how_much_is_loaded_and_what_is_missing() -> None:
    wanted = {"extract": span("2026-11-12", "2026-11-13"), "load": span("2026-11-12", "2026-11-13")}
    ledger = {
        "extract": (span("2026-11-12", "2026-11-12T06:00"),),
        "load": (span("2026-11-01", "2026-11-14"),),
    }
    (found,) = shortfalls(ledger, wanted)
    assert (found.job, found.share) == ("extract", 0.25)
    assert str(found) == (
        "job extract has loaded 25% of it and lacks 2026-11-12T06:00:00.000000 to 2026-11-13T00:00:00.000000"
    )
    assert shortfalls({}, wanted)[0].share == 0
