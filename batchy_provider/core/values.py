# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Values that rules take and return, and that faces show: requests, batches, records, workflows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchy_provider.core.batch_notes import BatchNote, acknowledgement
from batchy_provider.core.holders import Holder as Holder
from batchy_provider.core.holders import run_key as run_key
from batchy_provider.core.job_state import Fields, JobState, loaded_to
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.vocabulary import IfOpen, Kind, Outcome, Result, Status
from batchy_provider.core.window_shape import WindowShape


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowConfig:
    """What the state layer needs to know of a workflow's configuration.

    :param name: the workflow.
    :param jobs: job → its params, ``reprocess_hours``, ``trunc_start`` and ``initial_date``, flat and in
        order. A job that Redis does not know yet may also bring state fields, as the original's files do.
    :param timezone: IANA name; where ``trunc_start`` cuts, and in which days are counted.
    :param disabled: jobs with ``enabled: false``.
    :param infa: how the Informatica parameter file names its sections, see `original.formats.to_infa`.
    :param schedule: when it is due; not known if it has no cron expressions.
    :param window: the shape of its windows; None: up to now, however long.
    """

    name: str
    jobs: Mapping[str, Fields]
    timezone: str = "UTC"
    disabled: frozenset[str] = frozenset()
    infa: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = NO_SCHEDULE
    window: WindowShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A requested window: ISO 8601 text or dates.

    :param from_date: its start (inclusive); None for the start of the next window.
    :param to_date: its end (exclusive); None for now.
    """

    from_date: Any = None
    to_date: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request to open a batch.

    :param holder: who opens it.
    :param config: the workflow's configuration; None opens what Redis knows.
    :param window: the window to take instead of the next one.
    :param backfill: take exactly `window`, write history and ledger only.
    :param move_watermark: with `window`: open it as the live batch, so that the watermark goes to its end.
    :param if_open: what to do while another run holds the batch open; ``wait`` is refused like ``fail``, and the caller
        asks again.
    :param gone: id of the open batch whose holder is known not to run any more.
    :param day: ISO day of the data; None for the day of the window's end.
    :param due: when the run that opens it was due, ISO 8601 UTC; None if it is no run.
    :param why: a reason, for the record.
    :param by_event: the success of another workflow has started the run, so it was due at that moment, whatever the
        cron expressions of its schedule say.
    :param catchup: the run is one of those that were missed, so it takes its own interval and no more.
    :param follows: id of the batch whose end has started this run, to take the next slice.
    :param upstream: workflow → how far it has loaded, for the workflows of ``until``. The store sets it.
    :param lease_seconds: hold the live batch by a lease of so many seconds, which the holder renews; None: no lease.
    :param opened_since: a batch that was opened before this moment (naive UTC) is not this run's, even if it has the
        run's key: an earlier run of the same name opened it, which Airflow has deleted since. None: not known.
    :param ignore_hold: open the batch even if the workflow is on hold: a person has asked for it.
    """

    holder: Holder = field(default_factory=Holder)
    config: WorkflowConfig | None = None
    window: Window | None = None
    backfill: bool = False
    move_watermark: bool = False
    if_open: IfOpen = "fail"
    gone: int | None = None
    day: str | None = None
    due: str | None = None
    why: str | None = None
    by_event: bool = False
    catchup: bool = False
    follows: int | None = None
    upstream: Mapping[str, LoadedUntil] = field(default_factory=dict)
    lease_seconds: float | None = None
    opened_since: datetime | None = None
    ignore_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest:
    """A request to close a batch.

    :param result: success or failed, for the whole workflow.
    :param batch_id: which batch; None for the open one.
    :param outcomes: job → its outcome; a job without one gets the result of the batch.
    :param seconds: job → how long it took, of the jobs of which that is known; None: as long as the batch was open.
    :param by: the person or program, for the record.
    :param why: a reason, for the record.
    :param closer: without a `batch_id`, close only what this caller has opened; its process has all ancestors of the
        command. None: close the open batch of any caller.
    """

    result: Result
    batch_id: int | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    seconds: Mapping[str, float] | None = None
    by: str | None = None
    why: str | None = None
    closer: Holder | None = None


@dataclass(frozen=True, slots=True)
class JobDuration:
    """One successful execution of a job.

    :param start: when its batch started, naive UTC.
    :param seconds: how long the job took. Where nobody measured that: how long its batch was open.
    :param window_seconds: length of the window that it loaded; 0 for an empty one.
    """

    start: datetime
    seconds: float
    window_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """The record of one batch in ``wf:meta``, beside its jobs.

    :param kind: ``live``, or ``history`` for a batch that never touches the live state.
    :param run: the run that opened it: its id, after ``dag_id/`` if the DAG has another name than the workflow.
    :param deployment: the Airflow that has this run; None if it is not known.
    :param listed: its score in the list of batches, which has them in the order of their opening; None: its id.
    :param started: when it really started (a re-run's ``batch_start`` is that of the old window).
    :param to_date: end of the window, ISO 8601 UTC.
    :param day: ISO data day.
    :param due: when its run was due, ISO 8601 UTC; None if no run opened it, and in what older versions wrote.
    :param reason: why it has the window it has, as a sentence.
    :param reason_code: the same as a `Reason`; None in what older versions wrote.
    :param taken_over: its opening ended a batch that was still open, and took over that batch's window.
    :param status: what the batch as a whole is, even if all its jobs were skipped.
    :param by: person, program or run that opened it.
    :param why: the reason that a person gave.
    :param left_out: jobs that it did not open, or skipped since they were switched off: their windows stay.
    :param moved: the watermark goes to the end of its window, also backwards: a person or a run asked for it.
    :param closed_by: person, program or run that ended it; None if its own run did.
    :param closed_why: the reason given for that.
    :param taken_over_by: id of the batch whose opening ended it.
    :param more: its window is a slice: more data is left, and is to be loaded at once after a success.
    :param loaded: where windows have a shape: job → start of its window, and how far it was loaded when this batch
        opened. The window may reach back beyond that.
    :param notes: what people have written down about it, oldest first.
    """

    kind: Kind
    started: str
    to_date: str
    day: str
    reason: str
    reason_code: str | None = None
    taken_over: bool = False
    status: Status = "open"
    run: str | None = None
    by: str | None = None
    why: str | None = None
    left_out: Sequence[str] = ()
    moved: bool = False
    due: str | None = None
    closed_by: str | None = None
    closed_why: str | None = None
    taken_over_by: int | None = None
    more: bool | None = None
    loaded: Mapping[str, Sequence[str]] | None = None
    deployment: str | None = None
    listed: float | None = None
    notes: Sequence[BatchNote] = ()


def jobs_left_out(record: BatchRecord | None) -> Sequence[str]:
    """Return the jobs that took no part in a batch. Of a batch that the original server opened, nothing says so."""
    return record.left_out if record is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch of a workflow, as programs and people see it.

    :param jobs: job → its fields in this batch, as JSON.
    :param record: further facts; None for a batch that the original server opened.
    :param reused: opening found it open already and returned it unchanged.
    :param warning: what a person should know about how it was opened.
    :param archived: only the archive has it.
    """

    workflow: str
    batch_id: int
    status: Status
    kind: Kind
    jobs: dict[str, Fields]
    record: BatchRecord | None = None
    reused: bool = False
    warning: str | None = None
    archived: bool = False

    @property
    def left_out(self) -> Sequence[str]:
        """The jobs that took no part in it."""
        return jobs_left_out(self.record)

    @property
    def from_date(self) -> str | None:
        """Earliest start of the windows of the jobs that took part."""
        return min((each for job in self._took_part() if isinstance(each := job.get("from_date"), str)), default=None)

    @property
    def to_date(self) -> str | None:
        """Latest end of the windows of the jobs that took part."""
        return max((each for job in self._took_part() if (each := loaded_to(job)) is not None), default=None)

    def _took_part(self) -> Iterable[Fields]:
        if not (left_out := self.left_out):
            return self.jobs.values()
        return [fields for name, fields in self.jobs.items() if name not in left_out]

    @property
    def acknowledged(self) -> BatchNote | None:
        """The latest acknowledgement of its failure; None without one, and if it has not failed."""
        return acknowledgement(self.record.notes) if self.record is not None and self.status == "failed" else None

    @property
    def batch_end(self) -> str | None:
        """When it was closed."""
        ends = (fields.get("batch_end") for fields in self.jobs.values())
        return max((each for each in ends if isinstance(each, str)), default=None)

    @property
    def started(self) -> str | None:
        """When it really started."""
        if self.record is not None:
            return self.record.started
        starts = (JobState(fields).batch_start for fields in self.jobs.values())
        return min((each for each in starts if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class Actor:
    """A person who makes a change, and from where.

    :param by: the name for the audit.
    :param source: the way in: ``cli``, ``rest`` or ``web``.
    :param address: network address of the client, where there is one.
    """

    by: str
    source: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalChange:
    """A change that a person made, for the audit.

    :param at: when, in the state's form of a date.
    :param by: who.
    :param what: what was done, as a sentence.
    :param why: the reason given.
    :param source: the way in; None in what older versions wrote.
    :param address: network address of the client, where there is one.
    """

    at: str
    by: str
    what: str
    why: str | None = None
    source: str | None = None
    address: str | None = None

    @classmethod
    def of(cls, actor: Actor, at: str, what: str, why: str | None) -> PersonalChange:
        """Return what `actor` did at `at`."""
        return cls(at=at, by=actor.by, what=what, why=why, source=actor.source, address=actor.address)
