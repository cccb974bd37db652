# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where each job's next window starts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_worlds import FIRST, World, window

from batchy_provider.core.dates import format_date
from batchy_provider.core.job_state import JobState
from batchy_provider.core.snapshot import StoredConfig
from batchy_provider.core.windows import position
from batchy_provider.exceptions import ConfigError, StateError, WindowError

SUCCESS = {"status": "success", "from_date": "2026-01-01T02:00:00", "batch_start": "2026-01-02T02:00:00.500000"}


def start(timezone: str = "UTC", **job: Any) -> str:
    return format_date(position("sales", "extract", JobState(job), StoredConfig(timezone=timezone)).start)


def test_after_a_success_the_next_window_starts_where_the_last_one_ended() -> None:
    assert start(**SUCCESS) == "2026-01-02T02:00:00.500000"


@pytest.mark.parametrize(
    ("reprocess_hours", "expected"),
    [
        (0, "2026-01-02T02:00:00.500000"),
        (None, "2026-01-02T02:00:00.500000"),
        (2, "2026-01-02T00:00:00.500000"),
        (2.5, "2026-01-01T23:30:00.500000"),
        (0.25, "2026-01-02T01:45:00.500000"),
        (0.0001, "2026-01-02T02:00:00.140000"),
        ("2", "2026-01-02T00:00:00.500000"),
        ("2.5", "2026-01-01T23:30:00.500000"),
        (" 48 ", "2025-12-31T02:00:00.500000"),
    ],
)
def test_after_a_success_the_overlap_is_taken_off(reprocess_hours: Any, expected: str) -> None:
    assert start(**SUCCESS, reprocess_hours=reprocess_hours) == expected


@pytest.mark.parametrize("status", ["new", "failed", "failure", "open", None])
def test_whatever_was_no_success_keeps_its_window(status: str | None) -> None:
    job = SUCCESS | {"status": status, "reprocess_hours": 5}
    assert start(**job) == "2026-01-01T02:00:00.000000", "the overlap is not taken off a second time"


@pytest.mark.parametrize("status", ["new", "failed", "failure", "open", None, "success"])
def test_a_job_that_was_never_loaded_starts_at_the_beginning(status: str | None) -> None:
    assert start(status=status) == FIRST
    assert start(status=status, from_date=None, batch_start=None) == FIRST


def test_initial_date_is_where_the_first_window_starts() -> None:
    assert start(status="new", initial_date="2026-01-01") == "2026-01-01T00:00:00.000000"
    assert start(status="new", initial_date="2026-01-01T01:00:00+01:00") == "2026-01-01T00:00:00.000000"


def test_initial_date_does_not_move_a_window_that_is_known() -> None:
    assert start(status="failed", from_date="2025-12-01T00:00:00", initial_date="2026-01-01") == (
        "2025-12-01T00:00:00.000000"
    )


def test_an_overlap_never_reaches_before_initial_date() -> None:
    assert start(**SUCCESS, reprocess_hours=48, initial_date="2026-01-01T12:00:00") == "2026-01-01T12:00:00.000000"


def test_an_overlap_as_long_as_one_likes_ends_at_initial_date() -> None:
    forever = 10**8  # "everything again, every night"
    assert start(**SUCCESS, reprocess_hours=forever, initial_date="2026-01-01") == "2026-01-01T00:00:00.000000"


def test_an_initial_date_set_behind_the_watermark_skips_nothing() -> None:
    assert start(**SUCCESS, initial_date="2026-02-01") == "2026-01-02T02:00:00.500000"


@pytest.mark.parametrize("trunc_start", [True, "true", "True", "yes", "on", 1, "1"])
def test_trunc_start_cuts_to_midnight_also_when_written_as_text(trunc_start: Any) -> None:
    assert start(**SUCCESS, trunc_start=trunc_start) == "2026-01-02T00:00:00.000000"


@pytest.mark.parametrize("trunc_start", [False, "false", "no", 0, "0", None, ""])
def test_trunc_start_that_is_off_cuts_nothing(trunc_start: Any) -> None:
    assert start(**SUCCESS, trunc_start=trunc_start) == "2026-01-02T02:00:00.500000"


def test_the_overlap_is_taken_off_before_the_cut() -> None:
    assert start(**SUCCESS, trunc_start=True, reprocess_hours=3) == "2026-01-01T00:00:00.000000"


def test_a_window_that_was_cut_stays_the_same_when_it_is_cut_again() -> None:
    assert start(status="failed", from_date="2026-01-02T00:00:00", trunc_start=True) == "2026-01-02T00:00:00.000000"


@pytest.mark.parametrize(
    ("timezone", "watermark", "expected"),
    [
        ("Europe/Paris", "2026-01-15T02:00:00", "2026-01-14T23:00:00"),
        ("Europe/Paris", "2026-07-15T02:00:00", "2026-07-14T22:00:00"),
        # The day that clocks are set forward has 23 hours, the one that they are set back 25.
        ("Europe/Paris", "2026-03-29T12:00:00", "2026-03-28T23:00:00"),
        ("Europe/Paris", "2026-03-29T22:30:00", "2026-03-29T22:00:00"),
        ("Europe/Paris", "2026-10-25T22:59:00", "2026-10-24T22:00:00"),
        ("Europe/Paris", "2026-10-25T23:00:00", "2026-10-25T23:00:00"),
        # Clocks that skip midnight: the day begins at one o'clock.
        ("America/Sao_Paulo", "2018-11-04T12:00:00", "2018-11-04T03:00:00"),
        # Clocks that have two midnights: the day begins at the first.
        ("America/Havana", "2026-11-01T12:00:00", "2026-11-01T04:00:00"),
        ("America/Havana", "2026-11-01T04:30:00", "2026-11-01T04:00:00"),
        ("Asia/Kolkata", "2026-01-15T18:29:59", "2026-01-14T18:30:00"),
        ("Pacific/Apia", "2026-01-15T09:59:00", "2026-01-14T11:00:00"),
    ],
)
def test_trunc_start_cuts_to_midnight_where_the_workflow_lives(timezone: str, watermark: str, expected: str) -> None:
    job = SUCCESS | {"batch_start": watermark, "trunc_start": True}
    assert start(timezone, **job) == expected + ".000000"


def test_what_the_original_wrote_as_end_is_read_over_what_it_left_standing() -> None:
    job = SUCCESS | {"to_date": "2025-12-31T00:00:00.000000"}
    assert start(**job) == "2026-01-02T02:00:00.500000", "the original knows no to_date; batch_start is right"


def test_a_batch_start_with_no_microseconds_is_read_as_any_date() -> None:
    assert start(status="success", batch_start="2026-01-02T02:00:00") == "2026-01-02T02:00:00.000000"
    assert start(status="success", batch_start="2026-01-02T03:00:00+01:00") == "2026-01-02T02:00:00.000000"


@pytest.mark.parametrize("field", ["from_date", "batch_start"])
@pytest.mark.parametrize("value", ["yesterday", 17, ["2026-01-01"], {}, True, ""])
def test_a_date_that_cannot_be_read_is_an_error_that_says_where_and_what_to_do(field: str, value: Any) -> None:
    with pytest.raises(StateError, match=rf"{field} of job 'extract' of workflow 'sales'.*set-window"):
        start(**SUCCESS | {field: value})


@pytest.mark.parametrize("status", ["succes", "", 1, True, [], {}])
def test_an_unknown_status_is_an_error(status: Any) -> None:
    with pytest.raises(StateError, match="expected new, open, success, failed or failure"):
        start(**SUCCESS | {"status": status})


def test_an_overlap_that_reaches_before_the_calendar_is_an_error() -> None:
    with pytest.raises(WindowError, match="reaches back before the year 1"):
        start(**SUCCESS, reprocess_hours=10**8)


@pytest.mark.parametrize("hours", [-1, "two", True, float("nan"), float("inf"), "inf", [], {}, 10**400])
def test_an_overlap_that_is_no_number_of_hours_is_an_error(hours: Any) -> None:
    with pytest.raises(ConfigError, match="reprocess_hours"):
        start(**SUCCESS, reprocess_hours=hours)


@given(
    watermark=st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)),
    hours=st.one_of(st.none(), st.integers(0, 1000), st.floats(0, 1000)),
    trunc=st.booleans(),
    initial=st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)),
    timezone=st.sampled_from(["UTC", "Europe/Paris", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe"]),
)
def test_no_window_ever_starts_behind_the_watermark(
    watermark: datetime, hours: Any, trunc: bool, initial: datetime | None, timezone: str
) -> None:
    job: dict[str, Any] = {
        "status": "success",
        "batch_start": format_date(watermark),
        "reprocess_hours": hours,
        "trunc_start": trunc,
        "initial_date": None if initial is None else format_date(initial),
    }
    found = position("sales", "extract", JobState(job), StoredConfig(timezone=timezone))
    assert found.start <= found.watermark == watermark
    if not trunc:
        assert watermark - found.start <= timedelta(hours=hours or 0)


# -- the same, from one opening to the next ---------------------------------------------------------------------


def test_a_window_ends_when_the_batch_is_opened(world: World) -> None:
    world.at("2026-01-01T02:00")
    batch = world.open()
    job = batch.jobs["extract"]
    assert window(batch) == ("1776-07-04T23:59", "2026-01-01T02:00")
    assert job["to_date"] == job["batch_start"] == "2026-01-01T02:00:00.000000", "six digits, or the original stops"
    assert job["status"] == "open"
    assert job["batch_end"] is None


def test_night_after_night_the_windows_touch(world: World) -> None:
    windows = [window(world.night(f"2026-01-0{day}T02:00")) for day in (1, 2, 3)]
    assert windows[1:] == [
        ("2026-01-01T02:00", "2026-01-02T02:00"),
        ("2026-01-02T02:00", "2026-01-03T02:00"),
    ]


def test_after_failures_the_same_window_is_taken_up_to_now(world: World) -> None:
    world.jobs = {"extract": {"reprocess_hours": 2}}
    world.night("2026-01-01T02:00")
    world.night("2026-01-02T02:00", result="failed")
    world.night("2026-01-03T02:00", result="failed")
    assert window(world.night("2026-01-04T02:00")) == ("2026-01-01T00:00", "2026-01-04T02:00")
    assert window(world.night("2026-01-05T02:00")) == ("2026-01-04T00:00", "2026-01-05T02:00")


def test_jobs_that_stand_at_different_places_each_go_on_from_their_own(world: World) -> None:
    world.jobs = {
        "extract": {"reprocess_hours": 2},
        "load": {"initial_date": "2026-01-01"},
        "report": {"trunc_start": True},
    }
    first = world.night("2026-01-05T02:00")
    assert [window(first, job)[0] for job in world.jobs] == [
        "1776-07-04T23:59",
        "2026-01-01T00:00",
        "1776-07-04T00:00",
    ]
    second = world.open("second night")
    assert [window(second, job)[0] for job in world.jobs] == [
        "2026-01-05T00:00",
        "2026-01-05T02:00",
        "2026-01-05T00:00",
    ]


def test_a_job_never_takes_its_window_from_the_job_before_it(world: World) -> None:
    world.jobs = {"extract": {}}
    world.night("2026-01-01T02:00")
    world.jobs = {"extract": {}, "load": {}}
    batch = world.at("2026-01-02T02:00").open("second night")
    assert window(batch, "extract")[0] == "2026-01-01T02:00"
    assert batch.jobs["load"]["from_date"] == FIRST


def test_a_clock_that_was_set_back_does_not_take_the_watermark_back(world: World) -> None:
    world.night("2026-01-05T02:00")
    batch = world.at("2026-01-04T02:00").open("with the clock set back")
    assert window(batch) == ("2026-01-05T02:00", "2026-01-05T02:00")
    world.close("success", batch)
    assert window(world.at("2026-01-06T02:00").open("right again")) == ("2026-01-05T02:00", "2026-01-06T02:00")


def test_nor_when_the_night_in_between_failed(world: World) -> None:
    world.jobs = {"extract": {"reprocess_hours": 2}}
    world.night("2026-01-05T02:00")
    world.night("2026-01-06T02:00", result="failed")
    assert window(world.at("2026-01-05T01:30").open("with the clock set back")) == (
        "2026-01-05T00:00",
        "2026-01-05T02:00",
    )


def test_a_clock_that_was_set_back_does_not_take_ids_back(world: World) -> None:
    first = world.night("2026-01-05T02:00")
    second = world.night("2026-01-04T02:00")
    third = world.night("2026-01-03T02:00")
    assert first.batch_id < second.batch_id < third.batch_id


def test_no_window_begins_at_an_initial_date_in_the_future(world: World) -> None:
    world.jobs = {"extract": {"initial_date": "2026-06-01"}}
    with pytest.raises(WindowError, match="lies in the future"):
        world.night("2026-01-01T02:00")
    assert window(world.night("2026-07-01T02:00")) == ("2026-06-01T00:00", "2026-07-01T02:00")
