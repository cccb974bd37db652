# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The ledger against a model that holds each loaded hour by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.intervals import Interval, merge
from batchy_provider.core.job_state import JobState
from batchy_provider.core.ledger import (
    Entry,
    Loaded,
    Withdrawn,
    differences,
    last_contiguous,
    posted,
    windows_loaded,
)

ZERO = datetime(2026, 11, 1)
JOBS = ("extract", "load", "report")

moments = st.integers(0, 30).map(lambda hour: ZERO + timedelta(hours=hour))
windows = st.tuples(moments, moments).map(lambda pair: Interval(*sorted(pair)))
entries = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(JOBS), windows, min_size=1).map(Loaded),
        st.builds(Withdrawn, st.none() | st.frozensets(st.sampled_from(JOBS)), st.none() | moments),
    ),
    max_size=12,
)


def at(hour: float) -> datetime:
    return ZERO + timedelta(hours=hour)


def hours(window: Interval) -> set[datetime]:
    return {at(hour) for hour in range(31) if window.start <= at(hour) < window.end}


@given(entries)
def test_the_ledger_is_the_union_of_what_was_loaded_less_what_was_withdrawn_since(made: list[Entry]) -> None:
    model: dict[str, set[datetime]] = {job: set() for job in JOBS}
    for entry in made:
        if isinstance(entry, Loaded):
            for job, window in entry.windows.items():
                model[job] |= hours(window)
        else:
            for job in JOBS if entry.jobs is None else entry.jobs:
                model[job] = {hour for hour in model[job] if entry.start is not None and hour < entry.start}
    ledger = posted({}, made)
    assert {job: {hour for each in loaded for hour in hours(each)} for job, loaded in ledger.items()} == {
        job: loaded for job, loaded in model.items() if loaded
    }
    assert all(loaded == merge(loaded) for loaded in ledger.values())


@given(entries, entries)
def test_differences_say_all_that_changed_and_nothing_else(first: list[Entry], second: list[Entry]) -> None:
    before = posted({}, first)
    after = posted(before, second)
    changed = differences(before, after)
    assert {**{job: loaded for job, loaded in before.items() if job not in changed}, **changed} == {
        **after,
        **dict.fromkeys(before.keys() - after.keys(), ()),
    }
    assert all(before.get(job, ()) != loaded for job, loaded in changed.items())


def job(start: object = "2026-11-01", end: str | None = "2026-11-02", **fields: Any) -> JobState:
    return JobState({"status": "success", "from_date": start, "to_date": end, "batch_start": end, **fields})


def test_a_batch_loads_the_windows_of_the_jobs_that_succeeded_in_it() -> None:
    jobs = {
        "loaded": job(),
        "failed": job(status="failed"),
        "off": job(),
        "empty": job(end="2026-11-01"),
        "backwards": job(start="2026-11-03"),
        "without": job(start=None),
        "damaged": job(start="yesterday"),
        "number": job(start=7),
        "moved by the original": job(to_date="2026-10-01"),
    }
    whole = Interval(datetime(2026, 11, 1), datetime(2026, 11, 2))
    assert windows_loaded(jobs, ["off"]) == {"loaded": whole, "moved by the original": whole}


@pytest.mark.parametrize(
    ("loaded", "beginning", "expected"),
    [
        ([], at(0), None),
        ([Interval(at(0), at(5)), Interval(at(7), at(9))], at(2), 0),
        ([Interval(at(0), at(5)), Interval(at(7), at(9))], at(7), 1),
        ([Interval(at(0), at(5)), Interval(at(7), at(9))], at(6), None),
        ([Interval(at(3), at(5))], at(0), None),
    ],
)
def test_a_job_that_returns_goes_on_at_the_first_gap_since_its_beginning(
    loaded: list[Interval], beginning: datetime, expected: int | None
) -> None:
    assert last_contiguous(loaded, beginning) == (None if expected is None else loaded[expected])
