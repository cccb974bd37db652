# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long the past runs of a workflow took: its jobs' durations, put together along the job graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.duration_table import DurationTable
from batchy_provider.core.values import JobDuration

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

Upstream = Mapping[str, Collection[str]]
"""Job → the jobs that it follows."""


@dataclass(frozen=True)
class RunHistory:
    """The past successful runs of a workflow, oldest first.

    A server keeps it for many plans, so what follows from it is worked out once.

    :param starts: when each began, Unix seconds.
    :param seconds: how long each took.
    :param windows: length of the window of each, in seconds; 0 for an empty one.
    :param path: the jobs on the longest way through the job graph, in order, of a usual run. Empty where nobody
        measured the single jobs.
    :param job_seconds: job → how long it usually takes.
    :param before: job → how long it usually takes until this job begins.
    :param after: job → how long it usually takes from its end until the end of the run.
    :param follows: job → the jobs that it follows, of those that take time; each job after those.
    """

    starts: Numbers
    seconds: Numbers
    windows: Numbers
    path: tuple[str, ...]
    job_seconds: Mapping[str, float]
    before: Mapping[str, float]
    after: Mapping[str, float]
    follows: Mapping[str, Collection[str]] = field(default_factory=dict)

    @cached_property
    def usual(self) -> float:
        """How long a usual run takes, by its jobs; 0 if nobody measured the single jobs."""
        return max((self.before[job] + took for job, took in self.job_seconds.items()), default=0.0)

    @cached_property
    def slowest(self) -> str | None:
        """The job that takes most of the time of a usual run; None if nobody measured the single jobs."""
        return max(self.path, key=lambda job: self.job_seconds[job], default=None)

    @cached_property
    def followed_by(self) -> Mapping[str, Sequence[str]]:
        """Job → the jobs that follow it, of those that take time; without the jobs that nothing follows."""
        found: dict[str, list[str]] = {}
        for job, before in self.follows.items():
            for other in before:
                found.setdefault(other, []).append(job)
        return found

    @cached_property
    def most_at_once(self) -> int:
        """How many jobs run at the same time in a usual run."""
        return self.at_once(self.follows)

    def at_once(self, jobs: Collection[str]) -> int:
        """Return how many of some jobs run at the same time in a usual run."""
        # A little shorter, since the next job begins when this one has ended.
        ends = sorted([self.before[job] + self.job_seconds[job] * (1 - 1e-9) for job in jobs])
        most = ended = 0
        for begun, moment in enumerate(sorted([self.before[job] for job in jobs]), 1):
            while ended < len(ends) and ends[ended] <= moment:
                ended += 1
            most = max(most, begun - ended)
        return most


def run_history(
    durations: Mapping[str, Sequence[JobDuration]], upstream: Upstream | None = None, left_out: Collection[str] = ()
) -> RunHistory | None:
    """Put the durations of jobs together to those of runs; see `history_of`.

    :param durations: job → its latest successful executions.
    """
    known = {job: some for job, some in durations.items() if some}
    return history_of(_table(known), upstream, left_out) if known else None


def history_of(
    table: DurationTable, upstream: Upstream | None = None, left_out: Collection[str] = ()
) -> RunHistory | None:
    """Put the durations of jobs together to those of runs.

    A job that has no duration in one of the runs counts there as it usually does. One that never had a duration takes
    no time: it is always skipped, or new.

    :param upstream: the job graph; None without one: then all jobs run at the same time.
    :param left_out: jobs that do not run any more.
    :returns: None if no run is known.
    """
    import numpy as np

    graph = dict.fromkeys(table.jobs, ()) if upstream is None else upstream
    column = {job: number for number, job in enumerate(table.jobs)}
    jobs = [job for job in _sorted(graph) if job in column and job not in left_out]
    if not jobs:
        return None
    seconds = table.seconds[:, [column[job] for job in jobs]]
    is_there = ~np.isnan(seconds)
    starts, windows = table.starts, table.windows
    if not (rows := is_there.any(axis=1)).all():
        # Other jobs alone have run in these.
        starts, windows, seconds, is_there = (each[rows] for each in (starts, windows, seconds, is_there))
    # Where nobody measured the jobs, each counts as long as the whole batch was open.
    longest, shortest = (each(seconds, axis=1) for each in (np.nanmax, np.nanmin))
    whole = (is_there.sum(axis=1) > 1) & (longest == shortest)
    usual = dict(zip(jobs, _usual(seconds[~whole]), strict=True))
    filled = np.where(is_there, seconds, list(usual.values()))
    totals = np.where(whole, longest, _longest(filled, jobs, graph))
    measured = not whole.all()
    path, before, after = _ways(jobs, usual, graph) if measured else ((), {}, {})
    return RunHistory(
        starts=starts,
        seconds=totals,
        windows=windows,
        path=path,
        job_seconds=usual if measured else {},
        before=before,
        after=after,
        follows={job: _known_before(job, usual, graph) for job in jobs} if measured else {},
    )


def _table(durations: Mapping[str, Sequence[JobDuration]]) -> DurationTable:
    import numpy as np

    moments = sorted({each.start for some in durations.values() for each in some})
    place = {moment: index for index, moment in enumerate(moments)}
    table = np.full((len(moments), len(durations)), np.nan)
    windows = np.zeros(len(moments))
    for column, some in enumerate(durations.values()):
        rows = [place[each.start] for each in some]
        table[rows, column] = [each.seconds for each in some]
        windows[rows] = np.maximum(windows[rows], [each.window_seconds for each in some])
    starts = np.array([unix_seconds(moment) for moment in moments])
    return DurationTable(tuple(durations), starts, table, windows)


def _usual(table: Numbers) -> list[float]:
    """Return how long each job usually takes; nothing for one that nobody measured."""
    import numpy as np

    if len(table) and not np.isnan(table).any():
        return [float(each) for each in np.median(table, axis=0)]
    columns = (column[~np.isnan(column)] for column in table.T)
    return [float(np.median(column)) if len(column) else 0.0 for column in columns]


def _sorted(graph: Upstream) -> list[str]:
    """Return the jobs, each after those that it follows. A job in a cycle, which no valid file has, is left out."""
    left = {job: {each for each in others if each in graph} for job, others in graph.items()}
    found: list[str] = []
    while ready := [job for job, others in left.items() if not others & left.keys()]:
        found += ready
        for job in ready:
            del left[job]
    return found


def _known_before(job: str, jobs: Collection[str], graph: Upstream) -> set[str]:
    """Return the jobs with a duration that a job follows: directly, or through jobs that take no time."""
    found: set[str] = set()
    queue, seen = list(graph[job]), {job}
    for name in queue:
        if name in seen or name not in graph:
            continue
        seen.add(name)
        if name in jobs:
            found.add(name)
        else:
            queue += graph[name]
    return found


def _longest(table: Numbers, jobs: Sequence[str], graph: Upstream) -> Numbers:
    """Return the length of the longest way through the graph, for each run."""
    import numpy as np

    place = {job: index for index, job in enumerate(jobs)}
    ends: list[Numbers] = []
    for index, job in enumerate(jobs):
        before = [ends[place[other]] for other in _known_before(job, place, graph)]
        end = table[:, index]
        if before:
            end = end + (before[0] if len(before) == 1 else np.maximum.reduce(before))
        ends.append(end)
    longest: Numbers = np.maximum.reduce(ends)
    return longest


def _ways(
    jobs: Sequence[str], usual: Mapping[str, float], graph: Upstream
) -> tuple[tuple[str, ...], dict[str, float], dict[str, float]]:
    """Return the longest way of a usual run, and how long it takes before and after each job."""
    before: dict[str, float] = {}
    came_from: dict[str, str | None] = {}
    after = dict.fromkeys(jobs, 0.0)
    known = {job: _known_before(job, usual, graph) for job in jobs}
    for job in jobs:
        last = max(known[job], key=lambda other: before[other] + usual[other], default=None)
        came_from[job] = last
        before[job] = 0.0 if last is None else before[last] + usual[last]
    for job in reversed(jobs):
        for other in known[job]:
            after[other] = max(after[other], after[job] + usual[job])
    at: str | None = max(jobs, key=lambda job: before[job] + usual[job])
    path: list[str] = []
    while at is not None:
        path.append(at)
        at = came_from[at]
    return tuple(reversed(path)), before, after
