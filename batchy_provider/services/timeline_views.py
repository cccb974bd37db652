# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The time axis of a night as plain data. The field names are those of the JSON that users see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.dates import format_date
from batchy_provider.services.hold_answers import HoldView
from batchy_provider.services.plan_answers import PathStepView
from batchy_provider.services.warning_answers import WarningView

if TYPE_CHECKING:
    from batchy_provider.plan.timeline_runs import TimelineBand, TimelineRun


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRunView:
    """One run on the time axis. Moments are UTC, ISO 8601.

    :param state: ``success``, ``failed``, ``open``, ``pending`` (it was due, and its batch is not open) or
        ``expected``.
    :param batch_id: None for a run that has not opened its batch.
    :param kind: ``live`` or ``history``.
    :param run: the Airflow run that opened the batch.
    :param due: None for a run without a due time, and where it is not known.
    :param start: when it started, or probably will; None if that is unknown.
    :param end: when it was closed; None before.
    :param end_p50: it ends before that in half of all cases; None if that is unknown, and for a run that has ended.
    :param end_p90: it ends before that in nine of ten cases; None if that is unknown, and for a run that has ended.
    :param deadline: None without one.
    :param missed: its deadline has passed before a success; None without a deadline, and before the deadline.
    :param miss_probability: the probability that it misses its deadline, from 0 to 1; None if that is unknown, and for
        a run that has ended.
    :param waits_for: the workflows whose success it needs, and does not have yet.
    :param critical_path: the runs that decide when it ends; the run itself is last.
    :param jobs: outcome → how many jobs had it; empty where that is not known.
    :param failed_jobs: the jobs that have failed.
    :param acknowledged: the acknowledgement of its failure; None without one.
    """

    state: str
    batch_id: int | None
    kind: str
    run: str | None
    due: str | None
    start: str | None
    end: str | None
    end_p50: str | None
    end_p90: str | None
    deadline: str | None
    missed: bool | None
    miss_probability: float | None
    waits_for: list[str]
    critical_path: list[PathStepView]
    jobs: dict[str, int]
    failed_jobs: list[str]
    acknowledged: BatchNote | None

    @classmethod
    def of(cls, run: TimelineRun) -> TimelineRunView:
        """Show a run."""
        return cls(
            state=run.state.value,
            batch_id=run.batch_id,
            kind=run.kind,
            run=run.run,
            due=_text(run.due),
            start=_text(run.start),
            end=_text(run.end),
            end_p50=_text(run.end_p50),
            end_p90=_text(run.end_p90),
            deadline=_text(run.deadline),
            missed=run.missed,
            miss_probability=run.miss_probability,
            waits_for=list(run.waits_for),
            critical_path=[PathStepView(step.workflow, step.job) for step in run.critical_path],
            jobs=dict(run.jobs),
            failed_jobs=list(run.failed_jobs),
            acknowledged=run.acknowledged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineBandView:
    """Many runs in a row that are shown as one. Moments are UTC, ISO 8601.

    :param state: of all of them: ``success``, ``failed`` or ``expected``.
    :param start: when the first one started, or probably will.
    :param end: when the last one was closed, or ends in nine of ten cases.
    :param longest_seconds: how long the longest one took; None if that is not known.
    """

    state: str
    start: str
    end: str
    count: int
    longest_seconds: float | None

    @classmethod
    def of(cls, band: TimelineBand) -> TimelineBandView:
        """Show a band."""
        return cls(
            state=band.state.value,
            start=format_date(band.start),
            end=format_date(band.end),
            count=band.count,
            longest_seconds=band.longest_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRowView:
    """One workflow on the time axis.

    :param status: of the latest live batch; ``new`` before the first, ``unreadable`` where the state cannot be read.
    :param problems: codes, the worst first: ``unreadable``, ``invalid_file``, ``failed``, ``missed``, ``at_risk``,
        ``open_long``, ``on_hold``, ``acknowledged``.
    :param owner: as its file says; None without one.
    :param tags: as its file says.
    :param deadline: the deadline that counts now, UTC, ISO 8601; None without one.
    :param late_seconds: how long ago that deadline was missed; None while it can be met.
    :param hold: the hold on it; None without one.
    :param warning: the warning that it will probably miss its next deadline; None if none stands.
    :param runs: by their begin. A workflow with many runs has bands instead of most of them.
    :param left_out: how many earlier batches of the span were not read.
    :param more: more runs follow within the span; the plan stops after 200 runs of one workflow.
    """

    workflow: str
    status: str
    problems: list[str]
    description: str | None = None
    owner: str | None = None
    tags: list[str] = field(default_factory=list)
    deadline: str | None = None
    late_seconds: int | None = None
    hold: HoldView | None = None
    warning: WarningView | None = None
    runs: list[TimelineRunView] = field(default_factory=list)
    bands: list[TimelineBandView] = field(default_factory=list)
    left_out: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The runs of all workflows in a span of time.

    :param now: by the clock of the Redis server; UTC, ISO 8601.
    :param from_date: where the span starts, inclusive; UTC, ISO 8601.
    :param to_date: where it ends, exclusive; UTC, ISO 8601.
    :param items: the workflows, those with problems first.
    :param total: how many workflows were selected, of which `items` are a part.
    :param counts: ``all``, ``problems``, ``empty`` (without a run in the span), and each problem → how many workflows.
    """

    now: str
    from_date: str
    to_date: str
    items: list[TimelineRowView]
    total: int
    limit: int
    offset: int
    counts: dict[str, int]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_date(moment)
