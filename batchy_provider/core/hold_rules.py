# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide on holds: set one, release one, and refuse to open a batch while there is one.

A hold stops what opens batches, and nothing else. A batch that is open goes on and is closed as always, and a person
may set the window, reset the workflow or switch jobs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from batchy_provider.core.dates import format_date, read_date
from batchy_provider.core.holds import MAX_REASON, Hold, HoldSet
from batchy_provider.core.job_state import JobState
from batchy_provider.core.presenters import event, unknown_workflow
from batchy_provider.core.snapshot import Change, Decision, Snapshot, StoredConfig
from batchy_provider.core.storable_text import text_problem
from batchy_provider.core.values import OpenRequest, WorkflowConfig
from batchy_provider.exceptions import ConfigError, NotOnHoldError, WindowError, WorkflowOnHoldError


def active_hold(state: Snapshot, now: datetime) -> Hold | None:
    """Return the hold on a workflow; None without one, and if it has ended by itself."""
    return None if state.hold is None or state.hold.is_over(now) else state.hold


def set_hold(
    state: Snapshot, until: object, why: str, now: datetime, *, by: str, config: WorkflowConfig | None = None
) -> Decision[HoldSet]:
    """Put a workflow on hold. It replaces an earlier hold.

    :param until: when the hold ends by itself: a date, or ISO 8601 text, UTC. None: only a release ends it.
    :param config: the configuration in the workflow's file, for a workflow that has never opened a batch; None without.
    :raises ConfigError: if `until` is no date that lies in the future, or the reason is missing, too long, or cannot be
        stored.
    :raises UnknownWorkflowError: if neither Redis nor a configuration knows the workflow.
    """
    given = None if config is None else {name: JobState.new(fields) for name, fields in config.jobs.items()}
    if not state.jobs and not given:
        raise unknown_workflow(state.workflow)
    hold = Hold(by=by, why=_checked_reason(why), since=format_date(now), until=_checked_end(until, now))
    change = Change(hold=hold, event=event(state.workflow, state.live_id, "hold", "live", now))
    if not state.jobs and config is not None:
        change = replace(change, live=given, config=StoredConfig.of(config))
    return Decision(HoldSet(hold, active_hold(state, now), state.open_id), change)


def release(state: Snapshot, now: datetime) -> Decision[Hold]:
    """End a hold before its time.

    :returns: the hold that has ended.
    :raises NotOnHoldError: if the workflow is not on hold.
    :raises UnknownWorkflowError: if Redis does not know the workflow.
    """
    if not state.jobs:
        raise unknown_workflow(state.workflow)
    if state.hold is None:
        raise NotOnHoldError(f"{state.workflow} is not on hold, so there is nothing to release")
    if state.hold.is_over(now):
        raise NotOnHoldError(
            f"{state.workflow} is not on hold any more, so there is nothing to release: the hold of {state.hold.by} "
            f"ended by itself at {state.hold.until} UTC"
        )
    return Decision(state.hold, Change(hold=None, event=event(state.workflow, state.live_id, "release", "live", now)))


def check_not_on_hold(state: Snapshot, request: OpenRequest, now: datetime) -> None:
    """Require that a batch may be opened: there is no hold, or the person who opens it has asked to ignore it.

    :raises WorkflowOnHoldError: if the workflow is on hold.
    """
    hold = active_hold(state, now)
    if hold is None or request.ignore_hold:
        return
    raise WorkflowOnHoldError(
        f"{state.workflow} is {hold}. No batch opens until then. To end the hold: "
        f"`batchy release {state.workflow}`. To open this batch all the same: --ignore-hold",
        by=hold.by,
        why=hold.why,
        until=hold.until,
    )


def ignored_hold(state: Snapshot, now: datetime) -> list[str]:
    """Return the warning of an opening that a person has asked for in spite of a hold; empty without a hold."""
    hold = active_hold(state, now)
    return [] if hold is None else [f"{state.workflow} is {hold}. The batch was opened all the same, as asked"]


def _checked_reason(why: str) -> str:
    text = why.strip()
    if not text:
        raise ConfigError("a hold needs a reason: it is what others read at night. Give it with --why")
    if len(text) > MAX_REASON:
        raise ConfigError(f"the reason of a hold has {len(text)} characters; write at most {MAX_REASON}")
    if problem := text_problem(text, "reason"):
        raise ConfigError(problem)
    return text


def _checked_end(until: object, now: datetime) -> str | None:
    if until is None:
        return None
    try:
        moment = read_date(until)
    except WindowError as error:
        raise ConfigError(f"until: {error}") from error
    if moment <= now:
        raise ConfigError(
            f"until {format_date(moment)} UTC lies in the past (it is {format_date(now)} UTC), so the hold would end "
            "at once; give a moment in the future, or none to hold until the release"
        )
    return format_date(moment)
