# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""List the runs of a workflow in the next hours: those that are there, those that were due, and those that will be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.airflow_facts import DagFacts, RunFacts
from batchy_provider.plan.expected_runs import PlanInput, RunState
from batchy_provider.plan.pending_runs import DueTimes, attempted, due_of_open, due_times, is_catching_up, is_done
from batchy_provider.plan.simulated_run import SimulatedRun, Trigger
from batchy_provider.plan.wait_causes import has_new_success
from batchy_provider.plan.why_facts import Dependency, WorkflowFacts

MOST_RUNS = 200
"""How many runs of one workflow are simulated at most."""


class RunLists:
    """Lists the runs of one workflow after the other.

    :param inputs: the workflows.
    :param now: naive UTC.
    :param until: the end of the plan, naive UTC.
    """

    def __init__(self, inputs: Mapping[str, PlanInput], now: datetime, until: datetime) -> None:
        self._inputs = inputs
        self._now = now
        self._until = until
        self._known_times: dict[object, tuple[DueTimes, Sequence[datetime]]] = {}  # many workflows share a schedule

    def of(self, each: PlanInput, runs: Mapping[str, Sequence[SimulatedRun]]) -> list[SimulatedRun]:
        """Return the runs of a workflow, in order.

        :param runs: those of the workflows that it needs.
        """
        running = _running(each, self._times(each.facts)[0])
        found = [] if running is None else [running]
        if _may_run(each):
            found += islice(self._next(each, running, runs), MOST_RUNS)
        return found

    def _next(
        self, each: PlanInput, running: SimulatedRun | None, runs: Mapping[str, Sequence[SimulatedRun]]
    ) -> Iterator[SimulatedRun]:
        due, fires = self._times(each.facts)
        yield from self._pending(each, due, running)
        for fire in fires:
            yield SimulatedRun(RunState.EXPECTED, due=unix_seconds(fire))
        yield from self._after(each, runs)

    def _times(self, facts: WorkflowFacts) -> tuple[DueTimes, Sequence[datetime]]:
        """Return when a workflow was and is due, and all its due times of the next hours."""
        begins, ends = (None, None) if facts.file is None else (facts.file.begins, facts.file.ends)
        key = (facts.schedule, begins, ends)
        if key not in self._known_times:
            due = due_times(facts, self._now)
            self._known_times[key] = due, _fires(facts, due.next, self._until)
        return self._known_times[key]

    def _pending(self, each: PlanInput, due: DueTimes, running: SimulatedRun | None) -> Iterator[SimulatedRun]:
        """Yield the runs that were due, and have not opened their batches."""
        facts, state, dag = each.facts, each.facts.readable, each.dag
        batch = state.batch if state is not None else None
        if running is not None and running.is_partial:
            yield SimulatedRun(RunState.PENDING, due=running.due, comes_after=running)
        elif is_catching_up(facts):
            yield SimulatedRun(RunState.PENDING, due=None if due.last is None else unix_seconds(due.last), start=None)
            return
        made = dag.unopened if dag is not None else []
        for run in made:
            # Airflow's moment is that at which the run may start.
            moment = run.due or run.since or self._now
            yield SimulatedRun(RunState.PENDING, due=unix_seconds(moment), facts=run)
        if state is None or batch is None or due.last is None or is_done(facts, due):
            return
        if running is not None and attempted(state, due.last):
            return
        if any(run.due is not None and run.due >= due.last for run in made):
            return
        missed = self._missed(each, due.last, running)
        failed = batch.status == "failed" and attempted(state, due.last)
        if dag is not None and (dag.next_run is None or dag.next_run > self._now):
            # Airflow has made the run that was due, and it has ended.
            if not failed and not _has_failed(dag):
                return
            failed = True
        yield from (
            SimulatedRun(RunState.PENDING, due=unix_seconds(fire), is_stuck=failed, window=length)
            for fire, length in (missed if not failed else [(due.last, None)])
        )

    def _missed(
        self, each: PlanInput, last: datetime, running: SimulatedRun | None
    ) -> list[tuple[datetime, float | None]]:
        """Return the due times that have passed, and for which runs come, with the lengths of their windows."""
        facts, state = each.facts, each.facts.readable
        if facts.file is None or not facts.file.catches_up or state is None or state.batch is None:
            return [(last, None)]
        record = state.batch.record
        done = parse_date(record.due) if record is not None and record.due is not None else None
        if done is not None and state.batch.status == "failed":
            return [(last, None)]
        if each.dag is not None and each.dag.next_run is not None and (done is None or done < each.dag.next_run):
            first: datetime | None = each.dag.next_run
        else:
            first = None if done is None else _fire_after(facts, done)
        fires = [] if first is None else _fires(facts, first, last, including=True)
        if not fires:
            return [(last, None)]
        before = [_fire_before(facts, fires[0]), *fires]
        return [
            (fire, None if earlier is None else (fire - earlier).total_seconds())
            for earlier, fire in zip(before, fires, strict=False)
        ]

    def _after(self, each: PlanInput, runs: Mapping[str, Sequence[SimulatedRun]]) -> Iterator[SimulatedRun]:
        """Yield the runs that the ends of other workflows' batches start."""
        file = each.facts.file
        needs = file.needed(Dependency.AFTER) if file is not None else []
        if file is None or not needs or file.after_result == "failed":
            return  # a failure is never expected
        names = [need.workflow for need in needs]
        coming = {name: [run for run in runs.get(name, ()) if not run.is_stuck] for name in names}
        if file.after_any:
            for name, some in coming.items():
                for index in range(len(some)):
                    triggers = [Trigger(name, some[index:])]
                    yield SimulatedRun(RunState.EXPECTED, triggers=triggers)
            return
        there = {name for name in names if self._is_there(name, each)}
        for number in range(max(len(some) + (name in there) for name, some in coming.items())):
            triggers = [
                Trigger(name, some[number - (name in there) :], is_there=name in there and number == 0)
                for name, some in coming.items()
            ]
            if all(trigger.is_there for trigger in triggers):
                continue  # Airflow has made this run at once
            if number and not all(trigger.runs for trigger in triggers):
                return
            yield SimulatedRun(RunState.EXPECTED, triggers=triggers)

    def _is_there(self, name: str, each: PlanInput) -> bool:
        source = self._inputs.get(name)
        return source is not None and has_new_success(source.facts, each.facts)


def _running(each: PlanInput, times: DueTimes) -> SimulatedRun | None:
    state = each.facts.readable
    if state is None or state.batch is None or state.batch.status != "open" or state.batch.started is None:
        return None
    record = state.batch.record
    due = due_of_open(each.facts, times)
    return SimulatedRun(
        RunState.RUNNING,
        due=None if due is None else unix_seconds(due),
        facts=_opened_run(each),
        is_partial=record is not None and record.more is True,
    )


def _opened_run(each: PlanInput) -> RunFacts | None:
    """Return the run of Airflow that has the batch open."""
    state = each.facts.readable
    holder = state.holder.run_id if state is not None and state.holder is not None else None
    found = [run for run in each.dag.runs if run.has_opened] if each.dag is not None else []
    return next((run for run in found if run.run_id == holder), None)


def _may_run(each: PlanInput) -> bool:
    """Tell whether new runs of a workflow can start at all."""
    file, state = each.facts.file, each.facts.readable
    if each.paused:
        return False
    if file is None:
        return True
    if file.starts_paused and each.dag is None and (state is None or state.batch is None):
        return False  # it has never run, and nobody here knows that somebody has unpaused it
    return file.fault is None and file.enabled and file.has_dag


def _has_failed(dag: DagFacts) -> bool:
    return dag.last_run is not None and dag.last_run.state == "failed"


def _fires(facts: WorkflowFacts, first: datetime | None, until: datetime, *, including: bool = False) -> list[datetime]:
    """Return the due times from the first one to a moment (exclusive, or inclusive).

    :param including: that moment too.
    """
    ends = facts.file.ends if facts.file is not None else None
    found: list[datetime] = []
    fire = first
    while fire is not None and (fire < until or (including and fire == until)) and (ends is None or fire <= ends):
        found.append(fire)
        fire = _fire_after(facts, fire) if len(found) < MOST_RUNS else None
    return found


def _fire_after(facts: WorkflowFacts, moment: datetime) -> datetime | None:
    try:
        return facts.schedule.next_fire(moment)
    except (BatchyError, OverflowError):
        return None


def _fire_before(facts: WorkflowFacts, moment: datetime) -> datetime | None:
    try:
        return facts.schedule.fire_before(moment)
    except (BatchyError, OverflowError):
        return None
