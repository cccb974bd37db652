# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which success of another workflow a run waits for: one that is there already, or one that is to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from batchy_provider.core.dates import day_bounds, day_of, parse_date, unix_seconds
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.pending_runs import DueTimes, is_catching_up, is_done
from batchy_provider.plan.why_facts import Need, WorkflowFacts


@dataclass(frozen=True, slots=True)
class NeededSuccess:
    """A success that must end at some moment or later.

    :param since: Unix seconds.
    """

    since: float

    IS_THERE: ClassVar[NeededSuccess]
    """The success is there already."""
    NEVER: ClassVar[NeededSuccess]
    """The success does not come unless a person acts: a job is disabled, or there is none of this name."""


NeededSuccess.IS_THERE = NeededSuccess(float("-inf"))
NeededSuccess.NEVER = NeededSuccess(float("inf"))


def needed_success(
    need: Need, facts: WorkflowFacts, due: datetime, source: PlanInput | None, now: datetime
) -> NeededSuccess | datetime:
    """Return which success of another workflow a run waits for.

    :param facts: of the workflow that waits.
    :param due: when the run was or is due, naive UTC.
    :param source: the workflow that it waits for; None if nobody knows it.
    :param now: naive UTC.
    :returns: since when a success counts; or, for the scope ``due``, the due time of the run whose success it is.
    """
    other = source.facts if source is not None else None
    state = other.readable if other is not None else None
    if source is not None and state is not None and not _can_succeed(need, source, state):
        return NeededSuccess.NEVER
    last = _last_success(need, state)
    if need.scope == "due" and other is not None and other.schedule.known:
        return _of_due_time(other, due, now)
    since = _since(need, facts, due)
    if last is not None and (since is None or last >= since):
        return NeededSuccess.IS_THERE
    return NeededSuccess(unix_seconds(now if since is None else since))


def _can_succeed(need: Need, source: PlanInput, state: WorkflowState) -> bool:
    """Tell whether the jobs of a wait can succeed: they exist, and at least one of them is enabled."""
    wanted = [job for job in need.jobs or state.jobs if job not in state.disabled]
    known = source.jobs.keys() if source.jobs is not None else state.jobs.keys()
    # A job that is new in the file is in the state after the next opening.
    return (bool(wanted) or not state.jobs) and all(job in known or job in state.jobs for job in wanted)


def _last_success(need: Need, state: WorkflowState | None) -> datetime | None:
    """Return when the jobs of a wait have last succeeded; None if they have not, or that is not known."""
    if state is None:
        return None
    ends: list[str | None] = [state.last_success]
    if need.jobs:
        fields = [state.jobs.get(job, {}) for job in need.jobs if job not in state.disabled]
        # A job that took no part in the latest batches has an older success than the others.
        ends += [each.get("batch_end") for each in fields if each.get("status") == "success"]
        if any(each.get("status") in (None, "new") for each in fields):
            return None
    return None if None in ends else min(parse_date(each) for each in ends if each is not None)


def _of_due_time(other: WorkflowFacts, due: datetime, now: datetime) -> NeededSuccess | datetime:
    try:
        fire = other.schedule.last_fire(due)
    except (BatchyError, OverflowError):
        return NeededSuccess(unix_seconds(now))
    if fire <= now and is_done(other, DueTimes(last=fire)) and not is_catching_up(other):
        return NeededSuccess.IS_THERE
    return fire


def _since(need: Need, facts: WorkflowFacts, due: datetime) -> datetime | None:
    """Return since when a success counts; None for any."""
    if need.scope in ("today", "due"):
        return day_bounds(day_of(due, need.timezone), need.timezone)[0]
    if need.scope == "within" and need.within_seconds is not None:
        return due - timedelta(seconds=need.within_seconds)
    if need.scope == "since_last_run" and facts.readable is not None and facts.readable.batch is not None:
        batch = facts.readable.batch
        began = batch.started if batch.status == "success" else facts.readable.last_success
        return None if began is None else parse_date(began)
    return None
