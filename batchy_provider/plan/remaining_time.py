# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say how much longer a run takes that has started: by what its jobs report, or by how long such runs take."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.job_work import JobWork, job_seconds, lost_seconds, unfinished_jobs
from batchy_provider.plan.simulated_run import SimulatedRun, own_step
from batchy_provider.plan.task_slots import SlotsOfJobs

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers


def run_on(
    each: PlanInput, run: SimulatedRun, rng: np.random.Generator, at: float, draws: int, slots: SlotsOfJobs
) -> JobWork | None:
    """Find out when a run ends that has started.

    :param at: now, Unix seconds.
    :param draws: how many.
    :param slots: job → the slots that it needs.
    :returns: its jobs that have not ended, where Airflow knows them: they decide when it ends.
    """
    import numpy as np

    state = each.facts.readable
    assert state is not None
    batch = state.batch
    assert batch is not None
    assert batch.started is not None
    started = unix_seconds(parse_date(batch.started))
    run.own = own_step(each)
    run.start = np.full(draws, started)
    if each.model is None:
        return None
    window = window_length(batch.from_date, batch.to_date)
    whole = each.model.draws(rng, draws, start=started, window_seconds=window)
    if (work := _by_tasks(each, run, whole, rng, at, slots)) is not None:
        return work
    elapsed = max(0.0, at - started)
    reported = _by_progress(each, elapsed, rng, at, draws)
    if reported is None:
        reported = each.model.remaining(rng, whole, elapsed) + seconds_lost(each, rng, draws)
    run.end = at + reported
    return None


def seconds_lost(each: PlanInput, rng: np.random.Generator, draws: int) -> Numbers | float:
    """Return how much longer a run takes because of tries that fail."""
    import numpy as np

    if each.history is None:
        return 0.0
    found: Numbers | float = 0.0
    for job in each.retries.keys() & each.history.job_seconds.keys():
        # Another job may take longer beside it, and then the run is not late.
        history = each.history
        spare = history.usual - history.before[job] - history.job_seconds[job] - history.after[job]
        found = found + np.maximum(0.0, lost_seconds(each, job, rng, draws) - spare)
    return found


def _by_tasks(
    each: PlanInput, run: SimulatedRun, whole: Numbers, rng: np.random.Generator, at: float, slots: SlotsOfJobs
) -> JobWork | None:
    """Return the jobs of a run that have not ended; None if it is not known which these are.

    :param whole: how long the run takes as a whole, for each draw.
    """
    import numpy as np

    assert each.model is not None
    if run.facts is None or each.history is None or not each.history.follows:
        return None
    active, later = unfinished_jobs(each, run.facts)
    if not active:
        return None
    seconds = {job: some for job, some in job_seconds(each, whole, rng).items() if job in active or job in later}
    begin = np.full(len(whole), at)
    held, not_before = [], {}
    for job, task in active.items():
        if task.state in ("running", "restarting", "deferred"):
            held.append(job)
            since = at if task.since is None else unix_seconds(task.since)
            seconds[job] = _rest_of_job(each, job, seconds[job], max(0.0, at - since), rng, at)
        elif task.retry_at is not None:
            not_before[job] = np.full(len(whole), max(at, unix_seconds(task.retry_at)))
    return JobWork(run, each, begin, seconds, slots, held=held, not_before=not_before)


def _rest_of_job(
    each: PlanInput, job: str, took: Numbers, elapsed: float, rng: np.random.Generator, at: float
) -> Numbers:
    """Return how much longer a job takes that runs."""
    import numpy as np

    assert each.model is not None
    report = _latest_report(each, {job})
    if report is None:
        return each.model.remaining(rng, took, elapsed)
    silent = _silence(report, at)
    left = _left(report, max(elapsed - silent, 0.0), silent)
    return left * np.exp(rng.standard_normal(len(took)) * _spread(each) * (1 - report.share))


@dataclass(frozen=True, slots=True)
class _Report:
    """What a job has reported last.

    :param at: when, as it is stored.
    :param share: how much of its work it has done, from 0 to 1.
    """

    job: str
    at: str
    share: float


def _latest_report(each: PlanInput, jobs: Collection[str] | None = None) -> _Report | None:
    """Return the latest report of the batch that is open; None if no job reports anything of use.

    :param jobs: only of these; None for all.
    """
    state = each.facts.readable
    if state is None or state.batch is None:
        return None
    found = []
    for job, report in state.progress.items():
        share = report.get("progress")
        if report.get("batch_id") != state.batch.batch_id or not isinstance(share, (int, float)):
            continue
        if 0.05 <= share <= 1 and (jobs is None or job in jobs):
            found.append(_Report(job, str(report.get("at")), float(share)))
    return max(found, key=lambda report: report.at, default=None)


def _silence(report: _Report, now: float) -> float:
    """Return for how long a job has not reported again."""
    try:
        return max(0.0, now - unix_seconds(parse_date(report.at)))
    except BatchyError:
        return 0.0


def _left(report: _Report, ran: float, silent: float) -> float:
    """Return how much longer a job takes, by what it has reported after it ran for some time."""
    return max(0.0, ran * (1 - report.share) / report.share - silent)


def _spread(each: PlanInput) -> float:
    return 0.05 if each.model is None else max(each.model.spread, 0.05)


def _by_progress(each: PlanInput, elapsed: float, rng: np.random.Generator, now: float, draws: int) -> Numbers | None:
    """Return how much longer a run takes by what its job reports; None if no job reports anything of use."""
    import numpy as np

    history, report = each.history, _latest_report(each)
    if report is None:
        return None
    before = history.before.get(report.job, 0.0) if history is not None else 0.0
    after = history.after.get(report.job, 0.0) if history is not None else 0.0
    silent = _silence(report, now)
    left = _left(report, max(elapsed - silent - before, 0.0), silent)
    # The report says more the further it is.
    found: Numbers = left * np.exp(rng.standard_normal(draws) * _spread(each) * (1 - report.share))
    return found + after * np.exp(rng.standard_normal(draws) * _spread(each))


def window_length(start: str | None, end: str | None) -> float | None:
    """Return the length of a window in seconds; None if an end of it is not known."""
    if start is None or end is None:
        return None
    return max(0.0, (parse_date(end) - parse_date(start)).total_seconds())
