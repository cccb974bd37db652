# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A batch in few words: when it was open, how it ended, and how many of its jobs did what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from batchy_provider.core.batch_notes import BatchNote, acknowledgement
from batchy_provider.core.dates import parse_date
from batchy_provider.core.job_state import JobState
from batchy_provider.core.snapshot import StoredBatch
from batchy_provider.core.vocabulary import Kind, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutline:
    """A batch in few words. Moments are naive UTC.

    :param started: when it really started; None where nothing says so.
    :param ended: when it was closed; None while it is open.
    :param due: when its run was due; None if no run opened it.
    :param run: the run that opened it.
    :param jobs: outcome → how many jobs had it; empty where the jobs were not read.
    :param failed_jobs: the jobs that have failed.
    :param acknowledged: the acknowledgement of its failure; None without one.
    """

    batch_id: int
    kind: Kind
    status: Status
    started: datetime | None
    ended: datetime | None
    due: datetime | None = None
    run: str | None = None
    jobs: Mapping[str, int] = field(default_factory=dict)
    failed_jobs: Sequence[str] = ()
    acknowledged: BatchNote | None = None


def outline(stored: StoredBatch, closed: datetime | None = None) -> BatchOutline:
    """Return a batch of the history in few words.

    :param stored: without jobs if they were not read: then its record says how it has ended.
    :param closed: when it was closed, as the list of closed batches has it; None if it is not listed there.
    """
    record, status = stored.record, stored.status
    took_part = {name: job for name, job in stored.jobs.items() if name not in stored.left_out}
    outcomes = {name: _outcome(job) for name, job in took_part.items()}
    starts = [each for job in stored.jobs.values() if (each := job.batch_start) is not None]
    ends = [each for job in stored.jobs.values() if (each := job.batch_end) is not None]
    started = record.started if record is not None else min(starts, default=None)
    ended = closed if closed is not None or not ends else parse_date(max(ends))
    return BatchOutline(
        batch_id=stored.batch_id,
        kind=record.kind if record is not None else "live",
        status=status,
        started=None if started is None else parse_date(started),
        ended=None if status == "open" else ended,
        due=None if record is None or record.due is None else parse_date(record.due),
        run=None if record is None else record.run,
        jobs=dict(Counter(outcomes.values())),
        failed_jobs=tuple(name for name, found in outcomes.items() if found in ("failed", "aborted")),
        acknowledged=acknowledgement(record.notes) if record is not None and status == "failed" else None,
    )


def _outcome(job: JobState) -> str:
    if job.status == "open":
        return "open"
    found = job.outcome
    return found if isinstance(found, str) else job.status or "new"
