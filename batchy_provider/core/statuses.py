# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the stored status of a job, and combine those of all jobs to the status of a workflow or batch."""

from __future__ import annotations

from collections.abc import Mapping

from batchy_provider.core.job_state import JobState
from batchy_provider.core.typed_data import shown
from batchy_provider.core.values import BatchRecord, jobs_left_out
from batchy_provider.core.vocabulary import Status
from batchy_provider.exceptions import StateError


def overall_status(jobs: Mapping[str, JobState], record: BatchRecord | None) -> Status:
    """Return the status of a batch as a whole: that of the jobs that took part in it.

    Only the record says which did. The original writes none, and leaves in a job what our last batch wrote of it.
    """
    left_out = jobs_left_out(record)
    took_part = [job for name, job in jobs.items() if name not in left_out]
    if record is None and took_part:
        # The original, killed between two jobs, leaves some in the batch before.
        newest = max(job.batch_name for job in took_part)
        took_part = [job for job in took_part if job.batch_name == newest]
    if not took_part and record is not None:
        return record.status
    found = {job.status or "new" for job in took_part or jobs.values()}
    for status in ("open", "failed", "new"):
        if status in found:
            return status
    return "success" if found else "new"


def status_of(workflow: str, name: str, job: JobState) -> Status:
    """Return the status of a job.

    :raises StateError: if neither system writes the stored value.
    """
    known = job.status
    if known is not None:
        return known
    raise StateError(
        f"job {name!r} of workflow {workflow!r} has status {shown(job.stored_status)} in Redis; expected new, open, "
        "success, failed or failure. Correct it, or `load` the workflow's configuration again"
    )
