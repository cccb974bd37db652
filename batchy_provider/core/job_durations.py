# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tell how long the jobs of a batch took, and how much data they loaded in that time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from batchy_provider.core.alike import for_each, regrouped, without_nulls
from batchy_provider.core.dates import parse_date
from batchy_provider.core.intervals import Interval
from batchy_provider.core.job_state import JobState, by_state
from batchy_provider.core.ledger import window_of
from batchy_provider.core.snapshot import StoredBatch
from batchy_provider.core.values import BatchRecord, JobDuration
from batchy_provider.exceptions import WindowError

MAX_DURATIONS = 60
"""How many executions of a job are kept."""


def durations_of(
    jobs: Mapping[str, JobState],
    record: BatchRecord | None,
    now: datetime,
    seconds: Mapping[str, float] | None,
    left_out: Collection[str] = (),
) -> Mapping[str, JobDuration]:
    """Return job → how long it took, for the jobs that succeeded in a batch that is being closed as success.

    :param jobs: as they are after the batch was closed.
    :param record: of the batch. Without one, another program opened it, and each job says when.
    :param now: when the batch is closed.
    :param seconds: job → how long it took, as far as the caller knows. None if it knows of no job: then each job took
        as long as the batch was open.
    :param left_out: the jobs that took no part in it.
    """
    started = None if record is None else _moment(record.started)
    executions = for_each(by_state(jobs), lambda _, job: _execution(job, started))
    # The jobs of a batch share a few windows.
    counted = without_nulls(regrouped(executions, lambda execution: execution), left_out)
    if seconds is None:
        # Outside Airflow all jobs take as long as the batch.
        return for_each(counted, lambda _, execution: execution.duration(now, None))
    return {
        name: execution.duration(now, took)
        for name, execution in counted.items()
        if (took := seconds.get(name)) is not None
    }


def durations_of_history(
    batches: Iterable[StoredBatch], seconds: Mapping[int, Mapping[str, float]] | None = None
) -> dict[str, list[JobDuration]]:
    """Return job → its latest successful executions in some batches, oldest first.

    :param batches: in any order. Those of other programs count too: their ``batch_start`` is when they were opened.
    :param seconds: batch id → job → how long it took, of the jobs of which that is known. Of a batch that it does not
        name, each job took as long as the batch was open.
    """
    found: dict[str, list[JobDuration]] = {}
    for batch in batches:
        measured = None if seconds is None else seconds.get(batch.batch_id)
        if batch.status != "success" or (measured is None and not is_measured(batch.record)):
            continue
        for name, job in batch.jobs.items():
            end = _moment(job.batch_end)
            if end is None or name in batch.left_out or job.batch_name != str(batch.batch_id):
                continue
            for duration in durations_of({name: job}, batch.record, end, measured).values():
                found.setdefault(name, []).append(duration)
    return {name: latest(durations) for name, durations in found.items()}


def latest(durations: Iterable[JobDuration]) -> list[JobDuration]:
    """Return as many executions as are kept, oldest first."""
    return sorted(durations, key=lambda each: each.start)[-MAX_DURATIONS:]


def completed(known: Iterable[JobDuration], more: Iterable[JobDuration]) -> list[JobDuration]:
    """Return the executions of one job from two sources. Of a batch that both have, the first one counts."""
    by_start = {each.start: each for each in more}
    by_start |= {each.start: each for each in known}
    return latest(by_start.values())


def is_measured(record: BatchRecord | None) -> bool:
    """Tell whether the time for which a batch was open says how long its jobs took.

    It does not if a person closed the batch of a run: who knows how long after the jobs had ended.
    """
    return record is None or record.run is None or record.closed_by is None


class _Execution(NamedTuple):
    """A successful execution, of which it is not known yet how long it took."""

    start: datetime
    window: Interval | None

    def duration(self, end: datetime, took: float | None) -> JobDuration:
        seconds = max(0.0, (end - self.start).total_seconds()) if took is None else took
        window = self.window
        return JobDuration(self.start, seconds, 0.0 if window is None else (window.end - window.start).total_seconds())


def _execution(job: JobState, started: datetime | None) -> _Execution | None:
    if job.status != "success" or job.outcome not in (None, "success"):
        return None
    start = started or _moment(job.batch_start)
    return None if start is None else _Execution(start, window_of(job))


@lru_cache(maxsize=256)
def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_date(text)
    except WindowError:
        return None  # another program's
