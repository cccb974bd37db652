# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Work out the outlook of each run that has a deadline: from facts, the plan, and the warnings that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.deadline_warnings import DeadlineWarning, Outlook, OverCode, WarningState
from batchy_provider.core.vocabulary import Reason
from batchy_provider.plan.expected_runs import ExpectedRun, RunState
from batchy_provider.plan.pending_runs import is_catching_up, is_fire
from batchy_provider.plan.why_facts import WorkflowFacts


def outlooks(
    facts: WorkflowFacts,
    runs: Sequence[ExpectedRun],
    stored: Mapping[str, DeadlineWarning],
    now: datetime,
    *,
    wanted: bool = True,
    paused: bool = False,
) -> list[Outlook]:
    """Return the outlook of each run of a workflow that may need a warning, or the end of one.

    These are the runs that are due already, the next one, and those with a warning that stands. Without a valid file
    and a state that can be read, nothing is known, so nothing changes.

    :param runs: the expected runs of the workflow, in order.
    :param stored: run → its warning.
    :param now: when the state was read, naive UTC.
    :param wanted: the file has a deadline with `warn`, and makes a DAG.
    :param paused: the DAG is paused.
    """
    state = facts.readable
    if state is None or (facts.file is not None and facts.file.fault is not None):
        return []
    # The success of a slice is not that of the run.
    success = None if is_catching_up(facts) or _is_slice(facts) else state.last_success
    found: dict[str, Outlook] = {}
    for run in nearest(facts, runs) if wanted else ():
        if (outlook := _of_run(run, success, now)) is not None:
            found[outlook.run] = outlook
    for key, warning in stored.items():
        if warning.stands and key not in found:
            found[key] = _of_warning(facts, warning, success, now, wanted=wanted)
    stop = _stopped(facts, runs, paused=paused)
    return [_with_stop(each, stop) for each in found.values()]


def nearest(facts: WorkflowFacts, runs: Sequence[ExpectedRun]) -> list[ExpectedRun]:
    """Return the runs that are due already, and the next one.

    A workflow without cron has no due times. Its deadline counts from the start of a run, so only a run that has
    started has one. A run of a workflow with cron that a person has started has none, unless it does what was due.
    """
    by_time = facts.schedule.known
    found = [run for run in runs if (is_fire(facts, run.due) if by_time else run.state is RunState.RUNNING)]
    begun = [run for run in found if run.state is not RunState.EXPECTED]
    return begun + [run for run in found if run.state is RunState.EXPECTED][:1]


def _is_slice(facts: WorkflowFacts) -> bool:
    """Tell whether a slice of a larger window is open."""
    batch = facts.readable.batch if facts.readable is not None else None
    if batch is None or batch.status != "open" or batch.record is None:
        return False
    return batch.record.more is True or batch.record.reason_code == Reason.NEXT_SLICE.value


def _of_run(run: ExpectedRun, last_success: str | None, now: datetime) -> Outlook | None:
    begin = run.due or run.start
    if begin is None or run.deadline is None:
        return None
    if (ended := _by_success(last_success, begin, run.deadline)) is not None:
        # It has met, or missed, its deadline already, and somebody runs it again.
        missed = ended is WarningState.MISSED
        over = None if missed else OverCode.CLOSED_IN_TIME
        return Outlook(run=format_date(begin), deadline=run.deadline, at=now, over=over, missed=missed)
    return Outlook(
        run=format_date(begin),
        deadline=run.deadline,
        at=now,
        chance=run.miss_probability,
        expected_end=run.end_p50,
        late_end=run.end_p90,
        missed=run.deadline <= now,
    )


def _of_warning(
    facts: WorkflowFacts, warning: DeadlineWarning, last_success: str | None, now: datetime, *, wanted: bool
) -> Outlook:
    """Return the outlook of a run with a warning that the plan does not have any more: it has ended, or is gone."""
    begin = parse_date(warning.run)
    over: OverCode | None = None
    ended = _by_success(last_success, begin, warning.deadline)
    missed = ended is WarningState.MISSED or (ended is None and warning.deadline <= now)
    if ended is WarningState.OVER:
        over = OverCode.CLOSED_IN_TIME
    elif not missed and not wanted:
        over = OverCode.NOT_WANTED
    elif not missed and facts.schedule.known and not is_fire(facts, begin):
        over = OverCode.NO_RUN
    # Else a run of it has failed, or a later one is due already: nothing says that the danger is over.
    return Outlook(run=warning.run, deadline=warning.deadline, at=now, over=over, missed=missed)


def _by_success(last_success: str | None, begin: datetime, deadline: datetime) -> WarningState | None:
    """Return how the latest success has decided about a deadline; None if it is older than the run."""
    if last_success is None or (success := parse_date(last_success)) < begin:
        return None
    return WarningState.MISSED if success > deadline else WarningState.OVER


def _stopped(facts: WorkflowFacts, runs: Sequence[ExpectedRun], *, paused: bool) -> OverCode | None:
    """Return why no run goes on now, if a person has decided so."""
    if paused:
        return OverCode.PAUSED
    state = facts.readable
    # A hold does not stop a batch that is open.
    is_running = any(run.state is RunState.RUNNING for run in runs)
    return OverCode.ON_HOLD if state is not None and state.hold is not None and not is_running else None


def _with_stop(outlook: Outlook, stop: OverCode | None) -> Outlook:
    if stop is None or outlook.missed or outlook.over is not None:
        return outlook
    return Outlook(run=outlook.run, deadline=outlook.deadline, at=outlook.at, over=stop)
