# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Put the jobs of a configuration and their state together, when a batch is opened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from batchy_provider.core.alike import Grouped, different, for_each, for_each_pair, grouped
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.job_settings import beginning
from batchy_provider.core.job_state import Fields, JobState
from batchy_provider.core.ledger import last_contiguous
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.core.windows import position_or_none
from batchy_provider.exceptions import WindowError


def merged_jobs(state: Snapshot, config: WorkflowConfig | None) -> Mapping[str, JobState]:
    """Return the jobs with their current state and the params of the configuration.

    A known job keeps its state and takes its params from the configuration; a new one starts as the
    configuration has it, ``new`` if that says nothing; one that the configuration does not name is left out.
    A job that was left out for some time, and is back, goes on where its data ends.
    """
    if config is None:
        return state.jobs
    stored = grouped(state.jobs)
    known: Mapping[str, JobState | None] = stored
    if config.jobs.keys() != stored.keys():
        known = {name: stored.get(name) for name in config.jobs}
    given = _params(config.jobs) if len(different(known)) < len(known) else config.jobs
    merged = for_each_pair(given, known, _merged)
    is_settled = for_each(state.by_state, lambda _, job: _is_settled(job))
    if known is stored and all(is_settled.different):
        return merged
    return {
        name: job if is_settled.get(name) else _with_beginning(state, name, known[name], job)
        for name, job in merged.items()
    }


def _merged(given: Fields, known: JobState | None) -> JobState:
    return JobState.new(given) if known is None else known.configured(given)


def _is_settled(job: JobState) -> bool:
    """Tell whether its state alone says where the next window of a job starts."""
    return (job.status == "success" and not job.is_empty) or job.from_date is None


def _with_beginning(state: Snapshot, name: str, known: JobState | None, job: JobState) -> JobState:
    return _returned(state, name, job) if known is None else _without_old_beginning(state, name, known, job)


_PLAIN = frozenset({str, int, bool, type(None)})


def _params(jobs: Mapping[str, Fields]) -> Grouped[Fields]:
    """Return the params of jobs. Those that are written alike are in one group."""
    last: Fields | None = None
    names, kinds, text = list[str](), list[type](), ""

    def written(params: Fields) -> str:
        nonlocal last, names, kinds, text
        # To compare with the job before takes less time than to write the text. 1 and true are equal, and so are 0.0
        # and -0.0, and only their text tells them apart.
        if last is None or params != last or list(params) != names or list(map(type, params.values())) != kinds:
            names, kinds, text = list(params), list(map(type, params.values())), repr(params)
            last = params if _PLAIN.issuperset(kinds) else None
        return text

    return grouped(jobs, written)


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
    before = position_or_none(state.workflow, name, known.without_window(), state.config)
    return job.without_window() if before is not None and _is_same(known.from_date, before.start) else job


def _is_same(text: str, moment: datetime) -> bool:
    """Tell whether a stored date, which another program may have written in its own way, is this moment."""
    try:
        return parse_date(text) == moment
    except WindowError:
        return False
