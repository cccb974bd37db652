# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answers of the services as plain data. The field names are those of the JSON that users see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.job_state import Fields
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import Actor, Batch, PersonalChange
from batchy_provider.services.hold_answers import HoldView
from batchy_provider.services.warning_answers import WarningView

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list.

    :param total: number of items in the whole list.
    :param limit: the most items that a page may have.
    :param offset: number of items before the page.
    """

    items: list[T]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, items: Sequence[T], limit: int, offset: int) -> Page[T]:
        """Return one page of a whole list."""
        return cls(list(items[offset : offset + limit]), len(items), limit, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Describe a change that a person made, for a log beside the one in Redis.

    :param action: name of the change, such as ``set_window``.
    :param details: what the person asked for; values that JSON can hold.
    """

    workflow: str
    action: str
    actor: Actor
    why: str | None = None
    job: str | None = None
    batch_id: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


AuditLog = Callable[[Audit], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSummary:
    """Summarize a workflow in one row. Dates are as in the state: naive UTC, ISO 8601.

    :param status: of the latest live batch; ``new`` before the first, ``unreadable`` where Redis' state cannot be read.
    :param run: the Airflow run that opened the batch.
    :param holder: who holds the batch open, as text for people.
    :param last_success: when a live batch last succeeded.
    :param in_redis: Redis has a state of it.
    :param in_cfg: a file defines it.
    :param faults: number of errors in its file.
    :param schedule: when it runs, in words; None without a valid file.
    :param window: the shape of its windows, in words; None if they have none.
    :param deadline: the deadline of the newest run that has not succeeded yet.
    :param late_seconds: how long ago that deadline was missed; None while it can be met.
    :param waits_for: the workflows whose success it needs.
    :param waited_for_by: the workflows that need its success.
    :param hold: the hold on it; None without one.
    :param acknowledged: the acknowledgement of the failure of its latest batch; None without one.
    :param warning: the warning that it will probably miss its next deadline; None if none stands.
    :param tags: those of its file, or of its DAG if it has no file.
    :param owners: those of its jobs, by its file, or of its DAG if it has no file.
    :param unreadable: why its state cannot be read, and what to do; None if it can.
    """

    workflow: str
    status: str
    batch_id: int | None = None
    from_date: str | None = None
    to_date: str | None = None
    started: str | None = None
    batch_end: str | None = None
    last_success: str | None = None
    run: str | None = None
    holder: str | None = None
    timezone: str = "UTC"
    jobs: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_redis: bool = True
    in_cfg: bool = False
    faults: int = 0
    description: str | None = None
    schedule: str | None = None
    window: str | None = None
    deadline: str | None = None
    late_seconds: int | None = None
    waits_for: list[str] = field(default_factory=list)
    waited_for_by: list[str] = field(default_factory=list)
    unreadable: str | None = None
    hold: HoldView | None = None
    acknowledged: BatchNote | None = None
    warning: WarningView | None = None
    tags: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """Summarize a job.

    :param kind: ``job``, ``handler`` or ``disabled``, as `config.graph` has it; ``job`` without a file.
    :param params: all its fields but the special ones; secrets are ``***``.
    :param upstream: the tasks before it in the DAG.
    :param next_from: where its next window starts; None if its state cannot be read.
    :param watermark: the end of the data that it has loaded; `next_from` is earlier if `reprocess_hours` is set.
    :param reset_from: where its next window would start after a reset to its file; None without a file.
    """

    job: str
    kind: str = "job"
    status: str = "new"
    outcome: str | None = None
    batch_id: int | None = None
    from_date: str | None = None
    to_date: str | None = None
    batch_start: str | None = None
    batch_end: str | None = None
    disabled: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] | None = None
    upstream: list[str] = field(default_factory=list)
    note: str = ""
    next_from: str | None = None
    watermark: str | None = None
    reset_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDetail:
    """Show all that is known of a workflow.

    :param fields: job → fields, as ``get_status`` of the original server answers.
    :param file: path of its file, relative to the folder of workflow files.
    :param source: text of the file.
    :param graph: task → the tasks before it; empty without a valid file.
    """

    summary: WorkflowSummary
    job_states: list[JobSummary]
    fields: dict[str, Fields]
    changes: list[PersonalChange]
    file: str | None = None
    source: str | None = None
    faults: list[Diagnostic] = field(default_factory=list)
    graph: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPart:
    """A slice of data: from `from_date` (inclusive) to `to_date` (exclusive).

    :param jobs: the jobs that this concerns.
    :param batches: ids of the batches that loaded it, if they are known.
    """

    from_date: str
    to_date: str
    jobs: list[str]
    batches: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCoverage:
    """What one job has loaded, by the ledger.

    :param loaded: pairs of start (inclusive) and end (exclusive), oldest first.
    :param watermark: where the data ends that counts as loaded; None if its state cannot be read.
    """

    job: str
    loaded: list[tuple[str, str]]
    watermark: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageView:
    """Show what a workflow has loaded: by live batches, backfills and one-off loads.

    :param batches: how many of the latest batches were examined for overlaps.
    :param jobs: the jobs that have loaded something.
    :param gaps: slices before the watermark that were never loaded, by the ledger, oldest first.
    :param overlaps: slices that the latest batches loaded more than once, oldest first.
    :param reaching_back: number of windows that overlap the one before because of `reprocess_hours`.
    :param ledger: what each job has loaded.
    """

    workflow: str
    batches: int
    jobs: list[str]
    gaps: list[LoadedPart]
    overlaps: list[LoadedPart]
    reaching_back: int
    ledger: list[JobCoverage]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """Show a batch, and why it has its window.

    :param reason: why it has this window.
    :param why: the reason that a person gave when opening it.
    :param left_out: jobs that it does not run, so that their windows do not move.
    :param jobs: job → its fields in this batch.
    :param closed_by: who closed it; None if its own run did.
    :param closed_why: the reason that this person gave.
    :param taken_over_by: id of the batch that took over its window.
    :param notes: what people have written down about it, oldest first.
    :param archived: only the archive has it; Redis has removed or lost it.
    """

    workflow: str
    batch_id: int
    kind: str
    status: str
    from_date: str | None
    to_date: str | None
    started: str | None
    batch_end: str | None
    run: str | None
    by: str | None
    day: str | None
    reason: str | None
    why: str | None
    left_out: list[str]
    jobs: dict[str, Fields]
    closed_by: str | None = None
    closed_why: str | None = None
    taken_over_by: int | None = None
    notes: list[BatchNote] = field(default_factory=list)
    archived: bool = False

    @classmethod
    def of(cls, batch: Batch) -> BatchView:
        """Show a batch."""
        record = batch.record
        return cls(
            workflow=batch.workflow,
            batch_id=batch.batch_id,
            kind=batch.kind,
            status=batch.status,
            from_date=batch.from_date,
            to_date=batch.to_date,
            started=batch.started,
            batch_end=batch.batch_end,
            run=record.run if record else None,
            by=record.by if record else None,
            day=record.day if record else None,
            reason=record.reason if record else None,
            why=record.why if record else None,
            left_out=list(record.left_out) if record else [],
            jobs=encodable(batch.jobs),
            closed_by=record.closed_by if record else None,
            closed_why=record.closed_why if record else None,
            taken_over_by=record.taken_over_by if record else None,
            notes=list(record.notes) if record else [],
            archived=batch.archived,
        )

    def data(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)
