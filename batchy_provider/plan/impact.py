# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who is affected if a workflow is late or fails: all workflows that need it, directly or through others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from batchy_provider.core.dates import day_bounds, day_of, parse_date
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.pending_runs import due_times, is_done
from batchy_provider.plan.why_facts import Dependency, Facts, Need, WorkflowFacts

_NEVER = datetime.max
_MOST_RUNS = 10
"""How many runs of a workflow are searched for the one that needs the run that is late."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way from a workflow to one that needs it.

    :param workflow: the workflow that is needed.
    """

    workflow: str
    by: Dependency


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A workflow that needs another one.

    :param via: the shortest way to it, from the workflow that was asked about.
    :param deadline: of the run that needs it, naive UTC; None without one.
    :param miss_probability: of that deadline, from 0 to 1; None if it is not known.
    """

    workflow: str
    via: Sequence[Step]
    deadline: datetime | None = None
    miss_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """The workflows that need a workflow, the nearest ones first."""

    workflow: str
    downstream: Sequence[Affected]


@dataclass
class _Reach:
    """How far the delay has been followed.

    :param due: workflow → when the run that is late was due.
    :param ready: workflow → the earliest moment at which that run can have ended; never if it fails.
    """

    due: dict[str, datetime] = field(default_factory=dict)
    ready: dict[str, datetime] = field(default_factory=dict)


def impact(
    facts: Facts,
    workflow: str,
    *,
    late: timedelta | None = None,
    failed: bool = False,
    chances: Mapping[str, float] | None = None,
) -> Impact:
    """Return the workflows that need a workflow.

    Without `late` and `failed`, the probabilities are those of `chances`. With one of them, a deadline that is
    certainly missed by the schedules alone has the probability 1. The others are not known.

    :param late: suppose that its next run ends so long after it was due.
    :param failed: suppose that its next run fails, and that nobody runs it again.
    :param chances: workflow → the probability that it misses its next deadline, as far as it is known.
    """
    users = _users(facts)
    ways = _ways(users, workflow)
    reach = _follow(facts, users, workflow, late, failed) if failed or late is not None else _Reach()
    known = chances if chances is not None and not failed and late is None else {}
    return Impact(workflow, [_affected(facts, name, via, reach, known) for name, via in ways.items()])


def _users(facts: Facts) -> dict[str, list[tuple[str, Need]]]:
    """Return workflow → those that need it, with how."""
    found: dict[str, list[tuple[str, Need]]] = {}
    for name, workflow in sorted(facts.workflows.items()):
        for need in workflow.needs:
            if not _is_met_for_good(facts, need):
                found.setdefault(need.workflow, []).append((name, need))
    return found


def _is_met_for_good(facts: Facts, need: Need) -> bool:
    """Tell whether any success will do, and there was one."""
    other = facts.workflows.get(need.workflow)
    state = other.readable if other is not None else None
    is_any = need.by is Dependency.WAIT_FOR and need.scope == "any"
    return is_any and state is not None and state.last_success is not None


def _ways(users: Mapping[str, Sequence[tuple[str, Need]]], root: str) -> dict[str, tuple[Step, ...]]:
    """Return the shortest way to each workflow downstream, the nearest first."""
    ways: dict[str, tuple[Step, ...]] = {root: ()}
    queue = [root]
    for name in queue:
        for user, need in users.get(name, ()):
            if user not in ways:
                ways[user] = (*ways[name], Step(name, need.by))
                queue.append(user)
    del ways[root]
    return ways


def _affected(facts: Facts, name: str, via: tuple[Step, ...], reach: _Reach, chances: Mapping[str, float]) -> Affected:
    workflow = facts.workflows[name]
    allowed = workflow.file.deadline if workflow.file is not None else None
    due = reach.due.get(name) or next(_runs(workflow, facts.now), None)
    if allowed is None or due is None:
        return Affected(workflow=name, via=via)
    deadline = due + allowed
    is_missed = name in reach.ready and deadline < reach.ready[name]
    return Affected(workflow=name, via=via, deadline=deadline, miss_probability=1.0 if is_missed else chances.get(name))


def _runs(workflow: WorkflowFacts, now: datetime) -> Iterator[datetime]:
    """Yield when the next runs of a workflow are due, with the one that is due already and not done."""
    due = due_times(workflow, now)
    state = workflow.readable
    has_run = state is not None and state.batch is not None
    if due.last is not None and has_run and not is_done(workflow, due):
        yield due.last
    fire, ends = due.next, workflow.file.ends if workflow.file is not None else None
    try:
        while fire is not None and (ends is None or fire <= ends):
            yield fire
            fire = workflow.schedule.next_fire(fire)
    except (BatchyError, OverflowError):
        return


def _follow(
    facts: Facts,
    users: Mapping[str, Sequence[tuple[str, Need]]],
    root: str,
    late: timedelta | None,
    failed: bool,
) -> _Reach:
    """Follow a delay downstream, as far as the schedules alone decide it."""
    workflow = facts.workflows.get(root)
    due = next(_runs(workflow, facts.now), None) if workflow is not None else None
    if due is None and not failed:
        return _Reach()
    begin = facts.now if due is None else due
    ready = _NEVER if failed or late is None else max(begin + late, facts.now)
    reach = _Reach(due={root: begin}, ready={root: ready})
    # Workflow → until when no other run can give what it needs, neither to it nor to those before it.
    alone = {root: datetime.max}
    queue = [root]
    for name in queue:
        for user, need in users.get(name, ()):
            until = min(alone[name], _next_run(facts.workflows.get(need.workflow), reach.due[name]))
            needing = _needing_run(facts, user, need, reach.due[name], until)
            if needing is None:
                continue
            # Moments are only taken over, never added up, so a cycle ends.
            later = max(needing, reach.ready[name])
            if user not in reach.ready or later > reach.ready[user]:
                reach.due.setdefault(user, needing)
                reach.ready[user] = later
                alone[user] = until
                queue.append(user)
    return reach


def _needing_run(facts: Facts, name: str, need: Need, due: datetime, until: datetime) -> datetime | None:
    """Return when the first run is due that cannot go on without one run of another workflow.

    :param due: when that run was due.
    :param until: until when no other run can give what it needs.
    :returns: None if no run is known that certainly needs it.
    """
    if need.by is not Dependency.WAIT_FOR or need.scope not in ("today", "due"):
        return None
    workflow, other = facts.workflows[name], facts.workflows.get(need.workflow)
    if other is None:
        return None
    allowed = workflow.file.deadline if workflow.file is not None else None
    for run in islice(_runs(workflow, facts.now), _MOST_RUNS):
        if not _needs(other, need, run, due):
            continue
        # A success of today may also come from a run that was due before and is not done yet.
        last_moment = run if allowed is None else run + allowed
        is_first = need.scope == "due" or next(_runs(other, facts.now), due) >= due
        return run if is_first and last_moment <= until else None
    return None


def _needs(other: WorkflowFacts, need: Need, run: datetime, due: datetime) -> bool:
    """Tell whether a run needs what another workflow loads in the run that was due at `due`."""
    if need.scope == "due" and other.schedule.known:
        try:
            return other.schedule.last_fire(run) >= due
        except (BatchyError, OverflowError):
            return False
    start, end = day_bounds(day_of(run, need.timezone), need.timezone)
    state = other.readable
    last = state.last_success if state is not None else None
    return due < end and (last is None or parse_date(last) < start)


def _next_run(workflow: WorkflowFacts | None, due: datetime) -> datetime:
    """Return when a workflow runs next after a moment, as far as that is known. That run may give what is needed."""
    if workflow is None or not workflow.schedule.known:
        return datetime.max
    try:
        return workflow.schedule.next_fire(due)
    except (BatchyError, OverflowError):
        return datetime.max
