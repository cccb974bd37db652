# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answers of the services as plain data. The field names are those of the JSON that users see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.core.job_state import Fields
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import Actor, Batch, PersonalChange

T = TypeVar("T")

__all__ = ["Actor", "Audit", "BatchView", "JobSummary", "Page", "WorkflowDetail", "WorkflowSummary"]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    :param items: the part.
    :param total: how long the whole list is.
    :param limit: how many were asked for.
    :param offset: how many were left out before.
    """

    items: list[T]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, items: Sequence[T], limit: int, offset: int) -> Page[T]:
        """Cut a page out of a whole list."""
        return cls(list(items[offset : offset + limit]), len(items), limit, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A change that a person made, as an entry for a log beside the one in Redis.

    :param action: the service's name of it, such as ``set_window``.
    :param details: what was asked for, as JSON could hold it.
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
    """A workflow in a line. Dates are as the state has them: naive UTC, ISO 8601.

    :param status: of the latest live batch; ``new`` before the first, ``unreadable`` where Redis' state cannot be read.
    :param run: the Airflow run that opened the batch, as `BatchView` has it.
    :param holder: who holds the open batch, for people to read.
    :param last_success: when a live batch last succeeded.
    :param in_redis: it was opened or loaded once.
    :param in_cfg: a file defines it.
    :param faults: how many its file has.
    :param schedule: when it runs, in words; None without a sound file.
    :param deadline: of the newest run that has not succeeded yet.
    :param late_seconds: for how long that has been missed.
    :param waits_for: workflows whose success it needs.
    :param waited_for_by: workflows that need its success.
    :param unreadable: why this row could not be made, and what to do; None for all others.
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
    deadline: str | None = None
    late_seconds: int | None = None
    waits_for: list[str] = field(default_factory=list)
    waited_for_by: list[str] = field(default_factory=list)
    unreadable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job as it stands.

    :param kind: ``job``, ``handler`` or ``disabled``, as `config.graph` has it; ``job`` without a file.
    :param params: all its fields but the special ones, to be looked at: secrets are `***`.
    :param upstream: the tasks that it follows in the DAG.
    :param next_from: where its next window starts; None if its state cannot be read.
    :param watermark: up to where it is loaded; `next_from` is earlier by what its configuration loads again.
    :param reset_from: where its next window would start after a reset to the file; None without a file.
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
    """A workflow with all that is known of it.

    :param fields: job → fields, the original's body of ``get_status``.
    :param file: its file, relative to the folder of workflow files.
    :param source: the file's text.
    :param graph: task → the tasks that it follows; empty without a sound file.
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
    """A slice of data that was never loaded, or more than once.

    :param jobs: the jobs that it is true of.
    :param batches: ids of the batches that loaded it; empty where none did.
    """

    from_date: str
    to_date: str
    jobs: list[str]
    batches: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageView:
    """What the successful batches of a workflow have loaded: live ones, backfills and one-off loads.

    :param batches: how many of the latest batches were looked at.
    :param jobs: the jobs that loaded something in them.
    :param gaps: what lies before the watermark and was never loaded, oldest first.
    :param overlaps: what was loaded more than once, oldest first.
    :param reaching_back: how many windows reach back over the one before because the configuration says so.
    """

    workflow: str
    batches: int
    jobs: list[str]
    gaps: list[LoadedPart]
    overlaps: list[LoadedPart]
    reaching_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch with what is known of how it came about.

    :param reason: why it has the window that it has.
    :param why: the reason that a person gave.
    :param left_out: jobs whose windows it leaves where they are.
    :param jobs: job → its fields in this batch.
    :param closed_by: who ended it; None if its own run did.
    :param closed_why: the reason that was given for that.
    :param taken_over_by: id of the batch that took its window over.
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
        )

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
