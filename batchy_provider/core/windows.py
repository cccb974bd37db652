# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide where a job's next window starts.

A window goes from its start, inclusive, to its end, exclusive. After a success the next one starts where the last one
ended, less the overlap. After anything else the job takes the same window again, extended to now.

With boundaries (``align``), the overlap reaches back to one of them: a window loads whole days again, never a part.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from batchy_provider.core.boundaries import boundary_after, boundary_at
from batchy_provider.core.dates import midnight, parse_date
from batchy_provider.core.intervals import contiguous_end
from batchy_provider.core.job_settings import beginning, cuts_to_midnight, initial, overlap
from batchy_provider.core.job_state import INITIAL_DATE, JobState
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.statuses import status_of
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import BatchyError, StateError, WindowError


class StartRules(Protocol):
    """What a workflow's configuration says of where windows start: all forms of the configuration have it."""

    @property
    def timezone(self) -> str:
        """IANA name; of midnight, and of the boundaries."""

    @property
    def window(self) -> WindowShape | None:
        """The shape of the windows; None if they have none."""


class Position(NamedTuple):
    """How far a job has been loaded.

    :param start: where its next window starts, overlap, boundary and cut included; naive UTC.
    :param watermark: how far it is loaded without a gap; the next window must reach at least up to here, or
        the watermark would go back.
    """

    start: datetime
    watermark: datetime


def position(workflow: str, name: str, job: JobState, rules: StartRules) -> Position:
    """Return how far a job has been loaded, by its latest state.

    A success hands on its ``batch_start`` (always equal to ``to_date`` unless the original server has opened
    since, and then the one that is right); whatever is not a success keeps its window.

    :raises StateError: if a date or the status cannot be read.
    """
    last_end = _date(workflow, name, job, "batch_start")
    last_from = _date(workflow, name, job, "from_date")
    if status_of(workflow, name, job) == "success" and last_end is not None:
        watermark = last_end
        start = _less_overlap(watermark, workflow, name, job, rules)
    else:
        start = watermark = beginning(workflow, name, job) if last_from is None else last_from
    if cuts_to_midnight(workflow, name, job):
        start = midnight(start, rules.timezone)
    return Position(start, watermark)


_UNHASHABLE = frozenset({list, dict})
_STATE_OF_POSITION = ("status", "batch_start", "from_date")
_SETTINGS_OF_POSITION = ("reprocess_hours", "trunc_start", INITIAL_DATE)


def position_key(job: JobState) -> tuple[object, ...]:
    """Return what `position` depends on, as a key: two jobs of a workflow with the same key have the same position."""
    state = job.fields if job.state is None else job.state
    given = job.fields if job.given is None else job.given
    values = (*map(state.get, _STATE_OF_POSITION), *map(given.get, _SETTINGS_OF_POSITION))
    kinds = tuple(map(type, values))  # only they tell 1 and true apart
    # Lists and objects cannot be keys.
    return (kinds, repr(values)) if _UNHASHABLE.intersection(kinds) else (kinds, values)


def loaded_until(state: Snapshot, name: str, job: JobState, at: Position) -> datetime:
    """Return how far a job is loaded without a gap, so that its next window must end after that.

    A job that has not succeeded keeps a window that may reach back to what is loaded already. The record of the batch
    tells up to where, or else the ledger.

    :param at: its position, see `position`.
    """
    if status_of(state.workflow, name, job) == "success":
        return max(at.watermark, at.start)
    record = state.live_record
    if record is not None and record.moved and name not in record.left_out:
        return at.start  # a person has asked to load all from there on again, so what was loaded before does not count
    match ((record.loaded if record is not None else None) or {}).get(name):
        case [start, end] if start == job.from_date:
            return max(parse_date(end), at.start)
    return _loaded_by_ledger(state, name, job, at)


def _loaded_by_ledger(state: Snapshot, name: str, job: JobState, at: Position) -> datetime:
    loaded = state.ledger.get(name, ())
    end = contiguous_end(loaded, at.start)
    if end == at.start:
        # The window may begin in a gap that lies before what the job has loaded.
        back = overlap(state.workflow, name, job)
        if back and (align := _align(state.config)) is not None:
            back += boundary_after(align, state.config.timezone, at.start) - at.start - _TICK
        back += _LONGEST_DAY if cuts_to_midnight(state.workflow, name, job) else timedelta()
        end = max((each.end for each in loaded if at.start < each.end and each.end - at.start <= back), default=end)
    if state.last_success is None:
        return end
    # What a backfill has loaded beyond the last live window is no part of it.
    return min(end, max(at.start, parse_date(state.last_success.to_date)))


_LONGEST_DAY = timedelta(hours=25)
_TICK = timedelta(microseconds=1)


def _align(rules: StartRules) -> str | None:
    return None if rules.window is None else rules.window.align


def watermarks(state: Snapshot) -> dict[str, datetime]:
    """Return job → its watermark; without the jobs whose state or configuration cannot be read."""
    found = {name: position_or_none(state.workflow, name, job, state.config) for name, job in state.jobs.items()}
    return {name: at.watermark for name, at in found.items() if at is not None}


def initial_dates(state: Snapshot) -> dict[str, datetime]:
    """Return job → its initial date; without the jobs that have none, or none that can be read."""
    found: dict[str, datetime] = {}
    for name, job in state.jobs.items():
        with suppress(BatchyError, OverflowError):
            if (date := initial(state.workflow, name, job)) is not None:
                found[name] = date
    return found


def position_or_none(workflow: str, name: str, job: JobState, rules: StartRules) -> Position | None:
    """Return how far a job has been loaded, or None if its state or configuration cannot be read."""
    try:
        return position(workflow, name, job, rules)
    except (BatchyError, OverflowError):
        return None


def _less_overlap(watermark: datetime, workflow: str, name: str, job: JobState, rules: StartRules) -> datetime:
    """Return where a window starts that loads the overlap again: on a boundary, if windows have them.

    It reaches back no further than ``initial_date``. Without an overlap the windows touch, wherever the last one ended.
    """
    back = overlap(workflow, name, job)
    first = initial(workflow, name, job)
    reach = watermark - (datetime.min if first is None else min(watermark, first))
    if back <= reach:
        start = watermark - back
        align = _align(rules) if back else None
        return start if align is None else max(boundary_at(align, rules.timezone, start), watermark - reach)
    if first is not None:
        return watermark - reach
    raise WindowError(
        f"{workflow}, job {name!r}: reprocess_hours {job.fields['reprocess_hours']!r} reaches back before the year 1"
    )


def _date(workflow: str, name: str, job: JobState, field: str) -> datetime | None:
    value = job.fields.get(field)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_date(value)
        raise WindowError(f"{value!r} is not a date")
    except WindowError as error:
        raise StateError(
            f"{field} of job {name!r} of workflow {workflow!r} in Redis: {error}. Set it with `set-window`, or `load` "
            "the configuration again"
        ) from error
