# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What was never loaded, and what was loaded twice, by all successful windows of each job."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.coverage import Coverage, coverage_of
from batchy_provider.core.dates import format_date
from batchy_provider.core.intervals import Interval
from batchy_provider.core.job_state import Fields
from batchy_provider.core.values import Batch, BatchRecord
from batchy_provider.core.vocabulary import Kind, Status

ZERO = datetime(2026, 11, 1)


def at(hour: float) -> datetime:
    return ZERO + timedelta(hours=hour)


def slice_of(start: float, end: float) -> Interval:
    return Interval(at(start), at(end))


def hours(found: list[Interval]) -> set[int]:
    """Return the hours that are in any of some intervals, found without interval arithmetic."""
    return {hour for hour in range(41) if any(each.start <= at(hour) < each.end for each in found)}


def batch(
    number: int, start: float, end: float, kind: Kind = "live", status: Status = "success", **fields: Any
) -> Batch:
    moved = fields.pop("moved", False)
    left_out = fields.pop("left_out", ())
    job = {
        "status": status,
        "from_date": format_date(at(start)),
        "to_date": format_date(at(end)),
        "batch_start": format_date(at(end)),
    }
    jobs: dict[str, Fields] = {"extract": job | fields, "load": job | fields}
    record = BatchRecord(
        kind=kind, started="", to_date="", day="", reason="", status=status, moved=moved, left_out=left_out
    )
    return Batch(workflow="sales", batch_id=number, status=status, kind=kind, jobs=jobs, record=record)


def told(*batches: Batch, watermark: float | None = None, timezone: str = "UTC") -> Coverage:
    marks = {} if watermark is None else {"extract": at(watermark), "load": at(watermark)}
    return coverage_of(batches, marks, timezone)


def gaps(found: Coverage) -> list[Interval]:
    return [gap.interval for gap in found.gaps]


def doubles(found: Coverage) -> list[tuple[Interval, tuple[int, ...]]]:
    return [(double.interval, double.batches) for double in found.doubles]


NIGHTS = (batch(1, 0, 24), batch(2, 24, 48), batch(3, 72, 96))


def test_a_gap_is_reported_until_a_one_off_load_fills_it() -> None:
    assert gaps(told(*NIGHTS)) == [slice_of(48, 72)]
    assert told(*NIGHTS).gaps[0].jobs == ("extract", "load")
    assert gaps(told(*NIGHTS, batch(4, 48, 60, "history"))) == [slice_of(60, 72)]
    filled = told(*NIGHTS, batch(4, 48, 60, "history"), batch(5, 60, 72, "history"))
    assert (filled.gaps, filled.doubles) == ((), ())


def test_a_failed_or_open_load_fills_nothing_and_doubles_nothing() -> None:
    for status in ("failed", "open"):
        found = told(*NIGHTS, batch(4, 0, 96, "history", status))
        assert (gaps(found), doubles(found)) == ([slice_of(48, 72)], [])


def test_a_backfill_of_what_was_loaded_before_is_a_double_with_both_batches() -> None:
    found = told(*NIGHTS, batch(4, 36, 72, "history"))
    assert (gaps(found), doubles(found)) == ([], [(slice_of(36, 48), (2, 4))])


def test_a_backfill_of_another_year_makes_no_gap() -> None:
    assert gaps(told(batch(4, -9000, -8000, "history"), batch(1, 0, 24), batch(2, 24, 48))) == []


def test_data_that_a_moved_watermark_leaves_out_is_a_gap_before_the_next_run() -> None:
    assert gaps(told(batch(1, 0, 24), watermark=30)) == [slice_of(24, 30)]
    assert gaps(told(batch(1, 0, 24), watermark=3)) == []


def test_a_gap_behind_a_watermark_that_was_set_back_will_be_loaded_and_is_none() -> None:
    assert gaps(told(*NIGHTS, watermark=40)) == []


def test_a_job_that_was_left_out_has_not_loaded_the_window_that_it_still_shows() -> None:
    found = told(batch(1, 0, 24), batch(2, 0, 24, left_out=("extract", "load")))
    assert doubles(found) == []
    assert told(batch(1, 0, 24, left_out=("load",))).jobs == ("extract",)


def test_only_as_much_as_the_configuration_says_is_meant_to_load_again() -> None:
    assert doubles(told(batch(1, 0, 24), batch(2, 22, 48, reprocess_hours=2))) == []
    assert told(batch(1, 0, 24), batch(2, 22, 48, reprocess_hours=2)).reaching_back == 1
    too_far = told(batch(1, 0, 24), batch(2, 12, 48, reprocess_hours=2))
    assert doubles(too_far) == [(slice_of(12, 22), (1, 2))]
    assert doubles(told(batch(1, 0, 30), batch(2, 24, 48, trunc_start=True))) == []
    asked_for = told(batch(1, 0, 24), batch(2, 22, 48, reprocess_hours=2, moved=True))
    assert doubles(asked_for) == [(slice_of(22, 24), (1, 2))]


def test_the_cut_to_midnight_is_that_of_the_workflow_s_timezone() -> None:
    two = (batch(1, 0, 30), batch(2, 23, 48, trunc_start=True))  # Berlin's midnight is 23:00 UTC
    assert doubles(told(*two, timezone="Europe/Berlin")) == []
    assert doubles(told(*two)) == [(slice_of(23, 24), (1, 2))]


def test_dates_of_other_programs_that_cannot_be_read_are_passed_over() -> None:
    for value in ("yesterday", 17, None, [], {}):
        bad = batch(2, 24, 48, from_date=value)
        assert told(batch(1, 0, 24), bad).gaps == ()
    assert doubles(told(batch(1, 0, 24), batch(2, 20, 48, reprocess_hours="many"))) == [(slice_of(20, 24), (1, 2))]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=8))
def test_no_gap_was_loaded_by_anyone_and_no_order_of_the_list_matters(given_: list[tuple[int, int, bool]]) -> None:
    batches = [
        batch(number, min(one, two), max(one, two), "live" if live else "history")
        for number, (one, two, live) in enumerate(given_)
    ]
    found = told(*batches)
    loaded = hours([slice_of(min(one, two), max(one, two)) for one, two, _ in given_])
    assert not hours(gaps(found)) & loaded
    assert hours([double for double, _ in doubles(found)]) <= loaded
    assert told(*reversed(batches)) == found
