# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which success of another workflow a run waits for: one that is there already, or one that is to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from batchy_provider.core.dates import day_bounds, day_of, parse_date, unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.pending_runs import DueTimes, is_done
from batchy_provider.plan.why_facts import Need, WorkflowFacts


@dataclass(frozen=True, slots=True)
class NeededSuccess:
    """A success that must end at some moment or later.

    :param since: Unix seconds.
    """

    since: float

    IS_THERE: ClassVar[NeededSuccess]
    """The success is there already."""


NeededSuccess.IS_THERE = NeededSuccess(float("-inf"))


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
    last = parse_date(state.last_success) if state is not None and state.last_success is not None else None
    if need.scope == "due" and other is not None and other.schedule.known:
        return _of_due_time(other, due, now)
    since = _since(need, facts, due)
    if last is not None and (since is None or last >= since):
        return NeededSuccess.IS_THERE
    return NeededSuccess(unix_seconds(now if since is None else since))


def _of_due_time(other: WorkflowFacts, due: datetime, now: datetime) -> NeededSuccess | datetime:
    try:
        fire = other.schedule.last_fire(due)
    except (BatchyError, OverflowError):
        return NeededSuccess(unix_seconds(now))
    if fire <= now and is_done(other, DueTimes(last=fire)):
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
