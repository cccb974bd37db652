# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Laws of waits that ask the ledger, against sets of hours: none ends too early, none hangs on data that is loaded."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.intervals import Interval, merge
from batchy_provider.core.job_state import JobState
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.snapshot import Owner, Snapshot, StoredConfig
from batchy_provider.core.values import BatchRecord, Holder
from batchy_provider.core.wait_coverage import compare, moment_text, shortfall_text
from batchy_provider.core.wait_intervals import Shortfall
from batchy_provider.core.waits import Wait

START = datetime(2026, 11, 1)
"""A Sunday."""
HOURS = 24 * 28


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


CRONS = {
    "0 * * * *": lambda moment: True,
    "0 2 * * *": lambda moment: moment.hour == 2,
    "0 23 * * *": lambda moment: moment.hour == 23,
    "0 2,14 * * *": lambda moment: moment.hour in (2, 14),
    "0 6 * * 1": lambda moment: (moment.hour, moment.weekday()) == (6, 0),
    "0 2 * * 1-5": lambda moment: moment.hour == 2 and moment.weekday() < 5,
}
FIRES = {cron: [at(hour) for hour in range(-24 * 16, HOURS) if fires(at(hour))] for cron, fires in CRONS.items()}

spans = st.lists(
    st.tuples(st.integers(-24 * 16, HOURS), st.integers(1, 24 * 9)).map(lambda each: (each[0], each[0] + each[1])),
    max_size=6,
)
dues = st.tuples(st.integers(24 * 8, HOURS - 1), st.integers(0, 59))


def loaded_hours(found: list[tuple[int, int]]) -> set[int]:
    return {hour for start, end in found for hour in range(start, end)}


def intervals(found: list[tuple[int, int]]) -> dict[str, tuple[Interval, ...]]:
    merged = merge(Interval(at(start), at(end)) for start, end in found)
    return {"a": merged} if merged else {}


def hours(start: datetime, end: datetime) -> set[int]:
    first = int((start - START) / timedelta(hours=1))
    return set(range(first, first + int((end - start) / timedelta(hours=1))))


def upstream(*crons: str, watermark: datetime | None = None) -> Snapshot:
    """A workflow of one job that live batches have loaded up to its watermark; None if they never ran."""
    fields = {"status": "new"}
    owner = None
    if watermark is not None:
        end = watermark.isoformat()
        fields = {"status": "success", "batch_id": 5, "from_date": START.isoformat(), "batch_start": end}
        record = BatchRecord(kind="live", started=end, to_date=end, day="2026-11-01", reason="next window")
        owner = Owner(5, Holder(by="test"), record)
    return Snapshot(
        workflow="wf", jobs={"a": JobState(fields)}, config=StoredConfig(schedule=Schedule(crons=crons)), owner=owner
    )


@given(st.sampled_from(sorted(CRONS)), spans, dues)
def test_due_ends_when_and_only_when_the_interval_of_the_last_due_time_is_loaded(
    cron: str, found: list[tuple[int, int]], when: tuple[int, int]
) -> None:
    due = at(when[0]) + timedelta(minutes=when[1])
    before, last = [fire for fire in FIRES[cron] if fire <= due][-2:]
    wait = Wait(workflow="wf", scope="due", due=due.isoformat())
    (answer,) = compare(upstream(cron), wait, intervals(found), ["a"])
    assert answer.wanted == (before, last)
    lacking = hours(before, last) - loaded_hours(found)
    assert bool(answer.missing) is bool(lacking)
    assert answer.missing_time == timedelta(hours=len(lacking))


@given(st.sampled_from(sorted(CRONS)), spans, dues, st.integers(0, HOURS))
def test_where_live_batches_lag_behind_everything_from_their_watermark_on_is_needed(
    cron: str, found: list[tuple[int, int]], when: tuple[int, int], watermark: int
) -> None:
    found = [*found, (-24 * 16, watermark)]
    due = at(when[0]) + timedelta(minutes=when[1])
    before, last = [fire for fire in FIRES[cron] if fire <= due][-2:]
    wait = Wait(workflow="wf", scope="due", due=due.isoformat())
    (answer,) = compare(upstream(cron, watermark=at(watermark)), wait, intervals(found), ["a"])
    lacking = hours(min(before, at(watermark)), last) - loaded_hours(found)
    assert bool(answer.missing) is bool(lacking)


@given(st.sampled_from(sorted(CRONS)), spans, dues, st.sampled_from(["today", "due", "since_last_run"]))
def test_a_backfill_ends_when_and_only_when_the_interval_of_its_day_is_loaded(
    cron: str, found: list[tuple[int, int]], when: tuple[int, int], scope: str
) -> None:
    due = at(when[0]) + timedelta(minutes=when[1])
    fires = [fire for fire in FIRES[cron] if fire <= due]
    of_day = [fire for fire in fires if fire.date() == due.date()] or fires[-1:]
    before = [fire for fire in fires if fire < of_day[0]][-1]
    day = due.date().isoformat()
    wait = Wait(workflow="wf", scope=scope, due=due.isoformat(), day=day, backfill=True)
    (answer,) = compare(upstream(cron), wait, intervals(found), ["a"])
    assert bool(answer.missing) is bool(hours(before, of_day[-1]) - loaded_hours(found))


@given(st.sampled_from(sorted(CRONS)), spans, dues, st.integers(-24, HOURS))
def test_nothing_before_initial_date_is_needed(
    cron: str, found: list[tuple[int, int]], when: tuple[int, int], first: int
) -> None:
    due = at(when[0]) + timedelta(minutes=when[1])
    before, last = [fire for fire in FIRES[cron] if fire <= due][-2:]
    job = JobState({"status": "new", "initial_date": at(first).isoformat()})
    state = Snapshot(workflow="wf", jobs={"a": job}, config=StoredConfig(schedule=Schedule(crons=(cron,))))
    wait = Wait(workflow="wf", scope="due", due=due.isoformat())
    (answer,) = compare(state, wait, intervals(found), ["a"])
    needed = {hour for hour in hours(before, last) if hour >= first}
    assert bool(answer.missing) is bool(needed - loaded_hours(found))


def span(start: str, end: str) -> Interval:
    return Interval(datetime.fromisoformat(start), datetime.fromisoformat(end))


DAY = span("2026-11-12", "2026-11-13")


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ([DAY], "job a: nothing loaded, 1d missing"),
        ([span("2026-11-12T01:00", "2026-11-13")], "job a: loaded until 2026-11-12 01:00, 23h missing"),
        (
            [span("2026-11-12T01:00", "2026-11-12T02:30")],
            "job a: loaded until 2026-11-12 01:00, 1h30m missing: 2026-11-12 01:00 to 2026-11-12 02:30",
        ),
        (
            [span("2026-11-12", "2026-11-12T02:00"), span("2026-11-12T05:00", "2026-11-12T05:00:09.25")],
            "job a: 2h9s missing: 2026-11-12 00:00 to 2026-11-12 02:00, 2026-11-12 05:00 to 2026-11-12 05:00:09",
        ),
        (
            [span(f"2026-11-12T{hour:02}:00", f"2026-11-12T{hour:02}:30") for hour in range(0, 10, 2)],
            "job a: 2h30m missing: 2026-11-12 00:00 to 2026-11-12 00:30, 2026-11-12 02:00 to 2026-11-12 02:30, "
            "2026-11-12 04:00 to 2026-11-12 04:30 and 2 more gaps",
        ),
    ],
)
def test_a_shortfall_in_words(missing: list[Interval], text: str) -> None:
    assert shortfall_text([Shortfall("a", DAY, tuple(missing))]) == text


def test_jobs_that_lack_the_same_are_named_together_and_a_long_list_is_cut() -> None:
    same = [Shortfall(f"j{number}", DAY, (DAY,)) for number in range(7)]
    assert shortfall_text(same) == "jobs j0, j1, j2, j3, j4 and 2 more: nothing loaded, 1d missing"
    other = [
        Shortfall(f"k{hour}", DAY, (Interval(DAY.start + timedelta(hours=hour), DAY.end),)) for hour in range(1, 6)
    ]
    assert shortfall_text([*same, *other]).endswith("; 3 more jobs lack other parts")


def test_moments_have_seconds_only_where_they_are_not_zero() -> None:
    assert moment_text(datetime(2026, 11, 12, 1)) == "2026-11-12 01:00"
    assert moment_text(datetime(2026, 11, 12, 1, 0, 7, 5)) == "2026-11-12 01:00:07"
