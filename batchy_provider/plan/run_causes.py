# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say why a run of Airflow does not get on: it is queued, waits, is tried again, or a program of Airflow is silent."""

from __future__ import annotations

from collections.abc import Sequence

from batchy_provider.plan.airflow_facts import ENDED, AirflowFacts, DagFacts, Program, RunFacts, TaskFacts
from batchy_provider.plan.pending_runs import ago_text, at_text
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Cause, Facts

_ASLEEP = frozenset({"deferred", "up_for_reschedule"})
_SILENT: dict[Program, tuple[WhyCode, str]] = {
    "scheduler": (WhyCode.SCHEDULER_SILENT, "scheduler"),
    "triggerer": (WhyCode.TRIGGERER_SILENT, "triggerer"),
    "dag_processor": (WhyCode.DAG_PROCESSOR_SILENT, "DAG processor"),
}


def silent_cause(facts: Facts, workflow: str, program: Program) -> Cause | None:
    """Return the cause if a program of Airflow is not heard of any more; None if it is."""
    if facts.airflow is None or program not in facts.airflow.silent:
        return None
    code, name = _SILENT[program]
    last = facts.airflow.silent[program]
    since = "was never heard of" if last is None else f"was last heard of {ago_text(last, facts.now)} ago"
    return Cause(code, f"{workflow} cannot go on: Airflow's {name} {since} (check that it runs)")


def unopened_cause(facts: Facts, workflow: str) -> Cause | None:
    """Return why the next run has not opened its batch yet; None if there is no such run."""
    dag = facts.dag(workflow)
    # What a run that has opened its batch does is in Redis.
    runs = [run for run in dag.runs if not run.has_opened] if dag is not None else []
    if dag is None or not runs:
        return None
    run = min(runs, key=lambda each: each.state == "queued")  # a run that has started before one that has not
    return _queued_run(facts, workflow, dag, run) if run.state == "queued" else _unopened(facts, workflow, dag, run)


def _unopened(facts: Facts, workflow: str, dag: DagFacts, run: RunFacts) -> Cause | None:
    openings = [task for task in run.tasks if task.role == "open"]
    waits = [task for task in run.tasks if task.role == "wait" and task.state not in {*ENDED, None}]
    asleep = [task for task in (*waits, *openings) if task.state == "deferred"]
    if asleep and (silent := silent_cause(facts, workflow, "triggerer")):
        return silent
    if retry := retry_cause(facts, workflow, run):
        return retry
    if queued := queued_cause(facts, workflow, dag, [*waits, *openings]):
        return queued
    if names := tuple(dict.fromkeys(task.waits_for for task in waits if task.waits_for)):
        return Cause(WhyCode.WAITING, f"run {run.run_id} of {workflow} waits for {_names(names)}", names)
    if any(task.state in _ASLEEP for task in openings):
        text = f"run {run.run_id} of {workflow} waits until the batch that is open is closed"
        return Cause(WhyCode.HELD_BY_RUN, text)
    if openings:
        text = f"run {run.run_id} of {workflow} has started {_since(run)} and opens its batch next"
        return Cause(WhyCode.QUEUED, text)
    return None


def _queued_run(facts: Facts, workflow: str, dag: DagFacts, run: RunFacts) -> Cause:
    of = f"run {run.run_id} of {workflow} is queued {_since(run)}"
    running = [each for each in dag.runs if each.state == "running"]
    if dag.paused:
        return Cause(WhyCode.PAUSED, f"{workflow} is paused in Airflow, and {of} (unpause the DAG)")
    if silent := silent_cause(facts, workflow, "scheduler"):
        return silent
    if len(running) >= dag.max_active_runs:
        others = ", ".join(each.run_id for each in running[:3])
        text = f"{of}: max_active_runs is {dag.max_active_runs}, and active already: {others}"
        return Cause(WhyCode.MAX_ACTIVE_RUNS, text)
    return Cause(WhyCode.QUEUED, f"{of}; the scheduler starts it next")


def queued_cause(facts: Facts, workflow: str, dag: DagFacts, tasks: Sequence[TaskFacts]) -> Cause | None:
    """Return why a task is queued; None if one of the tasks runs, or none is queued."""
    airflow = facts.airflow
    if airflow is None or any(task.state in ("running", "restarting") for task in tasks):
        return None
    task = next((task for task in tasks if task.state in ("scheduled", "queued")), None)
    if task is None:
        return None
    if silent := silent_cause(facts, workflow, "scheduler"):
        return silent
    since = "" if task.since is None else f" since {at_text(task.since)}"
    of = f"task {task.task_id} of {workflow} is queued{since}"
    pool = airflow.pools.get(task.pool)
    if task.state == "scheduled" and pool is not None and pool.is_full:
        return Cause(WhyCode.POOL_FULL, f"{of}: pool {task.pool} has no free slot ({pool.used} of {pool.slots} taken)")
    active = sum(each.state in ("running", "queued") for run in dag.runs for each in run.tasks)
    if task.state == "scheduled" and dag.max_active_tasks is not None and active >= dag.max_active_tasks:
        text = f"{of}: {active} tasks of the DAG are active, and max_active_jobs allows {dag.max_active_tasks}"
        return Cause(WhyCode.MAX_ACTIVE_TASKS, text)
    if task.state == "queued" or _has_no_slot(airflow):
        limit = f" ({airflow.running} of {airflow.parallelism} taken)" if airflow.parallelism else ""
        return Cause(WhyCode.SLOTS_FULL, f"{of}: it waits for a free slot of the executor{limit}")
    return Cause(WhyCode.QUEUED, f"{of}; the scheduler starts it next")


def _has_no_slot(airflow: AirflowFacts) -> bool:
    return 0 < airflow.parallelism <= airflow.running


def retry_cause(facts: Facts, workflow: str, run: RunFacts) -> Cause | None:
    """Return the cause if a task of a run has failed and is tried again; None if there is none."""
    task = next((task for task in run.tasks if task.state == "up_for_retry"), None)
    if task is None:
        return None
    when = "" if task.retry_at is None else f" at {at_text(task.retry_at)}"
    failed = "has failed" if task.since is None else f"has failed at {at_text(task.since)}"
    tries = f" (try {task.tries})" if task.tries else ""
    text = f"task {task.task_id} of {workflow} {failed}{tries}, and Airflow tries it again{when}"
    return Cause(WhyCode.RETRY_PENDING, text)


def _since(run: RunFacts) -> str:
    return "for an unknown time" if run.since is None else f"since {at_text(run.since)}"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
