# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Gaps: what the ledger lacks before the watermark, for one job and for the jobs of a workflow together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batchy_provider.core.intervals import Interval
from batchy_provider.core.job_state import JobState
from batchy_provider.core.missing_data import Gap, gaps_of, lacks, merged_gaps, without
from batchy_provider.core.snapshot import Snapshot


def day(number: int) -> datetime:
    return datetime(2026, 11, number)


def days(start: int, end: int) -> Interval:
    return Interval(day(start), day(end))


def job(start: int, end: int, **fields: Any) -> JobState:
    dates = {"from_date": day(start).isoformat(), "to_date": day(end).isoformat(), "batch_start": day(end).isoformat()}
    return JobState({"status": "success", "batch_id": 1, **dates, **fields})


def state(jobs: dict[str, JobState], disabled: set[str] | None = None, **loaded: tuple[Interval, ...]) -> Snapshot:
    return Snapshot(workflow="sales", jobs=jobs, ledger=loaded, disabled=frozenset(disabled or ()))


def shown(found: Snapshot) -> list[tuple[str, str, str]]:
    return [(gap.job, gap.from_date[8:10], gap.to_date[8:10]) for gap in gaps_of(found)]


def test_a_gap_lies_between_what_is_loaded_and_before_the_watermark() -> None:
    assert shown(state({"load": job(25, 26)}, load=(days(20, 22), days(25, 26)))) == [("load", "22", "25")]
    assert shown(state({"load": job(25, 26)}, load=(days(20, 26),))) == []


def test_a_watermark_that_was_moved_forward_leaves_a_gap_and_one_moved_back_leaves_none() -> None:
    moved = job(28, 28, status="new", batch_start=None, to_date=None)
    assert shown(state({"load": moved}, load=(days(20, 26),))) == [("load", "26", "28")]
    back = job(21, 21, status="new", batch_start=None, to_date=None)
    assert shown(state({"load": back}, load=(days(20, 22), days(25, 26)))) == []


def test_a_failed_batch_makes_no_gap() -> None:
    failed = job(25, 26, status="failed")
    assert shown(state({"load": failed}, load=(days(20, 25),))) == []


def test_a_job_that_has_loaded_nothing_has_no_gap() -> None:
    assert shown(state({"load": JobState({"status": "new"})})) == []


def test_a_load_of_older_data_makes_no_gap_before_the_initial_date() -> None:
    loaded = (days(1, 2), days(20, 26))
    assert shown(state({"load": job(25, 26)}, load=loaded)) == [("load", "02", "20")]
    assert shown(state({"load": job(25, 26, initial_date="2026-11-20")}, load=loaded)) == []


def test_what_the_original_server_has_loaded_last_counts_before_it_is_in_the_ledger() -> None:
    assert shown(state({"load": job(22, 26)}, load=(days(20, 22),))) == []


def test_gaps_of_several_jobs_are_merged_and_those_of_disabled_jobs_are_apart() -> None:
    jobs = {name: job(27, 28) for name in ("extract", "load", "off")}
    loaded = {
        "extract": (days(20, 22), days(24, 28)),
        "load": (days(20, 23), days(25, 28)),
        "off": (days(20, 21), days(27, 28)),
    }
    found = state(jobs, {"off"}, **loaded)
    assert merged_gaps(found) == [Gap(days(22, 25), ("extract", "load"))]
    assert merged_gaps(found, disabled=True) == [Gap(days(21, 27), ("off",))]


def test_a_job_whose_state_cannot_be_read_hides_no_other() -> None:
    jobs = {"bad": JobState({"status": "success", "batch_start": "soon"}), "load": job(25, 26)}
    assert shown(state(jobs, bad=(days(1, 2),), load=(days(20, 22), days(25, 26)))) == [("load", "22", "25")]


def test_lacks_and_without() -> None:
    ledger = {"extract": (days(20, 24),), "load": (days(20, 22),)}
    assert lacks(ledger, ["extract", "load"], days(21, 23))
    assert not lacks(ledger, ["extract"], days(21, 23))
    assert lacks(ledger, ["new"], days(21, 22))
    assert without([days(1, 5), days(7, 9)], [days(2, 3), days(4, 8)]) == (days(1, 2), days(3, 4), days(8, 9))
