# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The jobs of one run in the simulation: each starts when those before it have ended, and its slots are free."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from batchy_provider.plan.airflow_facts import RunFacts, TaskFacts
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.simulated_run import SimulatedRun
from batchy_provider.plan.task_slots import Slots, SlotsOfJobs

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers


class JobWork:
    """The jobs of one run that have not ended.

    :param run: its end is known when the last job has ended; it is unknown if a job needs a slot that nobody knows of.
    :param each: the workflow. The history of its jobs is known.
    :param begin: when its first jobs can start, for each draw.
    :param seconds: job → how long it takes, for each draw.
    :param slots: job → the slots that it needs.
    :param held: the jobs that run already, and have their slots.
    :param not_before: job → when it can start, if not at `begin`.
    """

    def __init__(
        self,
        run: SimulatedRun,
        each: PlanInput,
        begin: Numbers,
        seconds: Mapping[str, Numbers],
        slots: SlotsOfJobs,
        *,
        held: Collection[str] = (),
        not_before: Mapping[str, Numbers] | None = None,
    ) -> None:
        assert each.history is not None
        self.run = run
        self._begin = begin
        self._seconds = seconds
        self._slots = slots
        self._not_before = not_before or {}
        history = each.history
        if len(seconds) == len(history.follows):
            self._before, self._after = history.follows, history.followed_by
        else:
            self._before = {job: [other for other in history.follows[job] if other in seconds] for job in seconds}
            self._after = {
                job: [other for other in after if other in seconds] for job, after in history.followed_by.items()
            }
        self._missing = {job: len(before) for job, before in self._before.items()}
        self._new = [job for job, missing in self._missing.items() if not missing and job not in held]
        self._ends: dict[str, Numbers] = {}
        for job in held:
            end = begin + seconds[job]
            for needed in slots.get(job, ()):
                needed.take(begin, end)
            self.end_job(job, end)

    @property
    def is_over(self) -> bool:
        """Whether all jobs have ended."""
        return len(self._ends) == len(self._seconds)

    @property
    def end(self) -> Numbers:
        """When the last job has ended, for each draw."""
        import numpy as np

        found: Numbers = np.maximum.reduce(list(self._ends.values()))
        return found

    def ready(self) -> list[tuple[str, Numbers]]:
        """Return the jobs that can start, and when; each once."""
        if not self._new:
            return []
        new, self._new = self._new, []
        return [(job, self._start(job)) for job in new]

    def _start(self, job: str) -> Numbers:
        import numpy as np

        before = self._before[job]
        moments = [self._ends[other] for other in before] if before else [self._begin]
        if job in self._not_before:
            moments.append(self._not_before[job])
        return moments[0] if len(moments) == 1 else np.maximum.reduce(moments)

    def slots(self, job: str) -> tuple[Slots, ...]:
        """Return the slots that a job needs."""
        return self._slots.get(job, ())

    def seconds(self, job: str) -> Numbers:
        """Return how long a job takes, for each draw."""
        return self._seconds[job]

    def end_job(self, job: str, end: Numbers) -> None:
        """Say when a job has ended, for each draw."""
        self._ends[job] = end
        for later in self._after.get(job, ()):
            self._missing[later] -= 1
            if not self._missing[later]:
                self._new.append(later)


def job_seconds(each: PlanInput, took: Numbers, rng: np.random.Generator) -> dict[str, Numbers]:
    """Return job → how long it takes, for each draw, with the time that tries that fail cost.

    :param took: how long the run takes that has all the slots it needs.
    """
    import numpy as np

    assert each.history is not None
    share = took / max(each.history.usual, 1e-9)
    usual = np.array(list(each.history.job_seconds.values()))
    found = dict(zip(each.history.job_seconds, share * usual[:, None], strict=True))
    for job in found:
        if job in each.retries:
            found[job] = found[job] + lost_seconds(each, job, rng, len(took))
    return found


def lost_seconds(each: PlanInput, job: str, rng: np.random.Generator, draws: int) -> Numbers | float:
    """Return how long a job takes longer because of tries that fail, for each draw, by its latest executions."""
    import numpy as np

    known = each.retries.get(job, ())
    if not any(known):
        return 0.0
    # Each of them as often as the others, so that few draws show a chance as it is.
    shares = (np.arange(draws) * len(known)) // draws
    return rng.permutation(np.asarray(known)[shares])


def unfinished_jobs(each: PlanInput, run: RunFacts) -> tuple[dict[str, TaskFacts], set[str]]:
    """Return the jobs of a run that are at work, and those that follow them, of the jobs that take time."""
    assert each.history is not None
    # Of a mapped job, the instance that is the least far.
    order = ("up_for_retry", "scheduled", "queued")
    active: dict[str, TaskFacts] = {}
    for task in sorted(run.tasks, key=lambda task: task.state in order, reverse=True):
        if task.role == "job" and task.task_id in each.history.follows:
            active.setdefault(task.task_id, task)
    later: set[str] = set()
    for job, before in each.history.follows.items():
        if job not in active and any(other in active or other in later for other in before):
            later.add(job)
    return active, later
