# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say why an open batch is not done: its jobs run, are queued or tried again, or its holder is gone or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchy_provider.core.dates import parse_date
from batchy_provider.core.holders import UNNAMED, Holder
from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Reason
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.plan.airflow_facts import RunFacts
from batchy_provider.plan.pending_runs import DueTimes, ago_text, at_text, attempted, stored_text
from batchy_provider.plan.run_causes import queued_cause, retry_cause, silent_cause
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Cause, Facts, WorkflowFacts


def open_cause(facts: Facts, workflow: WorkflowFacts, state: WorkflowState, batch: Batch, due: DueTimes) -> Cause:
    """Return why the open batch of a workflow is not done."""
    holder = state.holder or Holder()
    since = f"batch {batch.batch_id} of {batch.workflow} is open since {stored_text(batch.started)}"
    if batch.started is not None:
        since += f" ({ago_text(parse_date(batch.started), facts.now)})"
    if holder.is_run:
        return _held_by_run(facts, state, batch, holder, due, since)
    lease = state.lease
    if lease is not None:
        ends = parse_date(lease.until)
        if ends > facts.now:
            text = f"{since}, by {holder.name}, which holds it by a lease until {at_text(ends)}{_jobs(state, batch)}"
            return Cause(WhyCode.HELD_BY_PROGRAM, text)
        return _left_open(batch, f"{since}, by {holder.name}, whose lease has ended at {at_text(ends)}")
    if workflow.process == "gone":
        return _left_open(batch, f"{since}, by {holder}, which does not run any more")
    still = ", which still runs" if workflow.process == "alive" else ""
    return Cause(WhyCode.RUNNING, f"{since}, by {holder}{still}{_jobs(state, batch)}")


def _left_open(batch: Batch, text: str) -> Cause:
    remedy = f"the next opening takes its window over, or close it: batchy fail {batch.workflow}"
    return Cause(WhyCode.LEFT_OPEN, f"{text}; {remedy} --batch {batch.batch_id}")


def _is_elsewhere(here: str, there: str | None) -> bool:
    """Tell whether two names are those of different Airflows.

    An API server that has no name of its own says nothing about a run with a name: the workers may have been given it.
    """
    if there is None or (here.startswith(UNNAMED) and not there.startswith(UNNAMED)):
        return False
    return there != here


def _held_by_run(facts: Facts, state: WorkflowState, batch: Batch, holder: Holder, due: DueTimes, since: str) -> Cause:
    airflow = facts.airflow
    here = airflow.deployment if airflow is not None else None
    if here is not None and _is_elsewhere(here, holder.deployment):
        text = f"{since}, by {holder.name} of the Airflow {holder.deployment}, which cannot be asked from here"
        return Cause(WhyCode.HELD_BY_DEPLOYMENT, text)
    run = _run(facts, holder)
    tasks = run.tasks if run is not None else ()
    if not any(task.state == "running" for task in tasks):
        if silent := silent_cause(facts, batch.workflow, "scheduler"):
            return silent
        is_asleep = any(task.state == "deferred" for task in tasks)
        if is_asleep and (silent := silent_cause(facts, batch.workflow, "triggerer")):
            return silent
        if run is not None and (cause := _stuck(facts, batch, holder, run)):
            return cause
    where = f" of the Airflow {holder.deployment}" if airflow is None and holder.deployment else ""
    doing = _tasks(run) + _jobs(state, batch)
    record = batch.record
    if record is not None and (record.more or record.reason_code == Reason.NEXT_SLICE.value):
        more = ", and more slices follow" if record.more else ", the last one"
        span = f"slice {stored_text(batch.from_date)} to {stored_text(batch.to_date)}"
        return Cause(WhyCode.CATCHING_UP, f"{batch.workflow} is catching up with {span}{more}: {since}{doing}")
    if due.last is not None and record is not None and record.due is not None and not attempted(state, due.last):
        text = f"{since}, by {holder.name}{where}, which was due at {stored_text(record.due)}{doing}; "
        return Cause(WhyCode.HELD_BY_RUN, f"{text}the run that is due since {at_text(due.last)} comes after it")
    return Cause(WhyCode.RUNNING, f"{since}, by {holder.name}{where}{doing}")


def _run(facts: Facts, holder: Holder) -> RunFacts | None:
    dag = facts.dag(holder.dag_id or "")
    return next((run for run in dag.runs if run.run_id == holder.run_id), None) if dag is not None else None


def _stuck(facts: Facts, batch: Batch, holder: Holder, run: RunFacts) -> Cause | None:
    dag = facts.dag(holder.dag_id or "")
    if dag is None:
        return None
    return retry_cause(facts, batch.workflow, run) or queued_cause(facts, batch.workflow, dag, run.tasks)


def _tasks(run: RunFacts | None) -> str:
    """Say which tasks of the run that holds the batch are running."""
    running = [task for task in run.tasks if task.state == "running"] if run is not None else []
    texts = [task.task_id + ("" if task.since is None else f" since {at_text(task.since)}") for task in running[:3]]
    more = f" and {len(running) - 3} more" if len(running) > 3 else ""
    return f"; {'job' if len(running) == 1 else 'jobs'} {', '.join(texts)}{more} running" if texts else ""


def _jobs(state: WorkflowState, batch: Batch) -> str:
    """Say how far the jobs have reported to be."""
    reports = [(job, each) for job, each in state.progress.items() if each.get("batch_id") == batch.batch_id]
    return f"; {', '.join(_report(job, report) for job, report in reports[:3])}" if reports else ""


def _report(job: str, report: Mapping[str, Any]) -> str:
    done, message = report.get("progress"), report.get("message")
    share = f" {done:.0%}" if isinstance(done, int | float) and 0 <= done <= 1 else ""
    return f"job {job} reports{share}{f' ({message})' if message else ''}"


def failed_jobs(state: WorkflowState) -> Sequence[str]:
    """Return the jobs that have failed in the latest batch, in order; those that were only ended come last."""
    batch = state.batch
    if batch is None or batch.status != "failed":
        return ()
    left_out = batch.record.left_out if batch.record is not None else ()
    lost = [job for job, fields in batch.jobs.items() if job not in left_out and fields.get("status") != "success"]
    return sorted(lost, key=lambda job: batch.jobs[job].get("outcome") != "failed")
