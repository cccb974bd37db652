# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find data that was loaded twice, by interval arithmetic on the windows of successful batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from batchy_provider.core.dates import midnight, parse_date
from batchy_provider.core.intervals import Interval, missing, repeated
from batchy_provider.core.job_settings import cuts_to_midnight, overlap
from batchy_provider.core.job_state import JobState
from batchy_provider.core.values import Batch
from batchy_provider.exceptions import BatchyError


@dataclass(frozen=True, slots=True)
class Double:
    """Data that several successful batches have loaded.

    :param jobs: the jobs that loaded it more than once.
    :param batches: ids of the batches, in order.
    """

    jobs: tuple[str, ...]
    interval: Interval
    batches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The data that successful batches of a workflow have loaded twice: live batches, backfills and one-off loads.

    :param jobs: the jobs that took part in one of them.
    :param reaching_back: how many live batches load data again because of ``reprocess_hours`` or ``trunc_start``.
    """

    jobs: tuple[str, ...]
    doubles: tuple[Double, ...]
    reaching_back: int


def coverage_of(batches: Iterable[Batch], timezone: str) -> Coverage:
    """Return what batches have loaded more than once.

    A live window that reaches back over the one before as far as its configuration says does not load twice.

    :param batches: in any order; only successful ones count.
    :param timezone: the workflow's, for ``trunc_start``.
    """
    per_job: dict[str, list[tuple[Batch, Interval, JobState]]] = {}
    for batch in sorted(batches, key=lambda each: each.batch_id):
        if batch.status == "success":
            for name, interval, job in _windows(batch):
                per_job.setdefault(name, []).append((batch, interval, job))

    doubles: dict[tuple[Interval, tuple[int, ...]], list[str]] = {}
    reaching: set[int] = set()
    for name, found in per_job.items():
        wanted: list[tuple[Interval, int]] = []
        reached: datetime | None = None
        for batch, interval, job in found:
            parts: tuple[Interval, ...] = (interval,)
            if batch.kind == "live":
                if reached is not None and interval.start < reached:
                    meant = _meant(batch, name, job, reached, timezone)
                    parts = missing(interval, [meant])
                    if parts != (interval,):
                        reaching.add(batch.batch_id)
                reached = interval.end
            wanted += [(part, batch.batch_id) for part in parts]
        for double in repeated(wanted):
            doubles.setdefault(double, []).append(name)
    return Coverage(
        jobs=tuple(per_job),
        doubles=tuple(Double(tuple(jobs), *double) for double, jobs in sorted(doubles.items())),
        reaching_back=len(reaching),
    )


def _windows(batch: Batch) -> Iterable[tuple[str, Interval, JobState]]:
    """Yield the windows of the jobs that took part in a successful batch and loaded."""
    for name, fields in batch.jobs.items():
        job = JobState(fields)
        start, end = job.from_date, job.loaded_to
        if name in batch.left_out or job.status != "success" or not (start and end):
            continue
        try:
            interval = Interval(parse_date(start), parse_date(end))
        except BatchyError:
            continue  # another program wrote something that is not a date
        if interval.start < interval.end:
            yield name, interval, job


def _meant(batch: Batch, name: str, job: JobState, reached: datetime, timezone: str) -> Interval:
    """Return the part of earlier windows that a live window loads again on purpose."""
    if batch.record is not None and batch.record.moved:
        return Interval(reached, reached)  # a requested window does not reach back
    try:
        # A shaped window may reach back to a boundary. Its record knows that, also if the shape has changed since.
        if (recorded := _recorded(batch, name, job, reached)) is not None:
            return recorded
        back = overlap(batch.workflow, name, job)
        start = reached - back if back <= reached - datetime.min else datetime.min
        if cuts_to_midnight(batch.workflow, name, job):
            start = midnight(start, timezone)
    except (BatchyError, OverflowError):
        start = reached
    return Interval(start, reached)


def _recorded(batch: Batch, name: str, job: JobState, reached: datetime) -> Interval | None:
    """Return the part that a window loads again by the record of its opening; None if that does not tell."""
    match ((batch.record.loaded if batch.record is not None else None) or {}).get(name):
        case [start, end] if start == job.from_date and parse_date(end) >= reached:
            return Interval(parse_date(start), reached)
    return None
