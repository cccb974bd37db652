# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What was loaded twice, by all successful windows of each job."""

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
    loaded = fields.pop("loaded", None)
    job = {
        "status": status,
        "from_date": format_date(at(start)),
        "to_date": format_date(at(end)),
        "batch_start": format_date(at(end)),
    }
    jobs: dict[str, Fields] = {"extract": job | fields, "load": job | fields}
    record = BatchRecord(
        kind=kind,
        started="",
        to_date="",
        day="",
        reason="",
        status=status,
        moved=moved,
        left_out=left_out,
        loaded=None if loaded is None else {name: [format_date(at(hour)) for hour in loaded] for name in jobs},
    )
    return Batch(workflow="sales", batch_id=number, status=status, kind=kind, jobs=jobs, record=record)


def told(*batches: Batch, timezone: str = "UTC") -> Coverage:
    return coverage_of(batches, timezone)


def doubles(found: Coverage) -> list[tuple[Interval, tuple[int, ...]]]:
    return [(double.interval, double.batches) for double in found.doubles]


NIGHTS = (batch(1, 0, 24), batch(2, 24, 48), batch(3, 72, 96))


def test_a_failed_or_open_load_doubles_nothing() -> None:
    for status in ("failed", "open"):
        assert doubles(told(*NIGHTS, batch(4, 0, 96, "history", status))) == []


def test_a_backfill_of_what_was_loaded_before_is_a_double_with_both_batches() -> None:
    assert doubles(told(*NIGHTS, batch(4, 36, 72, "history"))) == [(slice_of(36, 48), (2, 4))]


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


def test_a_window_that_reached_back_to_a_boundary_is_meant_to_load_that_again() -> None:
    """Its record tells so: the configuration may be another one by now."""
    days = (batch(1, 0, 48), batch(2, 24, 72, reprocess_hours=2, loaded=(24, 48)))
    assert doubles(told(*days)) == []
    assert told(*days).reaching_back == 1
    # What was loaded meanwhile, or a window that does not begin where the record says, is judged as any other.
    for loaded in ((24, 30), (20, 48)):
        too_far = told(batch(1, 0, 48), batch(2, 24, 72, reprocess_hours=2, loaded=loaded))
        assert doubles(too_far) == [(slice_of(24, 46), (1, 2))]
    asked_for = told(batch(1, 0, 48), batch(2, 24, 72, reprocess_hours=2, loaded=(24, 48), moved=True))
    assert doubles(asked_for) == [(slice_of(24, 48), (1, 2))]


def test_the_cut_to_midnight_is_that_of_the_workflow_s_timezone() -> None:
    two = (batch(1, 0, 30), batch(2, 23, 48, trunc_start=True))  # Berlin's midnight is 23:00 UTC
    assert doubles(told(*two, timezone="Europe/Berlin")) == []
    assert doubles(told(*two)) == [(slice_of(23, 24), (1, 2))]


def test_dates_of_other_programs_that_cannot_be_read_are_passed_over() -> None:
    for value in ("yesterday", 17, None, [], {}):
        bad = batch(2, 24, 48, from_date=value)
        assert doubles(told(batch(1, 0, 24), bad)) == []
    assert doubles(told(batch(1, 0, 24), batch(2, 20, 48, reprocess_hours="many"))) == [(slice_of(20, 24), (1, 2))]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=8))
def test_what_is_doubled_was_loaded_and_no_order_of_the_list_matters(given_: list[tuple[int, int, bool]]) -> None:
    batches = [
        batch(number, min(one, two), max(one, two), "live" if live else "history")
        for number, (one, two, live) in enumerate(given_)
    ]
    found = told(*batches)
    loaded = hours([slice_of(min(one, two), max(one, two)) for one, two, _ in given_])
    assert hours([double for double, _ in doubles(found)]) <= loaded
    assert told(*reversed(batches)) == found
