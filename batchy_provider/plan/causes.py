# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide why one workflow is not running, or not done. The first rule that applies is the answer."""

from __future__ import annotations

from collections.abc import Callable

from batchy_provider.core.dates import parse_date
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.open_batch_causes import failed_jobs, open_cause
from batchy_provider.plan.pending_runs import (
    DueTimes,
    at_text,
    attempted,
    due_text,
    due_times,
    ended_text,
    is_catching_up,
    is_done,
    left_out_since,
)
from batchy_provider.plan.run_causes import silent_cause, unopened_cause
from batchy_provider.plan.wait_causes import after_cause, waiting_cause
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Cause, Dependency, Facts, WorkflowFacts

Rule = Callable[[Facts, WorkflowFacts, DueTimes], Cause | None]


def cause_of(facts: Facts, name: str) -> Cause:
    """Return why a workflow is not running, or not done. The workflows that it waits for have their own causes."""
    workflow = facts.workflows.get(name)
    if workflow is None or not (workflow.exists or workflow.lost is not None):
        text = f"{name} is not known: neither Redis nor a workflow file has it (is the name right?)"
        return Cause(WhyCode.UNKNOWN_WORKFLOW, text)
    try:
        due = due_times(workflow, facts.now)
        return next(cause for rule in _RULES if (cause := rule(facts, workflow, due)) is not None)
    except BatchyError as error:
        # A value of the state that only this question reads, such as a date that is none.
        return Cause(WhyCode.UNREADABLE_STATE, f"the state of {name} in Redis cannot be read: {error}")


def upstream_cause(facts: Facts, name: str) -> Cause:
    """Return why a workflow does not give what another one waits for. That it is done says nothing then."""
    cause = cause_of(facts, name)
    if cause.code is not WhyCode.DONE:
        return cause
    workflow = facts.workflows[name]
    due = due_times(workflow, facts.now)
    state = workflow.readable
    last = "" if state is None else f"; its last success was at {ended_text(state.last_success, facts.now)}"
    if due.next is not None:
        return Cause(WhyCode.NOT_DUE, f"{name} is not due before {at_text(due.next)}{last}")
    if due.ended:
        return Cause(WhyCode.SCHEDULE_ENDED, f"{name} is not due any more: its end_date has passed{last}")
    if _starts_by_itself(workflow):
        return cause
    return Cause(WhyCode.NO_SCHEDULE, f"{name} runs when somebody starts it: it has no schedule{last}")


def _lost_state(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    if isinstance(workflow.state, UnreadableWorkflow):
        text = f"the state of {workflow.workflow} in Redis cannot be read: {workflow.state.reason}"
        return Cause(WhyCode.UNREADABLE_STATE, text)
    if workflow.lost is None:
        return None
    text = f"Redis has lost the state of {workflow.workflow}: {workflow.lost}"
    return Cause(WhyCode.LOST_STATE, f"{text} (batchy restore {workflow.workflow})")


def _open(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    state = workflow.readable
    if state is None or state.batch is None or state.batch.status != "open":
        return None
    return open_cause(facts, workflow, state, state.batch, due)


def _held(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    state = workflow.readable
    if state is None or state.hold is None:
        return None
    return Cause(WhyCode.HELD, f"{workflow.workflow} is {state.hold} (batchy release {workflow.workflow})")


def _active_run(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    cause = unopened_cause(facts, workflow.workflow)
    if cause is None or cause.code is not WhyCode.WAITING:
        return cause
    # What the wait needs says more than that a task waits.
    return waiting_cause(facts, workflow, due) or cause


def _failed(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause if the batch of the run that was due last has failed."""
    state = workflow.readable
    is_latest = state is not None and (due.last is None or attempted(state, due.last))
    return _failed_before(facts, workflow, due) if is_latest else None


def _failed_before(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    state = workflow.readable
    if state is None or state.batch is None or state.batch.status != "failed":
        return None
    batch, found = state.batch, workflow.failed_job
    job = found.job if found is not None else next(iter(failed_jobs(state)), None)
    text = f"{workflow.workflow} has failed: "
    if job is not None:
        text += f"job {job} of "
    text += f"batch {batch.batch_id} ended at {ended_text(batch.batch_end, facts.now)}"
    if found is not None and found.exit_code is not None:
        text += f" with exit code {found.exit_code}"
    elif found is not None and found.reason:
        text += f" ({found.reason})"
    record = batch.record
    if record is not None and record.closed_by is not None:
        text += f", closed by {record.closed_by}" + (f": {record.closed_why}" if record.closed_why else "")
    if workflow.failures > 1:
        text += f"; {workflow.failures} batches have failed since the last success"
    if found is not None and found.last_line:
        text += f"; stderr ends with: {found.last_line}"
    dag = facts.dag(workflow.workflow)
    if dag is not None and dag.paused:
        text += "; its DAG is paused"
    return Cause(WhyCode.FAILED, text)


def _file(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    file, name = workflow.file, workflow.workflow
    if file is None:
        return None
    if file.fault is not None:
        more = f" (and {file.faults - 1} more)" if file.faults > 1 else ""
        goes_on = "; Airflow continues with the last valid version" if facts.dag(name) is not None else ""
        return Cause(WhyCode.FAULTY_FILE, f"the file of {name} has an error: {file.fault}{more}{goes_on}")
    if not file.enabled:
        return Cause(WhyCode.FILE_DISABLED, f"the file of {name} says enabled: false, so Airflow has no DAG of it")
    return None


def _dag(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    airflow, name = facts.airflow, workflow.workflow
    if airflow is None:
        return None
    if (dag := airflow.dags.get(name)) is not None:
        return Cause(WhyCode.PAUSED, f"{name} is paused in Airflow (unpause its DAG)") if dag.paused else None
    if workflow.file is None or not workflow.file.has_dag:
        return None
    if error := airflow.import_errors.get(name):
        return Cause(WhyCode.IMPORT_ERROR, f"Airflow could not make the DAG of {name}: {error}")
    if silent := silent_cause(facts, name, "dag_processor"):
        return silent
    text = f"Airflow has no DAG of {name}: it has not parsed the file yet, or nothing loads the folder it is in"
    return Cause(WhyCode.NO_DAG, text)


def _starts_paused(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause if its file starts the DAG paused, and no Airflow says more of a workflow that never ran."""
    file, state = workflow.file, workflow.readable
    never_ran = state is None or state.batch is None
    if facts.airflow is not None or file is None or not file.starts_paused or not never_ran:
        return None
    text = f"{workflow.workflow} has never run, and its file says paused: true (unpause its DAG in Airflow)"
    return Cause(WhyCode.PAUSED, text)


def _disabled(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    state = workflow.readable
    if state is None or not state.jobs or state.jobs.keys() - state.disabled:
        return None
    name = workflow.workflow
    return Cause(WhyCode.ALL_DISABLED, f"all jobs of {name} are disabled (batchy enable {name} JOB)")


def _more_slices(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    state = workflow.readable
    batch = state.batch if state is not None else None
    if batch is None or not is_catching_up(workflow):
        return None
    loaded = "an unknown time" if batch.to_date is None else at_text(parse_date(batch.to_date))
    text = f"{workflow.workflow} is catching up: it is loaded up to {loaded}, and the next slice starts at once"
    return Cause(WhyCode.CATCHING_UP, text)


def _settled(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause if it is done, or not due."""
    if not is_done(workflow, due) and (due.last is not None or not workflow.schedule.known):
        return None
    name, state = workflow.workflow, workflow.readable
    batch = state.batch if state is not None else None
    if (left_out := left_out_since(workflow, due, facts.now)) is not None:
        moved = "" if left_out.moved_to is None else f", and its run is moved to {left_out.moved_to.isoformat()}"
        text = f"{name} is not due on {left_out.day.isoformat()}: {left_out.reason}{moved}{due_text(due)}"
        return Cause(WhyCode.NOT_DUE, text)
    if is_done(workflow, due) and state is not None and batch is not None:
        ended = batch.batch_end if batch.status == "success" else state.last_success
        what = f"batch {batch.batch_id} has succeeded" if batch.status == "success" else "its last success was"
        text = f"{name} is done: {what} at {ended_text(ended, facts.now)}"
        by_hand = "" if workflow.schedule.known or _starts_by_itself(workflow) else "; it has no schedule"
        return Cause(WhyCode.DONE, f"{text}{due_text(due)}{by_hand}")
    if due.next is not None:
        return Cause(WhyCode.NOT_DUE, f"{name} is not due before {at_text(due.next)}")
    if due.ended:
        return Cause(WhyCode.SCHEDULE_ENDED, f"{name} is not due any more: its end_date has passed")
    return Cause(WhyCode.NOT_DUE, f"{name} is never due: its schedule has no time that is left")


def _starts_by_itself(workflow: WorkflowFacts) -> bool:
    file = workflow.file
    return file is not None and (file.special is not None or bool(file.needed(Dependency.AFTER)))


def _silent(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    if facts.dag(workflow.workflow) is None:
        return None
    return silent_cause(facts, workflow.workflow, "scheduler")


def _empty(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    if workflow.empty is None:
        return None
    return Cause(WhyCode.NOTHING_TO_LOAD, workflow.empty.text)


def _run_failed(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    dag = facts.dag(workflow.workflow)
    run = dag.last_run if dag is not None else None
    if run is None or run.state != "failed" or (due.last is not None and (run.due is None or run.due < due.last)):
        return None
    when = "" if run.ended is None else f" at {at_text(run.ended)}"
    text = (
        f"run {run.run_id} of {workflow.workflow} has failed{when} and has opened no batch (see its tasks in Airflow)"
    )
    return Cause(WhyCode.RUN_FAILED, text)


def _by_hand(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    if workflow.schedule.known or _starts_by_itself(workflow):
        return None
    name = workflow.workflow
    return Cause(WhyCode.NO_SCHEDULE, f"{name} has no schedule that is known: it runs when somebody starts it")


def _never_ran(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause if it has never run. Airflow does not run what was due before it knew the DAG."""
    state, file = workflow.readable, workflow.file
    if (state is not None and state.batch is not None) or due.next is None or (file is not None and file.catches_up):
        return None
    dag = facts.dag(workflow.workflow)
    if dag is not None and dag.next_run is not None and dag.next_run <= facts.now:
        return None
    return Cause(WhyCode.NOT_DUE, f"{workflow.workflow} has never run; it is due next at {at_text(due.next)}")


def _not_started(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause:
    name, state = workflow.workflow, workflow.readable
    since = f"{name} is due since {at_text(due.last)}" if due.last is not None else f"{name} is to start"
    never = state is None or state.batch is None
    opened = "no batch of it was ever opened" if never else "no batch was opened since"
    ask = "; Airflow knows more: ask with --api, or airflow batchy why" if facts.airflow is None else ""
    nothing = "Redis and the files do not say why" if facts.airflow is None else "nothing that is known says why"
    return Cause(WhyCode.NOT_STARTED, f"{since}, and {opened}; {nothing}{ask}")


_RULES: tuple[Rule, ...] = (
    _lost_state,
    _open,
    _held,
    _active_run,
    _failed,
    _file,
    _dag,
    _starts_paused,
    _disabled,
    _more_slices,
    after_cause,
    _settled,
    waiting_cause,
    _empty,
    _silent,
    _run_failed,
    _failed_before,
    _by_hand,
    _never_ran,
    _not_started,
)
