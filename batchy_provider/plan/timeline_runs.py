# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The runs of one workflow on a time axis: those that there were, the one that is open, and those that are expected."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.batch_outline import BatchOutline
from batchy_provider.plan.expected_runs import ExpectedRun, PathStep, RunState


class TimelineState(str, Enum):
    """How far a run on the time axis is."""

    SUCCESS = "success"
    """It has succeeded."""
    FAILED = "failed"
    """It has failed."""
    OPEN = "open"
    """Its batch is open."""
    PENDING = "pending"
    """It was due, and its batch is not open yet."""
    EXPECTED = "expected"
    """It is due later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRun:
    """One run on the time axis. Moments are naive UTC.

    :param batch_id: None for a run that has not opened its batch.
    :param kind: ``live`` or ``history``.
    :param due: None for a run without a due time, and where it is not known.
    :param start: when it started, or probably will; None if that is unknown.
    :param end: when it was closed; None before.
    :param end_p50: it ends before that in half of all cases; None if that is unknown, and for a run that has ended.
    :param end_p90: it ends before that in nine of ten cases.
    :param deadline: None without one.
    :param missed: its deadline has passed before a success; None without a deadline, and before the deadline.
    :param miss_probability: the probability that it misses its deadline, from 0 to 1; None if that is unknown, and for
        a run that has ended.
    :param waits_for: the workflows whose success it needs, and does not have yet.
    :param critical_path: the runs that decide when it ends; the run itself is last.
    :param jobs: outcome → how many jobs had it.
    :param failed_jobs: the jobs that have failed.
    :param acknowledged: the acknowledgement of its failure; None without one.
    """

    state: TimelineState
    batch_id: int | None = None
    kind: str = "live"
    run: str | None = None
    due: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    end_p50: datetime | None = None
    end_p90: datetime | None = None
    deadline: datetime | None = None
    missed: bool | None = None
    miss_probability: float | None = None
    waits_for: Sequence[str] = ()
    critical_path: Sequence[PathStep] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    failed_jobs: Sequence[str] = ()
    acknowledged: BatchNote | None = None

    @property
    def place(self) -> datetime | None:
        """Where it begins on the axis."""
        return self.start if self.start is not None else self.due

    @property
    def last(self) -> datetime | None:
        """The last moment that is known of it."""
        return self.end or self.end_p90 or self.end_p50 or self.place


def timeline_runs(
    batches: Sequence[BatchOutline], expected: Sequence[ExpectedRun], allowed: timedelta | None, now: datetime
) -> list[TimelineRun]:
    """Return the runs of one workflow, by their begin on the axis. Those without one come last.

    :param batches: those that are open or were closed, oldest first.
    :param expected: what the plan says: of the open batch, too.
    :param allowed: how long after it was due the deadline of a run is; None without one.
    :param now: naive UTC.
    """
    runs = [_actual(batch, allowed) for batch in batches]
    runs = _with_misses(runs, now)
    open_at = next((at for at in reversed(range(len(runs))) if _is_live_and_open(runs[at])), None)
    for each in expected:
        if each.is_stuck and (each.deadline is None or any(run.state is TimelineState.FAILED for run in runs)):
            continue  # its batch says it; a deadline that lies ahead is shown also if that batch is not
        if each.state is not RunState.RUNNING:
            runs.append(_ahead(each, TimelineState(each.state.value), now))
        elif open_at is None:  # the list of batches lacks one that the original server opened
            runs.append(_ahead(each, TimelineState.OPEN, now))
        else:
            runs[open_at] = _with_plan(runs[open_at], each, now)
    return sorted(runs, key=lambda run: (run.place or datetime.max, run.batch_id or 0))


def _is_live_and_open(run: TimelineRun) -> bool:
    return run.state is TimelineState.OPEN and run.kind == "live"


def _actual(batch: BatchOutline, allowed: timedelta | None) -> TimelineRun:
    state = {"success": TimelineState.SUCCESS, "failed": TimelineState.FAILED}.get(batch.status, TimelineState.OPEN)
    deadline = None
    if allowed is not None and batch.due is not None and batch.kind == "live":
        deadline = batch.due + allowed
    return TimelineRun(
        state=state,
        batch_id=batch.batch_id,
        kind=batch.kind,
        run=batch.run,
        due=batch.due,
        start=batch.started,
        end=batch.ended,
        deadline=deadline,
        jobs=batch.jobs,
        failed_jobs=batch.failed_jobs,
        acknowledged=batch.acknowledged,
    )


def _with_misses(runs: Sequence[TimelineRun], now: datetime) -> list[TimelineRun]:
    """Say which deadlines were missed. A run that was made again in time has not missed its own."""
    successes: dict[datetime, datetime] = {}
    for run in runs:
        if run.due is not None and run.state is TimelineState.SUCCESS and run.end is not None:
            successes[run.due] = min(run.end, successes.get(run.due, run.end))
    found = []
    for run in runs:
        missed = None
        if run.deadline is not None and run.due is not None:
            success = successes.get(run.due)
            if success is not None:
                missed = success > run.deadline
            elif run.deadline <= now:
                missed = True
        found.append(replace(run, missed=missed))
    return found


def _with_plan(run: TimelineRun, plan: ExpectedRun, now: datetime) -> TimelineRun:
    """Return the open run with what the plan says of its end."""
    deadline = run.deadline or plan.deadline
    return replace(
        run,
        due=run.due or plan.due,
        end_p50=plan.end_p50,
        end_p90=plan.end_p90,
        deadline=deadline,
        missed=True if deadline is not None and deadline <= now else run.missed,
        miss_probability=plan.miss_probability,
        waits_for=plan.waits_for,
        critical_path=plan.critical_path,
    )


def _ahead(plan: ExpectedRun, state: TimelineState, now: datetime) -> TimelineRun:
    return TimelineRun(
        state=state,
        due=plan.due,
        start=plan.start,
        end_p50=plan.end_p50,
        end_p90=plan.end_p90,
        deadline=plan.deadline,
        missed=True if plan.deadline is not None and plan.deadline <= now else None,
        miss_probability=plan.miss_probability,
        waits_for=plan.waits_for,
        critical_path=plan.critical_path,
    )


@dataclass(frozen=True, slots=True)
class TimelineBand:
    """Many runs of one workflow in a row that are shown as one.

    :param state: of all of them: ``success``, ``failed`` or ``expected``.
    :param start: when the first one started, or probably will.
    :param end: when the last one was closed, or ends in nine of ten cases.
    :param longest_seconds: how long the longest one took; None if that is not known.
    """

    state: TimelineState
    start: datetime
    end: datetime
    count: int
    longest_seconds: float | None


_BANDED = frozenset({TimelineState.SUCCESS, TimelineState.FAILED, TimelineState.EXPECTED})
_GAP = 4
"""A pause of more than so many usual distances between two runs ends a band."""


def collapse(runs: Sequence[TimelineRun], most: int) -> tuple[list[TimelineRun], list[TimelineBand]]:
    """Collapse the runs of a workflow that has many into bands.

    Runs in a row with the same state become one band, and a long pause ends it. Open and pending runs, and the newest
    failures, stay single.

    :param runs: by their begin.
    :param most: up to so many runs stay as they are; and so many failures.
    """
    if len(runs) <= most:
        return list(runs), []
    failures = [run for run in runs if run.state is TimelineState.FAILED]
    single = {id(run) for run in failures[-most:]}
    is_banded = [run.state in _BANDED and run.place is not None and id(run) not in single for run in runs]
    places = [run.place for run in runs if run.place is not None]
    distances = sorted(later - earlier for earlier, later in itertools.pairwise(places))
    longest_pause = distances[len(distances) // 2] * _GAP if distances else timedelta()
    kept, bands, part = list[TimelineRun](), list[TimelineBand](), list[TimelineRun]()
    for run, banded in zip(runs, is_banded, strict=True):
        if part and (not banded or run.state is not part[0].state or _pause(part[-1], run) > longest_pause):
            _end(part, kept, bands)
        if banded:
            part.append(run)
        else:
            kept.append(run)
    _end(part, kept, bands)
    return sorted(kept, key=lambda run: (run.place or datetime.max, run.batch_id or 0)), bands


def _pause(before: TimelineRun, run: TimelineRun) -> timedelta:
    assert before.place is not None
    assert run.place is not None
    return run.place - before.place


def _end(part: list[TimelineRun], kept: list[TimelineRun], bands: list[TimelineBand]) -> None:
    """Make a band of the runs that were found in a row. One alone stays a run."""
    if len(part) > 1:
        bands.append(_band(part))
    else:
        kept += part
    part.clear()


def _band(part: Sequence[TimelineRun]) -> TimelineBand:
    took = [(end - start).total_seconds() for start, end in _known_times(part)]
    starts = [run.place for run in part if run.place is not None]
    ends = [run.last for run in part if run.last is not None]
    return TimelineBand(part[0].state, min(starts), max(ends), len(part), max(took, default=None))


def _known_times(part: Iterable[TimelineRun]) -> Iterable[tuple[datetime, datetime]]:
    return (
        (run.start, end)
        for run in part
        if run.start is not None and (end := run.end if run.end is not None else run.end_p50) is not None
    )
