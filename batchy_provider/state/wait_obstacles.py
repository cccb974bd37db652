# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say why a wait is not over: no such workflow or job, or what became of the latest batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.presenters import live_batch
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.statuses import status_of
from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import StateError, WindowError


def enabled(state: Snapshot, jobs: Iterable[str]) -> list[str]:
    """Return those of some jobs that are enabled. A wait without any is never done."""
    off = state.disabled | state.config.disabled
    return [job for job in jobs if job not in off]


def never_done(wait: Wait, wanted: Collection[str], known: Collection[str]) -> Verdict | None:
    """Return the verdict on a wait that cannot end unless a person acts; None if it can.

    :param wanted: the jobs that the wait needs.
    :param known: the jobs that the workflow has.
    """
    name = wait.workflow
    if not known:
        text = f"{name}: not in Redis yet: no batch was ever opened, nor its config loaded (or `batchy restore {name}`)"
        return Verdict(state="waiting", code=VerdictCode.UNKNOWN_WORKFLOW, text=text)
    if not wanted:
        text = f"{name}: every job waited for is switched off; enable one"
        return Verdict(state="waiting", code=VerdictCode.ALL_DISABLED, text=text)
    if missing := [job for job in wanted if job not in known]:
        text = f"{name}: has no job {', '.join(missing)}; its jobs are {', '.join(known)}"
        return Verdict(state="waiting", code=VerdictCode.UNKNOWN_JOB, text=text)
    return None


def failure(state: Snapshot, wait: Wait, since: datetime) -> Verdict | None:
    """Return the verdict on a wait that ends at a failure, if the latest batch has failed within its scope.

    :param since: from when on a failure counts; naive UTC.
    """
    if (
        not wait.fail_on_failed
        or state.live_id is None
        or wait.is_for_earlier_day(state.live_record, state.config.timezone)
    ):
        return None
    batch = live_batch(state)
    if batch.status != "failed" or batch.batch_end is None or load_date(batch.workflow, batch.batch_end) < since:
        return None
    text = f"{wait.workflow}: batch {batch.batch_id} failed at {batch.batch_end} UTC"
    return Verdict(state="failed", code=VerdictCode.FAILED, batch_id=batch.batch_id, text=text)


def not_yet(state: Snapshot, wait: Wait, wanted: Collection[str], since: datetime) -> Verdict:
    """Return the verdict on a wait whose success has not come.

    :param since: from when on a success counts; naive UTC.
    """
    name = wait.workflow
    if (verdict := never_done(wait, wanted, state.jobs)) is not None:
        return verdict
    if state.live_id is None:
        return Verdict(state="waiting", code=VerdictCode.NEVER_OPENED, text=f"{name}: no batch was opened yet")
    if (verdict := failure(state, wait, since)) is not None:
        return verdict
    batch = live_batch(state)
    code, what = latest(batch)
    if batch.status == "success" and wait.is_for_earlier_day(batch.record, state.config.timezone):
        code = VerdictCode.RERUN_OF_EARLIER_DAY
        what += f", and re-ran a run of an earlier day than {wait.day}"
    elif batch.status == "success" and wait.is_part_of_run(batch.record):
        code = VerdictCode.SLICES_LEFT
        what += ", and more slices follow"
    # For `within`, this moment changes all the time, and the log gets only sentences that changed.
    is_fixed = since != datetime.min and wait.scope != "within"
    counts = f"; a success counts from {format_date(since)} UTC on" if is_fixed else ""
    open_jobs = [job for job in wanted if status_of(name, job, state.jobs[job]) != "success"]
    of_jobs = f" (jobs {', '.join(open_jobs)})" if wait.jobs and open_jobs else ""
    return Verdict(state="waiting", code=code, text=f"{name}: {what}{of_jobs}{counts}")


def latest(batch: Batch) -> tuple[VerdictCode, str]:
    """Return what became of the latest batch, as a code and in words."""
    return {
        "open": (VerdictCode.BATCH_OPEN, f"batch {batch.batch_id} is open since {batch.started} UTC"),
        "failed": (
            VerdictCode.BATCH_FAILED,
            f"batch {batch.batch_id} failed at {batch.batch_end} UTC; waiting for a success",
        ),
        "new": (VerdictCode.WINDOW_SET, "its window was set, and no batch was opened since"),
        "success": (
            VerdictCode.SUCCESS_TOO_OLD,
            f"its last success, batch {batch.batch_id}, was at {batch.batch_end} UTC",
        ),
    }[batch.status]


def load_date(key: str, text: str) -> datetime:
    """Read a date of a stored batch.

    :raises StateError: if it is none.
    """
    try:
        return parse_date(text)
    except WindowError as error:
        raise StateError(f"Redis hash {key!r}: {error}") from error
