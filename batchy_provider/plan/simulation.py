# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Simulate the next hours of all workflows: when each run starts and ends, in some hundred draws.

A run starts when it is due, when what it waits for has succeeded, and when an earlier run of the workflow leaves it a
place. How long it takes comes from its past runs. What is not known stays unknown: the end of a run without enough past
runs, and of all runs that wait for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from itertools import islice
from typing import TYPE_CHECKING

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.expected_runs import ExpectedRun, PlanInput, RunState
from batchy_provider.plan.needed_success import NeededSuccess, needed_success
from batchy_provider.plan.pending_runs import DueTimes, attempted, due_times, is_done
from batchy_provider.plan.remaining_time import run_on
from batchy_provider.plan.simulated_run import SimulatedRun, expected_run, middle, moment_of, own_step
from batchy_provider.plan.why_facts import Dependency, WorkflowFacts

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers

DRAWS = 300
MOST_RUNS = 200
"""How many runs of one workflow are simulated at most."""
_MOST_SLICES = 50


def simulate(
    inputs: Mapping[str, PlanInput], now: datetime, hours: float, *, draws: int = DRAWS, seed: int = 0
) -> list[ExpectedRun]:
    """Return the expected runs of the next hours, by their due times.

    The same arguments give the same result.

    :param inputs: the workflows; those that they need too.
    :param now: naive UTC.
    :param draws: how many draws of each run.
    :param seed: of the draws.
    """
    simulation = _Simulation(inputs, now, hours, draws, seed)
    for name in _in_order(inputs):
        simulation.add(name)
    found = [
        expected_run(inputs[name].facts, run, simulation.at) for name, runs in simulation.runs.items() for run in runs
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


class _Simulation:
    """The runs that were simulated so far.

    :param runs: workflow → its runs, in order.
    """

    def __init__(self, inputs: Mapping[str, PlanInput], now: datetime, hours: float, draws: int, seed: int) -> None:
        self.inputs = inputs
        self.now = now
        self.at = unix_seconds(now)
        self.until = now + timedelta(hours=hours)
        self.draws = draws
        self.seed = seed
        self.runs: dict[str, list[SimulatedRun]] = {}
        self._known_times: dict[object, tuple[DueTimes, Sequence[datetime]]] = {}  # many workflows share a schedule

    def add(self, name: str) -> None:
        """Simulate the runs of a workflow. Those that it needs are simulated already."""
        import numpy as np

        each = self.inputs[name]
        runs = self.runs[name] = []
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        running = self._running(each)
        if running is not None:
            run_on(each, running, rng, self.at, self.draws)
            runs.append(running)
        if not _may_run(each):
            return
        last = self._loaded_until(each)
        for run in islice(self._due(each, has_running=running is not None), MOST_RUNS):
            window = self._start(each, run, runs, last)
            self._end(each, run, rng, window)
            runs.append(run)
            if run.start is not None:
                last = max(last or 0.0, middle(run.start))

    # -- which runs ------------------------------------------------------------------------------------------

    def _running(self, each: PlanInput) -> SimulatedRun | None:
        state = each.facts.readable
        if state is None or state.batch is None or state.batch.status != "open" or state.batch.started is None:
            return None
        record = state.batch.record
        due = record.due if record is not None else None
        return SimulatedRun(RunState.RUNNING, due=None if due is None else unix_seconds(parse_date(due)))

    def _due(self, each: PlanInput, *, has_running: bool) -> Iterable[SimulatedRun]:
        facts = each.facts
        due, fires = self._times(facts)
        state = facts.readable
        has_run = state is not None and state.batch is not None
        if due.last is not None and has_run and not is_done(facts, due):
            assert state is not None
            if not (has_running and attempted(state, due.last)):
                yield SimulatedRun(RunState.PENDING, due=unix_seconds(due.last))
        for fire in fires:
            yield SimulatedRun(RunState.EXPECTED, due=unix_seconds(fire))
        if facts.file is not None and (needs := facts.file.needed(Dependency.AFTER)):
            yield from self._after([need.workflow for need in needs], is_any=facts.file.after_any)

    def _times(self, facts: WorkflowFacts) -> tuple[DueTimes, Sequence[datetime]]:
        """Return when a workflow was and is due, and all its due times of the next hours."""
        begins, ends = (None, None) if facts.file is None else (facts.file.begins, facts.file.ends)
        key = (facts.schedule, begins, ends)
        if key not in self._known_times:
            due = due_times(facts, self.now)
            found: list[datetime] = []
            fire = due.next
            try:
                while fire is not None and fire < self.until and (ends is None or fire <= ends):
                    found.append(fire)
                    fire = facts.schedule.next_fire(fire) if len(found) < MOST_RUNS else None
            except (BatchyError, OverflowError):
                pass
            self._known_times[key] = due, found
        return self._known_times[key]

    def _after(self, sources: Sequence[str], *, is_any: bool) -> Iterable[SimulatedRun]:
        """Yield the runs that the successes of other workflows start."""
        import numpy as np

        lists = [self.runs.get(source, []) for source in sources]
        groups: list[tuple[SimulatedRun, ...]] = list(zip(*lists, strict=False))
        if is_any:
            groups = [(run,) for runs in lists for run in runs]
        elif sources and not groups and any(lists):
            # What the others have done already is not known here, so this may start with the ones that come.
            groups = [tuple(runs[0] for runs in lists if runs)]
        for group in groups:
            found = SimulatedRun(RunState.EXPECTED, waits_for=self._names(group))
            ends = [run.end for run in group]
            known = [end for end in ends if end is not None]
            if len(known) == len(ends):
                found.start = np.maximum.reduce(known)
                found.path = _latest(group, known).whole_path
            yield found

    def _names(self, group: Iterable[SimulatedRun]) -> list[str]:
        wanted = {id(run) for run in group}
        return sorted(name for name, runs in self.runs.items() if any(id(run) in wanted for run in runs))

    # -- when a run starts -------------------------------------------------------------------------------------

    def _start(
        self, each: PlanInput, run: SimulatedRun, earlier: Sequence[SimulatedRun], last: float | None
    ) -> float | None:
        """Find out when a run starts.

        :param earlier: the runs of the same workflow before it.
        :param last: up to where the data is loaded before it.
        :returns: length of its window in seconds; None if it is not known.
        """
        import numpy as np

        floor = max(self.at, run.due or self.at)
        hold = each.facts.readable.hold if each.facts.readable is not None else None
        if hold is not None and not hold.is_over(self.now):
            floor = max(floor, np.inf if hold.until is None else unix_seconds(parse_date(hold.until)))
        known = np.isfinite(floor) and (run.due is not None or run.start is not None)
        start = np.full(self.draws, floor) if run.start is None else np.maximum(run.start, floor)
        own_start = start
        for need in each.facts.needs:
            if need.by is not Dependency.WAIT_FOR:
                continue
            found = needed_success(need, each.facts, self._due_of(run), self._source(need.workflow), self.now)
            if found is NeededSuccess.IS_THERE:
                continue
            if need.workflow not in run.waits_for:
                run.waits_for.append(need.workflow)
            ready, source = self._ready(need.workflow, found)
            if ready is None or source is None:
                known = False
                continue
            if middle(ready) > middle(start):
                run.path = source.whole_path
            start = np.maximum(start, ready)
        if len(earlier) >= each.max_active_runs:
            before = earlier[-each.max_active_runs]
            if before.end is None:
                known = False
            else:
                if middle(before.end) > middle(start):
                    run.path = before.whole_path
                start = np.maximum(start, before.end)
        run.start = start if known else None
        opens = middle(start if known else own_start)
        return None if last is None or not np.isfinite(opens) else max(0.0, opens - last)

    def _due_of(self, run: SimulatedRun) -> datetime:
        return self.now if run.due is None else moment_of(run.due)

    def _source(self, name: str) -> PlanInput | None:
        return self.inputs.get(name)

    def _ready(self, name: str, wanted: NeededSuccess | datetime) -> tuple[Numbers | None, SimulatedRun | None]:
        """Return when a workflow has the success that a run needs, for each draw, and the run that brings it."""
        import numpy as np

        runs = self.runs.get(name, [])
        if isinstance(wanted, datetime):
            due = unix_seconds(wanted)
            source = next((run for run in runs if run.due is not None and run.due >= due), None)
            return (None, None) if source is None else (source.end, source)
        source = next(iter(runs), None)
        if source is None or source.end is None:
            return None, None
        threshold = wanted.since
        ready = np.where(source.end >= threshold, source.end, np.inf)
        for later in runs[1:]:
            if np.isfinite(ready).all():
                break
            if later.end is None:
                return None, None
            if not np.isfinite(middle(ready)):
                source = later
            ready = np.minimum(ready, np.where(later.end >= threshold, later.end, np.inf))
        return (ready, source) if np.isfinite(ready).all() else (None, None)

    # -- when a run ends ---------------------------------------------------------------------------------------

    def _end(self, each: PlanInput, run: SimulatedRun, rng: np.random.Generator, window: float | None) -> None:
        run.own = own_step(each)
        if run.start is None or each.model is None:
            return
        most = None if each.slice_length is None else each.slice_length.total_seconds()
        slices = 1 if most is None or window is None else max(1, -int(-window // most))
        at = run.due if run.due is not None else float(run.start[0])
        some = min(slices, _MOST_SLICES)
        length = window if slices == 1 else most
        took = sum(each.model.draws(rng, self.draws, start=at, window_seconds=length) for _ in range(some))
        run.end = run.start + took * (slices / some)

    def _loaded_until(self, each: PlanInput) -> float | None:
        """Return up to where the data of a workflow is loaded, Unix seconds; None if that is not known."""
        state = each.facts.readable
        batch = state.batch if state is not None else None
        if batch is None:
            return None
        date = batch.to_date if batch.status in ("success", "open") else batch.from_date
        return None if date is None else unix_seconds(parse_date(date))


def _latest(group: Sequence[SimulatedRun], ends: Sequence[Numbers]) -> SimulatedRun:
    """Return the run of a group that is usually the last to end."""
    return max(zip(group, ends, strict=True), key=lambda pair: middle(pair[1]))[0]


def _may_run(each: PlanInput) -> bool:
    """Tell whether new runs of a workflow can start at all."""
    file = each.facts.file
    if each.paused:
        return False
    return file is None or (file.fault is None and file.enabled and file.has_dag)
