# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say what a workflow has not loaded before its watermark, by its ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchy_provider.core.dates import parse_date
from batchy_provider.core.intervals import Interval, Intervals, merge, missing
from batchy_provider.core.ledger import JobGap, Ledger, Loaded, gaps, posted
from batchy_provider.core.ledger_history import live_windows
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.windows import initial_dates, watermarks


@dataclass(frozen=True, slots=True)
class Gap:
    """Data that some jobs of a workflow lack.

    :param jobs: the jobs that lack it, or a part of it.
    """

    interval: Interval
    jobs: tuple[str, ...]


def current_ledger(state: Snapshot) -> Ledger:
    """Return the ledger, with what the original server has loaded last: that is in the live state only."""
    return posted(state.ledger, [Loaded(live_windows(state))])


def gaps_of(state: Snapshot) -> list[JobGap]:
    """Return the gaps of each job, in order of jobs and time."""
    return gaps(current_ledger(state), watermarks(state), initial_dates(state))


def merged_gaps(state: Snapshot, *, disabled: bool = False) -> list[Gap]:
    """Return the gaps of all enabled jobs together, in order of time, each moment at most once.

    :param disabled: those of the disabled jobs instead. A run skips these jobs, so it cannot load their gaps.
    """
    off = disabled_jobs(state)
    found = [gap for gap in gaps_of(state) if (gap.job in off) is disabled]
    spans = {gap: Interval(parse_date(gap.from_date), parse_date(gap.to_date)) for gap in found}
    return [
        Gap(whole, tuple(dict.fromkeys(gap.job for gap, span in spans.items() if overlaps(whole, span))))
        for whole in merge(spans.values())
    ]


def disabled_jobs(state: Snapshot) -> frozenset[str]:
    """Return the jobs that a run skips."""
    return state.disabled | (state.config.disabled & state.jobs.keys())


def lacks(ledger: Ledger, jobs: Iterable[str], interval: Interval) -> bool:
    """Tell whether one of some jobs has not loaded all of an interval."""
    return any(missing(interval, ledger.get(job, ())) for job in jobs)


def overlaps(one: Interval, other: Interval) -> bool:
    """Tell whether two intervals have a moment in common."""
    return one.start < other.end and other.start < one.end


def without(wanted: Iterable[Interval], taken: Iterable[Interval]) -> Intervals:
    """Return the parts of intervals that are in none of `taken`."""
    away = merge(taken)
    return tuple(part for each in merge(wanted) for part in missing(each, away))
