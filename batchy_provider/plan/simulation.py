# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Simulate the next hours of all workflows: when each run starts and ends, in some hundred draws.

A run starts when it is due, when what it waits for has succeeded, and when an earlier run of the workflow leaves it a
place. How long it takes comes from its past runs; how often it fails, too. Where Airflow's slots are few, each job
waits for one. What is not known stays unknown: the end of a run without enough past runs, and of all runs that wait
for it.
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.plan.airflow_facts import AirflowFacts
from batchy_provider.plan.expected_runs import ExpectedRun, PlanInput, RunState
from batchy_provider.plan.job_work import JobWork, job_seconds
from batchy_provider.plan.remaining_time import run_on, seconds_lost
from batchy_provider.plan.run_list import RunLists
from batchy_provider.plan.run_start import StartSearch
from batchy_provider.plan.simulated_run import SimulatedRun, expected_run, middle, middles, own_step
from batchy_provider.plan.task_slots import Slots, ends_in_order, limits_of

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers

DRAWS = 300
_MOST_SLICES = 50
_MOST_OTHERS = 50

Walk = Generator[SimulatedRun, None, None]
"""The runs of one workflow, one after the other. It yields each run that must be settled before it goes on."""


def simulate(
    inputs: Mapping[str, PlanInput],
    now: datetime,
    hours: float,
    *,
    airflow: AirflowFacts | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[ExpectedRun]:
    """Return the expected runs of the next hours, by their due times.

    The same arguments give the same result.

    :param inputs: the workflows; those that they need too.
    :param now: naive UTC.
    :param airflow: how many slots there are; None if no Airflow can be asked: then none is missing, but
        for those that a file limits.
    :param draws: how many draws of each run.
    :param seed: of the draws.
    """
    simulation = _Simulation(inputs, now, hours, airflow, draws, seed)
    simulation.play()
    until = simulation.at + hours * 3600
    found = [
        expected_run(inputs[name].facts, run, simulation.at, until)
        for name, runs in simulation.runs.items()
        for run in runs
    ]
    return sorted(found, key=lambda run: (run.due or run.start or datetime.max, run.workflow))


def _in_order(inputs: Mapping[str, PlanInput]) -> list[str]:
    """Return the workflows, each after those that it needs. A cycle, which no valid file has, is cut."""
    needed = {
        name: {need.workflow for need in each.facts.needs if need.workflow in inputs} for name, each in inputs.items()
    }
    while True:
        sorter = TopologicalSorter(needed)
        try:
            return list(sorter.static_order())
        except ValueError as error:  # `CycleError`: its second argument is the way around
            first, second, *_ = error.args[1]
            needed[second].discard(first)


class _Job(NamedTuple):
    """A job that is ready. The one that is usually ready first comes first.

    :param middle: when it is usually ready.
    :param number: of several, the first one that was added comes first.
    :param ready: when it is ready, for each draw.
    """

    middle: float
    number: int
    work: JobWork
    name: str
    ready: Numbers
    slots: tuple[Slots, ...]


class _Simulation:
    """The runs of all workflows.

    :param runs: workflow → its runs, in order. Each workflow comes after those that it needs.
    """

    def __init__(
        self,
        inputs: Mapping[str, PlanInput],
        now: datetime,
        hours: float,
        airflow: AirflowFacts | None,
        draws: int,
        seed: int,
    ) -> None:
        self.inputs = inputs
        self.at = unix_seconds(now)
        self.seed = seed
        self.runs: dict[str, list[SimulatedRun]] = {}
        lists = RunLists(inputs, now, now + timedelta(hours=hours))
        for name in _in_order(inputs):
            self.runs[name] = lists.of(inputs[name], self.runs)
        counts = {name: len(runs) for name, runs in self.runs.items()}
        limits = limits_of(inputs, counts, airflow)
        self.draws = limits.draws(counts, draws)
        self._slots = limits.slots(self.draws)
        self._starts = StartSearch(inputs, self.runs, now, self.draws)
        self._ready: deque[Walk] = deque()
        self._blocked: dict[int, list[Walk]] = {}
        self._jobs: list[_Job] = []
        self._numbers = count()

    def play(self) -> None:
        """Work out all starts and ends. Jobs take their slots in the order in which they are ready."""
        self._ready += [self._walk(name) for name in self.runs]
        while self._ready or self._jobs:
            while self._ready:
                self._go_on(self._ready.popleft())
            if self._jobs:
                self._execute(self._next_jobs())

    def _go_on(self, walk: Walk) -> None:
        for needed in walk:
            if not needed.is_settled:
                self._blocked.setdefault(id(needed), []).append(walk)
                return

    def _settle(self, run: SimulatedRun) -> None:
        run.is_settled = True
        self._ready += self._blocked.pop(id(run), ())

    def _walk(self, name: str) -> Walk:
        import numpy as np

        each = self.inputs[name]
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        last = _loaded_until(each)
        earlier: list[SimulatedRun] = []
        for run in self.runs[name]:
            run.own = own_step(each)
            if run.is_stuck:
                run.start = run.end = np.full(self.draws, np.inf)
                self._settle(run)
                continue
            if run.state is RunState.RUNNING:
                self._run_on(each, run, rng)
            else:
                window = yield from self._starts.find(each, run, earlier, last)
                self._end(each, run, rng, window if run.window is None else run.window)
            earlier.append(run)
            if run.start is not None and not run.is_partial and np.isfinite(opened := middle(run.start)):
                last = max(last or 0.0, opened)

    def _run_on(self, each: PlanInput, run: SimulatedRun, rng: np.random.Generator) -> None:
        slots = self._slots.get(each.facts.workflow, {})
        work = run_on(each, run, rng, self.at, self.draws, slots)
        self._let_fail(each, run, rng)
        self._begin(run, work)

    def _end(self, each: PlanInput, run: SimulatedRun, rng: np.random.Generator, window: float | None) -> None:
        """Find out when a run ends, once its start is known.

        :param window: length of its window in seconds; None if it is not known.
        """
        work = None
        if run.start is not None and each.model is not None:
            took = self._whole(each, run, rng, window)
            slots = self._slots.get(each.facts.workflow)
            if slots is None:
                run.end = run.start + took + seconds_lost(each, rng, self.draws)
            else:
                work = JobWork(run, each, run.start, job_seconds(each, took, rng), slots)
            self._let_fail(each, run, rng)
        self._begin(run, work)

    def _whole(self, each: PlanInput, run: SimulatedRun, rng: np.random.Generator, window: float | None) -> Numbers:
        """Return how long a run takes that has all the slots it needs, with all the slices that follow it."""
        assert each.model is not None
        assert run.start is not None
        most = None if each.slice_length is None else each.slice_length.total_seconds()
        slices = 1 if most is None or window is None else max(1, -int(-window // most))
        at = run.due if run.due is not None else _finite(float(run.start[0]), self.at)
        some = min(slices, _MOST_SLICES)
        length = window if slices == 1 else most
        took = each.model.draws(rng, self.draws, start=at, window_seconds=length)
        for _ in range(some - 1):
            took = took + each.model.draws(rng, self.draws, start=at, window_seconds=length)
        found: Numbers = took * (slices / some)
        return found

    def _let_fail(self, each: PlanInput, run: SimulatedRun, rng: np.random.Generator) -> None:
        """Let a run fail as often as its latest batches have."""
        import numpy as np

        if each.failure_chance:
            own = rng.permutation(np.arange(self.draws) < round(each.failure_chance * self.draws))
            run.fails = own if run.fails is None else own | run.fails

    # -- jobs that wait for slots --------------------------------------------------------------------------------

    def _begin(self, run: SimulatedRun, work: JobWork | None) -> None:
        if work is None:
            self._settle(run)
        else:
            self._push([(work, *each) for each in work.ready()])
            self._end_if_over(work)

    def _push(self, found: Sequence[tuple[JobWork, str, Numbers]]) -> None:
        """Add jobs that are ready, in this order."""
        if found:
            # All medians in one call: there may be 20,000 jobs.
            for at, (work, job, ready) in zip(middles([ready for _, _, ready in found]), found, strict=True):
                heapq.heappush(self._jobs, _Job(at, next(self._numbers), work, job, ready, work.slots(job)))

    def _end_if_over(self, work: JobWork) -> None:
        if work.is_over:
            work.run.end = work.end
            self._settle(work.run)

    def _next_jobs(self) -> list[_Job]:
        """Take the job that is usually ready first, with those that need the same slots and may be ready before it."""
        first = heapq.heappop(self._jobs)
        found, others = [first], list[_Job]()
        latest = float(first.ready.max())
        while self._jobs and self._jobs[0].middle <= latest and len(others) < _MOST_OTHERS:
            job = heapq.heappop(self._jobs)
            (found if job.slots == first.slots else others).append(job)
        for job in others:
            heapq.heappush(self._jobs, job)
        return found

    def _execute(self, jobs: Sequence[_Job]) -> None:
        """Let jobs that need the same slots run as soon as these are free."""
        needed = jobs[0].slots
        if any(slots.is_closed for slots in needed):
            for job in jobs:
                if not job.work.run.is_settled:
                    self._settle(job.work.run)  # its end stays unknown
            return
        seconds = [job.work.seconds(job.name) for job in jobs]
        ends = ends_in_order(needed, [job.ready for job in jobs], seconds)
        ready: list[tuple[JobWork, str, Numbers]] = []
        for job, end in zip(jobs, ends, strict=True):
            job.work.end_job(job.name, end)
            ready += [(job.work, *each) for each in job.work.ready()]
            self._end_if_over(job.work)
        self._push(ready)


def _finite(value: float, other: float) -> float:
    return value if value < float("inf") else other


def _loaded_until(each: PlanInput) -> float | None:
    """Return up to where the data of a workflow is loaded, Unix seconds; None if that is not known."""
    state = each.facts.readable
    batch = state.batch if state is not None else None
    if batch is None:
        return None
    date = batch.to_date if batch.status in ("success", "open") else batch.from_date
    return None if date is None else unix_seconds(parse_date(date))
