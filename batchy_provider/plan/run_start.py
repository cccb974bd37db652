# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find out when a run of the simulation starts: by its due time, its waits, holds, and the runs before it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.plan.airflow_facts import ENDED
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.needed_success import NeededSuccess, needed_success
from batchy_provider.plan.simulated_run import SimulatedRun, Trigger, middle, moment_of
from batchy_provider.plan.why_facts import Dependency, Need

if TYPE_CHECKING:
    from batchy_provider.plan.run_history import Numbers
    from batchy_provider.plan.simulated_run import Flags

Questions = Generator[SimulatedRun, None, "_Ready"]
"""Yields each run that must be settled before it goes on."""


class _Ready:
    """When something that a run needs is there.

    :param at: for each draw; None if it is unknown.
    :param source: the run that brings it.
    :param fails: for each draw, whether the run fails with the one that it waits for; None if it never does.
    """

    __slots__ = ("at", "fails", "source")

    def __init__(self, at: Numbers | None, source: SimulatedRun | None = None, fails: Flags | None = None) -> None:
        self.at = at
        self.source = source
        self.fails = fails


class StartSearch:
    """Finds out when runs start.

    :param inputs: the workflows.
    :param runs: workflow → its runs. Each workflow comes after those that it needs; in a cycle, what comes later is
        unknown.
    :param now: naive UTC.
    :param draws: how many.
    """

    def __init__(
        self,
        inputs: Mapping[str, PlanInput],
        runs: Mapping[str, Sequence[SimulatedRun]],
        now: datetime,
        draws: int,
    ) -> None:
        self._inputs = inputs
        self._runs = runs
        self._place = {name: number for number, name in enumerate(runs)}
        self._now = now
        self._at = unix_seconds(now)
        self._draws = draws

    def find(
        self, each: PlanInput, run: SimulatedRun, earlier: Sequence[SimulatedRun], last: float | None
    ) -> Generator[SimulatedRun, None, float | None]:
        """Find out when a run starts. Yields each run that must be settled before it goes on.

        :param earlier: the runs of the same workflow before it.
        :param last: up to where the data is loaded before it.
        :returns: length of its window in seconds; None if it is not known.
        """
        import numpy as np

        floor = self._floor(each, run)
        known = bool(np.isfinite(floor))
        start = own_start = np.full(self._draws, floor)
        needed = [self._trigger(run, trigger) for trigger in run.triggers or ()]
        needed += [self._wait(each, run, need) for need in each.facts.needs if need.by is Dependency.WAIT_FOR]
        if run.comes_after is not None:
            needed.append(self._first_success([run.comes_after]))
        if len(earlier) >= each.max_active_runs:
            needed.append(self._end_of(earlier[-each.max_active_runs]))
        for questions in needed:
            found = yield from questions
            if found.at is None:
                known = False
                continue
            if found.source is not None and middle(found.at) > middle(start):
                run.path = found.source.whole_path
            start = np.maximum(start, found.at)
            if found.fails is not None:
                run.fails = found.fails if run.fails is None else found.fails | run.fails
        run.waits_for.sort()
        run.start = start if known else None
        opens = middle(start if known else own_start)
        return None if last is None or not np.isfinite(opens) else max(0.0, opens - last)

    def _floor(self, each: PlanInput, run: SimulatedRun) -> float:
        """Return before when a run does not start: it is not due, or the workflow is on hold."""
        floor = max(self._at, run.due or self._at)
        hold = each.facts.readable.hold if each.facts.readable is not None else None
        if hold is None or hold.is_over(self._now):
            return floor
        return max(floor, float("inf") if hold.until is None else unix_seconds(parse_date(hold.until)))

    def _end_of(self, earlier: SimulatedRun) -> Questions:
        yield earlier
        return _Ready(earlier.end, earlier)

    def _trigger(self, run: SimulatedRun, trigger: Trigger) -> Questions:
        """Say when another workflow has ended a batch, so that this run can start."""
        if trigger.is_there:
            return _Ready(_ever(self._draws))
        run.waits_for.append(trigger.workflow)
        found = yield from self._first_success(trigger.runs)
        return found

    def _wait(self, each: PlanInput, run: SimulatedRun, need: Need) -> Questions:
        """Say when a wait of a run is over."""
        source = self._inputs.get(need.workflow)
        due = self._now if run.due is None else moment_of(run.due)
        found = needed_success(need, each.facts, due, source, self._now)
        if found is NeededSuccess.IS_THERE or _is_over(run, need):
            return _Ready(_ever(self._draws))
        if need.workflow not in run.waits_for:
            run.waits_for.append(need.workflow)
        if found is NeededSuccess.NEVER or self._place.get(need.workflow, -1) >= self._place[each.facts.workflow]:
            return _Ready(None)
        runs = self._runs.get(need.workflow, ())
        if isinstance(found, datetime):
            moment = unix_seconds(found)
            some = [other for other in runs if other.due is not None and other.due >= moment and not other.is_partial]
            ready = yield from self._first_success(some, fails_with=need.fail_on_failed)
        else:
            ready = yield from self._first_success(runs, found.since, fails_with=need.fail_on_failed)
        return ready

    def _first_success(
        self, runs: Sequence[SimulatedRun], since: float = 0.0, *, fails_with: bool = False
    ) -> Questions:
        """Say when the first of some runs has succeeded, for each draw: infinite if none of them does.

        :param since: only a success at that moment or later counts, Unix seconds.
        :param fails_with: a failure counts, too, and fails the run that waits.
        """
        import numpy as np

        ready: Numbers | None = None
        fails: Flags | None = None
        source = None
        for run in runs:
            yield run
            if run.end is None or run.success is None:
                return _Ready(None)
            success = np.where(run.success >= since, run.success, np.inf)
            if fails_with and run.fails is not None:
                ended = np.where(run.fails & (run.end >= since), run.end, np.inf)
                is_first = ended < (success if ready is None else np.minimum(success, ready))
                fails = is_first if fails is None else fails | is_first
                success = np.minimum(success, ended)
            if ready is None or not np.isfinite(middle(ready)):
                source = run
            ready = success if ready is None else np.minimum(ready, success)
            if np.isfinite(ready).all():
                break
        return _Ready(ready, source, fails)


def _is_over(run: SimulatedRun, need: Need) -> bool:
    """Tell whether Airflow says that a run does not wait for a workflow any more."""
    tasks = [task for task in run.facts.tasks if task.waits_for == need.workflow] if run.facts is not None else []
    return bool(tasks) and all(task.state in ENDED for task in tasks)


def _ever(draws: int) -> Numbers:
    import numpy as np

    return np.full(draws, -np.inf)
