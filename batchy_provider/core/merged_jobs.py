# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Put the jobs of a configuration and their state together, when a batch is opened."""

from __future__ import annotations

from datetime import datetime

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.job_settings import beginning
from batchy_provider.core.job_state import JobState
from batchy_provider.core.ledger import last_contiguous
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.core.windows import position_or_none
from batchy_provider.exceptions import WindowError


def merged_jobs(state: Snapshot, config: WorkflowConfig | None) -> dict[str, JobState]:
    """Return the jobs with their current state and the params of the configuration.

    A known job keeps its state and takes its params from the configuration; a new one starts as the
    configuration has it, ``new`` if that says nothing; one that the configuration does not name is left out.
    A job that was left out for some time, and is back, goes on where its data ends.
    """
    if config is None:
        return dict(state.jobs)
    jobs: dict[str, JobState] = {}
    made: dict[tuple[int, str], tuple[JobState, bool]] = {}
    some_alike = len(set(map(id, state.jobs.values()))) < len(state.jobs)
    for name, given in config.jobs.items():
        known = state.jobs.get(name)
        if known is None:
            jobs[name] = _returned(state, name, JobState.new(given))
            continue
        # Jobs that are alike stay one value, see `for_each`. Only their text tells 1 and true apart.
        key = (id(known), repr(given) if some_alike else "")
        if key not in made:
            has_loaded = known.status == "success" and not known.is_empty
            made[key] = (known.configured(given), has_loaded or known.from_date is None)
        job, is_settled = made[key]
        jobs[name] = job if is_settled else _without_old_beginning(state, name, known, job)
    return jobs


def _returned(state: Snapshot, name: str, job: JobState) -> JobState:
    """Return a job that the live state does not know, where the ledger says that it has loaded before."""
    if job.status != "new" or job.from_date is not None:
        return job
    last = last_contiguous(state.ledger.get(name, ()), beginning(state.workflow, name, job))
    return job if last is None else job.has_loaded(format_date(last.start), format_date(last.end))


def _without_old_beginning(state: Snapshot, name: str, known: JobState, job: JobState) -> JobState:
    """Return a job that has perhaps never loaded anything; if so, to begin where its configuration says now.

    Its window so far began where the configuration said before. A window that a person has set is kept.
    """
    if known.from_date is None or name in state.ledger:
        return job
    before = position_or_none(state.workflow, name, known.without_window(), state.config.timezone)
    return job.without_window() if before is not None and _is_same(known.from_date, before.start) else job


def _is_same(text: str, moment: datetime) -> bool:
    """Tell whether a stored date, which another program may have written in its own way, is this moment."""
    try:
        return parse_date(text) == moment
    except WindowError:
        return False
