# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide which interval each job must have loaded before a wait ends, and say in words how much of it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from batchy_provider.core.dates import parse_date
from batchy_provider.core.duration_text import format_duration
from batchy_provider.core.expected_ends import Configs, has_expected_ends, shaped_interval
from batchy_provider.core.intervals import Interval, Intervals
from batchy_provider.core.job_settings import initial
from batchy_provider.core.job_state import JobState
from batchy_provider.core.ledger import Ledger
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.snapshot import Snapshot, StoredConfig
from batchy_provider.core.wait_intervals import (
    Shortfall,
    comparisons,
    day_interval,
    due_interval,
    recent_interval,
)
from batchy_provider.core.waits import Wait
from batchy_provider.core.windows import position_or_none
from batchy_provider.exceptions import BatchyError

_SHOWN_GAPS = 3
_SHOWN_GROUPS = 3


def has_due_times(state: Snapshot, sources: Configs) -> bool:
    """Tell whether it is known up to where a workflow loads at its due times; if not, the day counts instead.

    :param sources: see `compare`.
    """
    return has_expected_ends(state.workflow, {**sources, state.workflow: state.config})


def compare(
    state: Snapshot, wait: Wait, ledger: Ledger, jobs: Iterable[str], sources: Mapping[str, StoredConfig] | None = None
) -> list[Shortfall]:
    """Return for each job which interval the wait needs from it, and what it lacks of that.

    :param state: the workflow that is waited for.
    :param wait: of a backfill, or with scope ``due``.
    :param ledger: what its jobs have loaded.
    :param jobs: the jobs that the wait needs.
    :param sources: the configurations of the workflows whose data this one loads, and of theirs.
    """
    configs = {**(sources or {}), state.workflow: state.config}
    return comparisons(ledger, {job: _wanted(state, wait, configs, job, ledger.get(job, ())) for job in jobs})


def _wanted(state: Snapshot, wait: Wait, configs: Configs, job: str, loaded: Intervals) -> Interval:
    """Return the interval that one job must have loaded."""
    found = state.jobs.get(job)
    interval = _shaped(state, wait, configs, loaded)
    starts = []
    if found is not None:
        starts.append(_initial(state.workflow, job, found))
        if not wait.backfill:
            interval = Interval(min(interval.start, _watermark(state, job, found, loaded)), interval.end)
            starts.append(_start_of_foreign_window(state, found))
    # Data before these moments does not exist, or was loaded by batches that the ledger does not know.
    start = max([interval.start, *(each for each in starts if each is not None)])
    if wait.backfill and start >= interval.end:
        return interval  # a day before the first window: only a backfill of the same day can load it
    return Interval(min(start, interval.end), interval.end)


def _shaped(state: Snapshot, wait: Wait, configs: Configs, loaded: Intervals) -> Interval:
    """Return the interval that the wait asks for, as far as the windows of the workflow go."""
    schedule = state.config.schedule
    interval = _asked(wait, schedule, loaded)
    if not schedule.known or state.config.window is None:
        return interval
    shaped = shaped_interval(state.workflow, interval, configs, from_fire=wait.backfill)
    return _asked(wait, Schedule(), loaded) if shaped is None else shaped


def _asked(wait: Wait, schedule: Schedule, loaded: Intervals) -> Interval:
    assert wait.day is not None
    due = None if wait.due is None else parse_date(wait.due)
    if schedule.known and not wait.backfill and due is not None:
        return due_interval(schedule, due)
    if not schedule.known and wait.scope == "within" and due is not None:
        assert wait.within_seconds is not None
        return recent_interval(Interval(due - timedelta(seconds=wait.within_seconds), due), loaded)
    return day_interval(schedule, wait.day, wait.timezone, due, loaded)


def _initial(workflow: str, name: str, job: JobState) -> datetime | None:
    """Return where the data of a job begins by its configuration; None if that is not known."""
    try:
        return initial(workflow, name, job)
    except BatchyError:
        return None


def _watermark(state: Snapshot, name: str, job: JobState, loaded: Intervals) -> datetime:
    """Return up to where live batches have loaded a job, so that nothing after that may be missing.

    A later interval that a history batch has loaded does not end a wait while the live batches have not come so far.
    Without a live batch there is no such moment, and what lies before the first load is not missing.
    """
    at = position_or_none(state.workflow, name, job, state.config)
    if at is None or job.from_date is None or not loaded:
        return datetime.max
    return max(at.watermark, loaded[0].start)


def _start_of_foreign_window(state: Snapshot, job: JobState) -> datetime | None:
    """Return where the latest window starts, if the original server has opened it: its earlier ones touch that one."""
    if state.live_record is not None or job.batch_id is None or job.from_date is None:
        return None
    try:
        return parse_date(job.from_date)
    except BatchyError:
        return None


# -- in words --------------------------------------------------------------------------------------------


def moment_text(moment: datetime) -> str:
    """Write a moment (naive UTC) for people: to the minute or, where it has seconds, to the second."""
    has_seconds = moment.second or moment.microsecond
    return moment.isoformat(sep=" ", timespec="seconds" if has_seconds else "minutes")


def interval_text(interval: Interval) -> str:
    """Write an interval for people."""
    return f"{moment_text(interval.start)} to {moment_text(interval.end)}"


def shortfall_text(lacking: Sequence[Shortfall]) -> str:
    """Say how much each job has loaded and what it lacks; jobs that lack the same are named together."""
    groups: dict[tuple[Interval, Intervals], list[Shortfall]] = {}
    for each in lacking:
        groups.setdefault((each.wanted, each.missing), []).append(each)
    texts = [_group_text(group) for group in list(groups.values())[:_SHOWN_GROUPS]]
    if more := sum(len(group) for group in list(groups.values())[_SHOWN_GROUPS:]):
        texts.append(f"{more} more jobs lack other parts")
    return "; ".join(texts)


def _duration_text(duration: timedelta) -> str:
    seconds = timedelta(seconds=1)
    return format_duration(duration if duration < seconds else duration // seconds * seconds)


def _group_text(group: Sequence[Shortfall]) -> str:
    names = [each.job for each in group]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    one = group[0]
    time = _duration_text(one.missing_time)
    gaps = ", ".join(map(interval_text, one.missing[:_SHOWN_GAPS]))
    if len(one.missing) > _SHOWN_GAPS:
        gaps += f" and {len(one.missing) - _SHOWN_GAPS} more gaps"
    if one.missing == (one.wanted,):
        found = f"nothing loaded, {time} missing"
    elif one.missing == (Interval(one.loaded_until, one.wanted.end),):
        found = f"loaded until {moment_text(one.loaded_until)}, {time} missing"
    elif one.loaded_until > one.wanted.start:
        found = f"loaded until {moment_text(one.loaded_until)}, {time} missing: {gaps}"
    else:
        found = f"{time} missing: {gaps}"
    return f"{'job' if len(names) == 1 else 'jobs'} {shown}: {found}"
