# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say what a person should know about where the windows of an opening start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from batchy_provider.core.dates import BEGINNING, format_date
from batchy_provider.core.job_state import INITIAL_DATE, JobState, by_state
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.window_shape import WindowShape

_UNCUT = " at once: max does not cut it, since nobody knows where the data begins"


def first_windows(
    state: Snapshot, before: Mapping[str, JobState], opened: Collection[str], shape: WindowShape | None
) -> list[str]:
    """Return a sentence on the jobs that begin with all data there is, and one on those that have come back.

    :param state: the workflow before the opening.
    :param before: job → its state before the opening, with its configuration.
    :param opened: the jobs that the batch opens.
    :param shape: of the windows; None without one.
    """
    notices = []
    begins = any(job.from_date is None for job in by_state(before).different)
    if begins and (names := [name for name in opened if _takes_everything(before[name])]):
        # Beside a job whose beginning is known, the first window ends with the slice of that job.
        uncut = shape is not None and shape.max is not None and len(names) == len(opened)
        notices.append(
            f"{_subject(names, 'has', 'have')} no {INITIAL_DATE}, so the first window starts on {BEGINNING:%Y-%m-%d} "
            f"and takes everything{_UNCUT if uncut else ''}; for a later start, write {INITIAL_DATE} into the file "
            "before this batch succeeds"
        )
        notices += [_loaded_before(state, name) for name in names if state.ledger.get(name)]
    new = () if state.jobs.keys() >= before.keys() else opened
    if names := [name for name in new if name not in state.jobs and before[name].status == "success"]:
        ends = ", ".join(sorted({str(before[name].loaded_to) for name in names}))
        subject = _subject(names, "is", "are")
        notices.append(f"{subject} back: what was loaded before ends at {ends} UTC, and the window starts there")
    return notices


def _takes_everything(job: JobState) -> bool:
    return job.from_date is None and not job.params.get(INITIAL_DATE)


def _loaded_before(state: Snapshot, name: str) -> str:
    """Say that a job loads data again: it may have been out of the file, or has only been backfilled."""
    end = format_date(state.ledger[name][-1].end)
    return (
        f"job {name!r} has loaded data up to {end} UTC before, and this window has it too; to go on there, fail this "
        f"batch, and `batchy set-window {state.workflow} {end} --job {name}`"
    )


def _subject(names: Collection[str], verb: str, of_many: str) -> str:
    quoted = ", ".join(map(repr, names))
    return f"job {quoted} {verb}" if len(names) == 1 else f"jobs {quoted} {of_many}"
