# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which workflows a workflow waits for, and what it needs of them."""

from __future__ import annotations

from collections.abc import Sequence

from batchy_provider.core.dates import parse_date
from batchy_provider.core.vocabulary import NothingToLoad
from batchy_provider.plan.pending_runs import DueTimes, due_times, ended_text, is_done
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Cause, Dependency, Facts, WaitFacts, WorkflowFacts

_BEHIND = frozenset({NothingToLoad.UPSTREAM_BEHIND.value, NothingToLoad.UPSTREAM_UNKNOWN.value})


def waiting_cause(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause if the run that is due waits for other workflows; None if it does not."""
    unmet = [each for each in workflow.waits if each.verdict.state != "done"]
    if unmet:
        names = tuple(dict.fromkeys(each.wait.workflow for each in unmet))
        first = unmet[0]
        if len(names) == 1 and first.wait.jobs and first.verdict.obstacle in ("disabled", "job"):
            return _never_over(workflow.workflow, first)
        found = "; ".join(each.verdict.text for each in unmet)
        found = found.removeprefix(f"{first.wait.workflow}: ") if len(unmet) == 1 else found
        text = f"{workflow.workflow} waits for {_joined(names)}: {found}"
        return Cause(WhyCode.WAITING, text, names)
    if workflow.empty is not None and workflow.empty.code in _BEHIND:
        names = tuple(need.workflow for need in workflow.file.needed(Dependency.UNTIL)) if workflow.file else ()
        if names:
            text = f"{workflow.workflow} waits for {_joined(names)}: {_without_name(workflow, workflow.empty.text)}"
            return Cause(WhyCode.WAITING, text, names)
    return None


def _never_over(name: str, found: WaitFacts) -> Cause:
    """Return the cause of a wait for jobs that cannot succeed."""
    other, jobs = found.wait.workflow, ", ".join(found.wait.jobs)
    if found.verdict.obstacle == "job":
        return Cause(WhyCode.UNKNOWN_JOB, f"{name} waits for job {jobs} of {other}: {found.verdict.text}")
    text = f"{name} waits for job {jobs} of {other}, which is disabled (batchy enable {other} {found.wait.jobs[0]})"
    return Cause(WhyCode.JOB_DISABLED, text)


def _without_name(workflow: WorkflowFacts, text: str) -> str:
    return text.removeprefix(f"{workflow.workflow}: ")


def after_cause(facts: Facts, workflow: WorkflowFacts, due: DueTimes) -> Cause | None:
    """Return the cause of a workflow that starts after others: it waits for them, or they have not run again."""
    file, name = workflow.file, workflow.workflow
    needs = file.needed(Dependency.AFTER) if file is not None else []
    if file is None or not needs or workflow.schedule.known:
        return None  # with a cron expression beside the workflows, it does not wait for them
    if file.after_result != "success":
        what = "failed" if file.after_result == "failed" else "ended"
        text = f"{name} starts when a batch of {_joined([need.workflow for need in needs])} has {what}"
        return Cause(WhyCode.NOT_DUE, text)
    missing = [need for need in needs if not has_new_success(facts.workflows.get(need.workflow), workflow)]
    if not missing or (file.after_any and len(missing) < len(needs)):
        return None
    names = tuple(need.workflow for need in missing)
    began = len(missing) < len(needs) or any(_is_pending(facts, each) for each in names)
    how = "one of them has succeeded again" if file.after_any and len(names) > 1 else "succeeded again"
    state = workflow.readable
    if state is not None and state.batch is not None and state.batch.status == "success" and not began:
        text = f"{name} is done: batch {state.batch.batch_id} has succeeded at "
        text += f"{ended_text(state.batch.batch_end, facts.now)}; it starts again after {_joined(names)}"
        return Cause(WhyCode.DONE, text)
    have = how if how.startswith("one") else f"{'has' if len(names) == 1 else 'have'} {how}"
    text = f"{name} waits for {_joined(names)}: it starts when {'it' if len(names) == 1 else 'they'} {have}"
    return Cause(WhyCode.WAITING, text.replace("they one of them", "one of them"), names)


def has_new_success(other: WorkflowFacts | None, workflow: WorkflowFacts) -> bool:
    """Tell whether another workflow has succeeded since a workflow has last opened a batch."""
    state = other.readable if other is not None else None
    if state is None or state.last_success is None:
        return False
    own = workflow.readable
    began = own.batch.started if own is not None and own.batch is not None else None
    return began is None or parse_date(state.last_success) > parse_date(began)


def _is_pending(facts: Facts, name: str) -> bool:
    """Tell whether a workflow is to succeed again now: it is open, has failed, or is due."""
    other = facts.workflows.get(name)
    state = other.readable if other is not None else None
    if other is None or state is None or state.batch is None:
        return True
    if state.batch.status in ("open", "failed"):
        return True
    due = due_times(other, facts.now)
    return due.last is not None and not is_done(other, due)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
