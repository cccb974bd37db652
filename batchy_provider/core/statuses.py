# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the stored status of a job, and combine those of all jobs to the status of a workflow or batch."""

from __future__ import annotations

from collections.abc import Mapping

from batchy_provider.core.typed_data import shown
from batchy_provider.core.values import BatchRecord, Fields, Status
from batchy_provider.exceptions import StateError

_STATUSES: dict[object, Status] = {
    None: "new",
    "new": "new",
    "open": "open",
    "success": "success",
    "failed": "failed",
    "failure": "failed",  # as the original server writes it
}


def overall_status(jobs: Mapping[str, Fields], record: BatchRecord | None) -> Status:
    """Return the status of a batch as a whole: that of the jobs that took part in it."""
    took_part = [job for job in jobs.values() if job.get("outcome") != "skipped"]
    if record is None and took_part:
        # The original, killed between two jobs, leaves some in the batch before.
        newest = max(str(job.get("batch_id")) for job in took_part)
        took_part = [job for job in took_part if str(job.get("batch_id")) == newest]
    if not took_part and record is not None:
        return record.status
    found = {known_status(job) or "new" for job in took_part or jobs.values()}
    for status in ("open", "failed", "new"):
        if status in found:
            return status
    return "success" if found else "new"


def status_of(workflow: str, name: str, job: Fields) -> Status:
    """Return a job's status in the design's words.

    :raises StateError: if it is none that either system writes.
    """
    known = known_status(job)
    if known is not None:
        return known
    raise StateError(
        f"job {name!r} of workflow {workflow!r} has status {shown(job.get('status'))} in Redis; expected new, open, "
        "success, failed or failure. Correct it, or `load` the workflow's configuration again"
    )


def known_status(job: Fields) -> Status | None:
    status = job.get("status")
    return _STATUSES.get(status) if status is None or isinstance(status, str) else None
