# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights of the plan, told in a few words: workflows whose runs have always taken so long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from told_facts import NIGHTLY, file, moment, run_holder, state, workflow

from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import JobDuration
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts, RunFacts, TaskFacts
from batchy_provider.plan.duration_model import DurationModel
from batchy_provider.plan.expected_runs import ExpectedRun, PlanInput
from batchy_provider.plan.run_history import Upstream, run_history
from batchy_provider.plan.simulation import simulate
from batchy_provider.plan.why_facts import WorkflowFacts

MINUTE = timedelta(minutes=1)
EVENING = moment("28 20:00")
"""Before the night in which the tests look: the runs of the night before have ended."""
LAST_NIGHT: dict[str, Any] = {"began": "28 02:00", "ended": "28 02:30"}


def plan_input(
    facts: WorkflowFacts,
    minutes: float | None = 30,
    *,
    durations_of: Sequence[str] | Mapping[str, float] = ("load",),
    graph: Upstream | None = None,
    **more: Any,
) -> PlanInput:
    """Return a workflow whose jobs have always taken so long; None: that never ran.

    :param durations_of: its jobs, or how many minutes each has taken.
    """
    if minutes is None:
        return PlanInput(facts=facts, **more)
    took = durations_of if isinstance(durations_of, Mapping) else dict.fromkeys(durations_of, minutes)
    if len(took) > 1:
        # A history in which all jobs took as long as each other is one of batches, not of jobs.
        took = {job: each * (1 + 0.0001 * number) for number, (job, each) in enumerate(took.items())}
    starts = [datetime(2026, 10, 1, 2) + timedelta(days=day) for day in range(40)]
    # By one percent more or less, as clocks show it.
    some = {
        job: [JobDuration(start, each * 60 * (1 + start.day % 3 / 100), 86_400.0) for start in starts]
        for job, each in took.items()
    }
    history = run_history(some, graph)
    assert history is not None
    return PlanInput(facts=facts, history=history, model=DurationModel.of(history), **more)


def nightly(name: str, minutes: float | None = 30, *needs: Any, schedule: Schedule = NIGHTLY, **more: Any) -> PlanInput:
    """Return a workflow that is due at 02:00 each night, and has run last night."""
    facts = {"file": file(*needs, schedule=schedule, **more.pop("file", {})), "state": state(name, **LAST_NIGHT)}
    return plan_input(workflow(name, **{**facts, **more.pop("facts", {})}), minutes, **more)


def plan(
    *inputs: PlanInput, now: datetime = EVENING, hours: float = 24, airflow: AirflowFacts | None = None
) -> dict[str, list[ExpectedRun]]:
    """Return workflow → its expected runs."""
    found: dict[str, list[ExpectedRun]] = {each.facts.workflow: [] for each in inputs}
    for run in simulate({each.facts.workflow: each for each in inputs}, now, hours, airflow=airflow):
        found[run.workflow].append(run)
    return found


def near(moment_: datetime | None, expected: datetime) -> bool:
    """Tell whether a moment is the expected one, as far as past runs say it."""
    return moment_ is not None and abs(moment_ - expected) <= 3 * MINUTE


def task(name: str, task_state: str, since: str | None = None, **more: Any) -> TaskFacts:
    """Return a task instance of Airflow."""
    return TaskFacts(task_id=name, state=task_state, since=None if since is None else moment(since), **more)


def opened(workflow_: str, *tasks: TaskFacts) -> DagFacts:
    """Return a DAG with a run that has opened its batch."""
    tasks = (TaskFacts(task_id="open", role="open", state="success"), *tasks)
    run = RunFacts(run_id="r1", state="running", since=moment("02:00"), due=moment("02:00"), tasks=tasks)
    return DagFacts(next_run=moment("30 02:00"), runs=[run])


def running(name: str, minutes: float, *tasks: TaskFacts, **more: Any) -> PlanInput:
    """Return a workflow whose run has opened its batch at 02:00, with its unfinished tasks."""
    now = state(name, "open", began="02:00", last_success="28 02:30", holder=run_holder(run="r1"))
    return nightly(name, minutes, facts={"state": now}, dag=opened(name, *tasks), **more)
