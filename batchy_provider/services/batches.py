# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Open and close batches by hand, show past batches and data that was never loaded, or twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batchy_provider.core.coverage import coverage_of
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.intervals import Interval
from batchy_provider.core.missing_data import current_ledger, gaps_of
from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.core.values import Actor, Batch, CloseRequest, Holder, OpenRequest, Window
from batchy_provider.core.vocabulary import Result
from batchy_provider.core.windows import watermarks
from batchy_provider.exceptions import UnknownWorkflowError, WindowError
from batchy_provider.original.formats import to_infa
from batchy_provider.services.answers import Audit, BatchView, CoverageView, JobCoverage, LoadedPart, Page
from batchy_provider.state.ledger_scan import read_ledger

if TYPE_CHECKING:
    from batchy_provider.core.holders import CallingProcess
    from batchy_provider.core.values import WorkflowConfig
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.batch_reader import BatchReader
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

MAX_LIMIT = 1000
_READ_AT_ONCE = 200


def bounds_of_page(store: Store, workflow: str, limit: int, offset: int) -> tuple[int, int, int]:
    """Return how many batches of a workflow Redis has, and the limit and the offset of a page within what is allowed.

    :raises UnknownWorkflowError: Redis does not know the workflow.
    """
    total = store.count(workflow)
    if not total:
        store.status(workflow)  # a mistyped name is an error, not an empty history
    return total, max(1, min(limit, MAX_LIMIT)), max(0, offset)


class BatchService:
    """Open and close batches by hand, and show past batches.

    :param store: returns the state in Redis.
    :param reader: reads single batches, also from the archive.
    :param names: the workflows that Redis knows; each workflow that is opened is added.
    :param config: returns the configuration in a workflow's file, or None if there is no file.
    :param audit: called with each change after it is made.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        reader: BatchReader,
        names: WorkflowNames,
        config: Callable[[str], WorkflowConfig | None],
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._reader = reader
        self._names = names
        self._config = config
        self._audit = audit

    def open(
        self,
        workflow: str,
        *,
        actor: Actor,
        from_date: str | None = None,
        to_date: str | None = None,
        move_watermark: bool = False,
        take_over: bool = False,
        why: str | None = None,
        config: WorkflowConfig | None = None,
        process: CallingProcess | None = None,
        lease_seconds: float | None = None,
        ignore_hold: bool = False,
    ) -> Batch:
        """Open a batch by hand.

        :param from_date: start of the window, inclusive; UTC, ISO 8601. Without both dates, the batch takes the next
            window.
        :param to_date: end of the window, exclusive; UTC, ISO 8601.
        :param move_watermark: start the next window at `to_date`. Otherwise a batch with dates is history only.
        :param take_over: open the batch even if somebody holds one open.
        :param config: use this configuration instead of the file's.
        :param process: the process that holds the batch while it lives; None without one.
        :param lease_seconds: hold the batch by a lease of so many seconds, see `renew_lease`; None without one.
        :param ignore_hold: open the batch even if the workflow is on hold.
        :raises WindowError: the window is not valid.
        :raises BatchHeldError: someone else holds a batch open.
        :raises WorkflowOnHoldError: a person has put the workflow on hold.
        :raises UnknownWorkflowError: neither Redis nor a file knows it.
        """
        window = None
        if from_date or to_date:
            window = Window(from_date=from_date, to_date=to_date)
        elif move_watermark:
            raise WindowError("move_watermark needs a window: give from_date and to_date too")
        request = OpenRequest(
            holder=Holder(by=actor.by, process=process),
            config=config or self._config(workflow),
            window=window,
            move_watermark=move_watermark,
            if_open="take_over" if take_over else "fail",
            why=why,
            lease_seconds=lease_seconds,
            ignore_hold=ignore_hold,
        )
        batch = self._store().open(workflow, request, actor=actor)
        self._names.add(workflow)
        details: dict[str, object] = {"from_date": batch.from_date, "to_date": batch.to_date, "kind": batch.kind}
        if ignore_hold:
            details["ignore_hold"] = True
        self._audit(
            Audit(workflow=workflow, action="open", actor=actor, why=why, batch_id=batch.batch_id, details=details)
        )
        return batch

    def close(
        self,
        workflow: str,
        *,
        result: Result,
        actor: Actor,
        batch_id: int | None = None,
        why: str | None = None,
        ancestors: CallingProcess | None = None,
    ) -> Batch:
        """Close a batch.

        :param batch_id: the batch to close; None for the open one, if the actor has opened it.
        :param ancestors: the processes above the actor's command, one of which has opened the batch.
        :raises NotOpenError: the batch is not open.
        :raises BatchHeldError: the actor names no batch, and another one has opened the open one.
        """
        closer = Holder(by=actor.by, process=ancestors)
        request = CloseRequest(result=result, batch_id=batch_id, by=actor.by, why=why, closer=closer)
        batch = self._store().close(workflow, request, actor=actor, why=why)
        action = "close" if result == "success" else "fail"
        self._audit(Audit(workflow=workflow, action=action, actor=actor, why=why, batch_id=batch.batch_id))
        return batch

    def renew_lease(self, workflow: str, batch_id: int, seconds: float) -> Batch:
        """Renew the lease on a batch, and return the batch. If it is not open any more, the lease is lost."""
        return self._store().renew_lease(workflow, batch_id, seconds)

    def history(
        self,
        workflow: str,
        *,
        status: str | None = None,
        kind: str | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> Page[BatchView]:
        """Return batches, newest first, backfills included.

        :param status: only batches with this status.
        :param kind: ``live`` or ``history``.
        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        store = self._store()
        total, limit, offset = bounds_of_page(store, workflow, limit, offset)
        if status is None and kind is None:
            batches = store.history(workflow, limit=limit, offset=offset)
            return Page([BatchView.of(batch) for batch in batches], total, limit, offset)
        found = []
        for start in range(0, total, _READ_AT_ONCE):
            found += store.history(workflow, limit=_READ_AT_ONCE, offset=start)
        matching = [
            BatchView.of(batch) for batch in found if status in (None, batch.status) and kind in (None, batch.kind)
        ]
        return Page.of(matching, limit, offset)

    def coverage(self, workflow: str, *, limit: int = MAX_LIMIT) -> CoverageView:
        """Return what each job has loaded and lacks, by the ledger, and what the latest batches loaded twice.

        :param limit: how many of the latest batches to examine for data that was loaded twice, backfills included.
        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        state = read_ledger(self._store().backend, workflow)
        if not state.jobs:
            raise unknown_workflow(workflow)
        batches = self._store().history(workflow, limit=max(1, min(limit, MAX_LIMIT)), offset=0)
        found = coverage_of(batches, state.config.timezone)
        gaps: dict[Interval, list[str]] = {}
        for gap in gaps_of(state):
            gaps.setdefault(Interval(parse_date(gap.from_date), parse_date(gap.to_date)), []).append(gap.job)
        ledger, marks = current_ledger(state), watermarks(state)
        loaded = [job for job in state.jobs if job in ledger]
        return CoverageView(
            workflow=workflow,
            batches=len(batches),
            jobs=loaded,
            gaps=[_part(interval, gaps[interval]) for interval in sorted(gaps)],
            overlaps=[_part(double.interval, double.jobs, double.batches) for double in found.doubles],
            reaching_back=found.reaching_back,
            ledger=[
                JobCoverage(
                    job=job,
                    loaded=[(format_date(each.start), format_date(each.end)) for each in ledger[job]],
                    watermark=format_date(marks[job]) if job in marks else None,
                )
                for job in loaded
            ],
        )

    def get(self, workflow: str, batch_id: int) -> BatchView:
        """Return one batch; one that only the archive has is marked as `archived`.

        :raises UnknownBatchError: there is no batch with this id.
        :raises ArchiveError: Redis has no batch with this id, and the archive cannot be read.
        """
        return BatchView.of(self._reader.batch(workflow, batch_id))

    def informatica(self, workflow: str, batch: Batch) -> str:
        """Return a batch as an Informatica parameter file."""
        return to_infa(workflow, batch.jobs, self._store().status(workflow).infa)

    def check_informatica(self, workflow: str, config: WorkflowConfig | None = None) -> None:
        """Check, before a batch is opened, that an Informatica parameter file can hold its values.

        :raises ConfigError: it cannot hold one of them.
        """
        config = config or self._config(workflow)
        if config is not None:
            to_infa(workflow, config.jobs, config.infa)
            return
        try:
            state = self._store().status(workflow)
        except UnknownWorkflowError:
            return  # opening the batch reports it
        to_infa(workflow, state.jobs, state.infa)


def _part(interval: Interval, jobs: Sequence[str], batches: Sequence[int] = ()) -> LoadedPart:
    start, end = map(format_date, interval)
    return LoadedPart(from_date=start, to_date=end, jobs=list(jobs), batches=list(batches))
