# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide where the next windows of a workflow end, by the shape of its windows.

All windows of a batch end at one moment. With a `max` that is the earliest moment at which the slice of a job is full,
so the oldest data comes first; a job that has loaded beyond that moment takes no part, and its window stays.

The decision follows from how far each job is loaded, and from nothing that a failure changes. So a batch that has
failed is taken again with the same start, and with an end that lies no earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchy_provider.core.boundaries import boundary_after, boundary_at, later_by
from batchy_provider.core.dates import BEGINNING, format_date
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.vocabulary import NothingToLoad
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import NothingToLoadError, StateError

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What an opening may load at most.

    :param now: naive UTC.
    :param schedule: of the workflow.
    :param timezone: IANA name of the timezone of the boundaries.
    :param due: when the run was due, naive UTC; None if it is no run.
    :param by_event: the success of another workflow has started the run, so it was due at that moment.
    :param catchup: the run is one of those that were missed.
    :param upstream: workflow → how far it has loaded, for the workflows of ``until``.
    """

    now: datetime
    schedule: Schedule
    timezone: str
    due: datetime | None = None
    by_event: bool = False
    catchup: bool = False
    upstream: Mapping[str, LoadedUntil]

    @property
    def own_interval(self) -> datetime | None:
        """Where the own interval of a missed run ends; None for the last one, which takes the rest, and for all others.

        Without a known schedule nobody can say which one is the last, and each takes its own.
        """
        if not self.catchup or self.due is None:
            return None
        is_last = self.schedule.known and self.schedule.last_fire(self.now) <= self.due
        return None if is_last else self.due

    def end(self, shape: WindowShape) -> datetime | None:
        """Return up to where a window of this shape may go now; None if an upstream workflow has loaded nothing."""
        ends = [self.now]
        if shape.until == "schedule":
            ends.append(self._due())
        if shape.until == "workflows":
            known = [each.end for name in shape.workflows if (each := self.upstream[name]).end is not None]
            if len(known) < len(shape.workflows):
                return None
            ends += known
        if (own := self.own_interval) is not None:
            ends.append(own)
        try:
            end = min(ends) - shape.delay
        except OverflowError:
            return datetime.min
        return end if shape.align is None else boundary_at(shape.align, self.timezone, end)

    def _due(self) -> datetime:
        asked = self.now if self.due is None else self.due
        if self.by_event:
            return asked
        # What a person starts is due when the schedule has fired last.
        return self.schedule.last_fire(asked) if self.schedule.known else asked


@dataclass(frozen=True, slots=True)
class Slice:
    """Where the windows of a batch end.

    :param ends: job → end of its window, of the jobs that take part.
    :param more: more data is left after it, and is to be loaded at once.
    """

    ends: Mapping[str, datetime]
    more: bool


def next_slice(workflow: str, shape: WindowShape, loaded: Mapping[str, datetime], limit: Limit) -> Slice:
    """Return where the next windows of a workflow end.

    :param loaded: job → how far it is loaded, naive UTC, of the jobs that are switched on.
    :raises NothingToLoadError: if no job has anything to load, and the shape skips that.
    """
    timezone = limit.timezone
    latest = limit.end(shape)
    waiting = {name: end for name, end in loaded.items() if latest is not None and end < latest}
    if latest is None or not waiting:
        if shape.if_empty == "run" and loaded:
            return Slice(dict(loaded), more=False)
        raise _nothing(workflow, shape, loaded, limit, latest)
    end = min([latest, *(_full(shape, each, timezone) for each in waiting.values())])
    # A job that is loaded further waits for those behind it, or runs on an empty window.
    ends = {name: end for name, done in waiting.items() if done < end}
    if shape.if_empty == "run":
        ends = {name: max(end, done) for name, done in loaded.items()}
    return Slice(ends, more=end < latest)


def _full(shape: WindowShape, loaded: datetime, timezone: str) -> datetime:
    """Return where a slice that begins after what is loaded is full: at least one step of the boundaries."""
    if shape.max is None or loaded <= BEGINNING:
        # Nobody knows where the data of a job without a beginning begins: no slices lead there.
        return datetime.max
    end = later_by(loaded, shape.max, timezone)
    if shape.align is None:
        return end
    aligned = boundary_at(shape.align, timezone, end)
    return aligned if aligned > loaded else boundary_after(shape.align, timezone, loaded)


def _nothing(
    workflow: str,
    shape: WindowShape,
    loaded: Mapping[str, datetime],
    limit: Limit,
    latest: datetime | None,
) -> NothingToLoadError:
    nothing = f"{workflow}: there is nothing to load"
    if not loaded:
        code = NothingToLoad.ALL_DISABLED
        return NothingToLoadError(f"{nothing}: every job is switched off", code=code.value)
    for name in shape.workflows if latest is None else ():
        if (found := limit.upstream[name]).end is None:
            code = NothingToLoad.UPSTREAM_UNKNOWN
            text = f"{nothing}: this workflow loads what {name} has loaded, and {name} {found.why}"
            return NothingToLoadError(text, code=code.value)
    done = min(loaded.values())
    text = f"{nothing}: its data is loaded up to {format_date(done)} UTC"
    step = None if shape.align is None else boundary_after(shape.align, limit.timezone, done)
    if shape.until == "workflows":
        name = min(shape.workflows, key=lambda each: limit.upstream[each].end or datetime.min)
        found = limit.upstream[name]
        if found.end is not None and found.end - shape.delay < (step or done + _TICK):
            of_job = "" if found.job is None else f" (job {found.job})"
            more = "" if step is None else f"; the next window ends at {format_date(step)} UTC"
            text += f", and {name} has loaded its own up to {format_date(found.end)} UTC{of_job}{more}"
            return NothingToLoadError(text, code=NothingToLoad.UPSTREAM_BEHIND.value)
    ready = _ready_at(shape, done, step, limit)
    if step is not None:
        text += f"; the next window ends at {format_date(step)} UTC"
    if ready is not None:
        text += f"; it can open from {format_date(ready)} UTC on"
    code = NothingToLoad.UP_TO_DATE
    return NothingToLoadError(text, code=code.value, ready_at=None if ready is None else format_date(ready))


def _ready_at(shape: WindowShape, done: datetime, step: datetime | None, limit: Limit) -> datetime | None:
    """Return the earliest time at which a window can open; None if it is not known, or past.

    :param step: the first boundary after what is loaded; None if windows end at any moment.
    """
    try:
        at = (done if step is None else step) + shape.delay
        if shape.until == "schedule":
            if not limit.schedule.known:
                return None
            at = limit.schedule.next_fire(at if step is None else at - _TICK)
    except (OverflowError, StateError):  # the schedule does not fire any more
        return None
    return at if at > limit.now else None
