# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Count what the batches of a workflow show after nights of chaos: gaps, pieces, and windows beyond their source."""

from __future__ import annotations

from datetime import datetime, timedelta

from batchy_provider.core.values import Batch


def not_tiled(
    workflow: str, job: str, good: list[Batch], committed: set[tuple[str, int, str, str]], begin: datetime
) -> list[str]:
    """Return the errors in the windows of a job's successes: a gap, an overlap, or a success without a load."""
    faults = []
    loaded = begin
    for batch in good:
        fields = batch.jobs[job]
        start, end = window(batch, job)
        back = timedelta(hours=fields.get("reprocess_hours") or 0)
        expected = max(loaded - back, begin)
        if start != expected or end < loaded:
            faults.append(f"{workflow}.{job}, batch {batch.batch_id}: {start} to {end}, not from {expected}")
        if (job, batch.batch_id, fields["from_date"], fields["to_date"]) not in committed:
            faults.append(f"{workflow}.{job}, batch {batch.batch_id}: a success that loaded nothing")
        loaded = end
    return faults


def ahead_of_source(workflow: str, good: list[Batch], source: list[Batch]) -> list[str]:
    """Return the windows that went beyond what their source had loaded when they opened.

    :param good: the successes of the workflow.
    :param source: the successes of the workflow whose data it takes.
    """
    faults = []
    for batch in good:
        opened = datetime.fromisoformat(str(batch.started))
        loaded = [
            min(window(each, job)[1] for job in each.jobs)
            for each in source
            if each.batch_end and datetime.fromisoformat(each.batch_end) <= opened
        ]
        for job in batch.jobs:
            start, end = window(batch, job)
            if end > max(loaded, default=start):
                faults.append(
                    f"{workflow}.{job}, batch {batch.batch_id}: up to {end}, loaded up to {max(loaded, default=None)}"
                )
    return faults


def pieces(good: list[Batch], length: timedelta) -> int:
    """Return how many windows are as long as a window may be at most."""
    return sum(end - start == length for batch in good for start, end in [window(batch, next(iter(batch.jobs)))])


def window(batch: Batch, job: str) -> tuple[datetime, datetime]:
    """Return the window of a job."""
    fields = batch.jobs[job]
    return datetime.fromisoformat(fields["from_date"]), datetime.fromisoformat(fields["to_date"])


def longest_recovery(batches: list[Batch]) -> timedelta:
    """Return the longest time from the start of a failed batch to the end of the success with its window."""
    longest = timedelta(0)
    since: datetime | None = None
    for batch in batches:
        if batch.status == "failed":
            since = since or datetime.fromisoformat(str(batch.started))
        elif since is not None and batch.batch_end:
            longest = max(longest, datetime.fromisoformat(batch.batch_end) - since)
            since = None
    return longest
