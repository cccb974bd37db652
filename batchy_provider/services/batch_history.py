# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Search the batches of all workflows: what ran or failed in some time, by batch or run, in pages that stay stable."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.batch_search import BatchSearch, Place, outcome_of
from batchy_provider.core.dates import format_date, read_date
from batchy_provider.core.names import check_workflow_name
from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Kind, Status
from batchy_provider.exceptions import BatchyError, ConfigError
from batchy_provider.services.archived_history import (
    MOST_READ,
    ArchivedBatches,
    OnlyArchived,
    is_between,
    merged,
    only_archived,
    read_archived,
    totals,
)
from batchy_provider.services.workflow_summaries import owners_of
from batchy_provider.state.batch_scan import search_batches

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

MAX_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """A question about the batches of many workflows. Each condition that is given must hold.

    :param workflows: only these; empty for all.
    :param tag: only workflows whose file has this tag.
    :param owner: only workflows whose file names this owner.
    :param from_date: only batches that ended at this moment or later, or have not ended; UTC, ISO 8601.
    :param to_date: only batches that were opened before this moment; UTC, ISO 8601.
    :param last: only batches that ran in this time up to now; instead of `from_date`.
    :param job: only batches with this job; with a status of ``success`` or ``failed``, only those in which it ended so.
    :param acknowledged: only failures that somebody has acknowledged (True), or nobody has (False).
    :param search: a part of the batch id, the run id or the workflow's name.
    """

    workflows: Sequence[str] = ()
    tag: str | None = None
    owner: str | None = None
    from_date: str | None = None
    to_date: str | None = None
    last: timedelta | None = None
    status: Status | None = None
    kind: Kind | None = None
    job: str | None = None
    acknowledged: bool | None = None
    search: str | None = None

    def conditions(self, now: Callable[[], datetime]) -> BatchSearch:
        """Return the conditions on batches.

        :param now: returns the time of the Redis server, naive UTC; it has also written the dates of batches.
        :raises WindowError: a date cannot be read.
        :raises ConfigError: the span of time is empty.
        """
        start, end = _moment(self.from_date), _moment(self.to_date)
        if self.last is not None:
            start = now() - self.last
        if start is not None and end is not None and end <= start:
            raise ConfigError(
                f"the searched time ends at {format_date(end)}, not after its start, {format_date(start)}"
            )
        return BatchSearch(
            start=start,
            end=end,
            status=self.status,
            kind=self.kind,
            job=self.job or None,
            acknowledged=self.acknowledged,
            text=self.search,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One batch in a list of the batches of many workflows.

    :param by: the person, program or run that opened it.
    :param closed_by: who closed it; None if its own run did.
    :param failed_jobs: the jobs that failed in it.
    :param jobs: job → how it ended, or its status in this batch.
    :param notes: what people have written down about it, oldest first.
    :param acknowledged: the acknowledgement of its failure; None without one.
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
    closed_by: str | None
    closed_why: str | None
    failed_jobs: list[str]
    jobs: dict[str, str]
    notes: list[BatchNote] = field(default_factory=list)
    acknowledged: BatchNote | None = None
    archived: bool = False

    @classmethod
    def of(cls, batch: Batch) -> HistoryRow:
        """Return the row of a batch."""
        record = batch.record
        jobs = {name: outcome_of(fields) for name, fields in batch.jobs.items() if name not in batch.left_out}
        return cls(
            workflow=batch.workflow,
            batch_id=batch.batch_id,
            kind=batch.kind,
            status=batch.status,
            from_date=batch.from_date,
            to_date=batch.to_date,
            started=batch.started,
            batch_end=batch.batch_end if batch.status != "open" else None,
            run=record.run if record else None,
            by=record.by if record else None,
            closed_by=record.closed_by if record else None,
            closed_why=record.closed_why if record else None,
            failed_jobs=[name for name, outcome in jobs.items() if outcome == "failed"],
            jobs=jobs,
            notes=list(record.notes) if record else [],
            acknowledged=batch.acknowledged,
            archived=batch.archived,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryAnswer:
    """A page of the batches of many workflows, newest first.

    :param batches: with named workflows, those that only the archive has are among them, each marked as `archived`.
    :param archived: with named workflows, on the last page: how many batches only the archive has.
    :param archive_error: why the archive cannot be read; None if it can, or was not asked.
    :param next: give it as `below` for the next page; None on the last one.
    :param unreadable: workflows with batches that cannot be read, which may be missing here.
    """

    batches: list[Batch]
    next: str | None
    unreadable: list[str]
    archived: list[OnlyArchived] = field(default_factory=list)
    archive_error: str | None = None

    @property
    def rows(self) -> list[HistoryRow]:
        """The batches as rows of a list."""
        return [HistoryRow.of(batch) for batch in self.batches]


class HistoryService:
    """Search the batches of all workflows in Redis.

    :param store: returns the state in Redis.
    :param catalog: the workflow files, which have tags and owners.
    :param names: the workflows that Redis knows.
    :param archive: returns the archive; None where there is none.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        archive: Callable[[], ArchiveFiles | None],
    ) -> None:
        self._store = store
        self._archive = archive
        self._catalog = catalog
        self._names = names

    def find(
        self, query: HistoryQuery, *, limit: int = 50, below: str | None = None, only: Collection[str] | None = None
    ) -> HistoryAnswer:
        """Return the newest batches that answer a question.

        :param below: the `next` of the page before; None for the first page.
        :param only: the workflows that the caller may see; None for all.
        :raises WindowError: a date, or `below`, cannot be read.
        """
        backend = self._store().backend
        conditions = query.conditions(backend.server_time)
        place = Place.read(below) if below else None
        workflows = self.workflows(query, only=only)
        limit = max(1, min(limit, MAX_LIMIT))
        found = search_batches(backend, workflows, conditions, limit=limit, below=place)
        places: list[Place] = []
        archived, error = ArchivedBatches(found=[], complete_from=None), None
        if query.workflows:
            try:
                places = self._only_archived(workflows)
                wanted = [each for each in places if is_between(each, found.below, place)]
                archived = self._read(wanted, conditions, limit)
            except BatchyError as broken:  # what Redis has is answered all the same
                error = str(broken)
        batches, following = merged(found, archived, limit)
        return HistoryAnswer(
            batches=batches,
            next=None if following is None else str(following),
            unreadable=list(found.unreadable),
            archived=totals(places, conditions) if following is None else [],
            archive_error=error if following is None else None,
        )

    def archived(self, workflow: str, *, limit: int, offset: int = 0) -> HistoryAnswer:
        """Return the newest batches of a workflow that only the archive has.

        :param offset: how many of the newest to leave out.
        """
        search = BatchSearch()
        try:
            places = self._only_archived([workflow])
            found = self._read(places[offset : offset + limit], search, limit, most=limit)
        except BatchyError as broken:
            return HistoryAnswer(batches=[], next=None, unreadable=[], archive_error=str(broken))
        batches = [batch for _, batch in found.found]
        return HistoryAnswer(batches=batches, next=None, unreadable=[], archived=totals(places, search))

    def _only_archived(self, workflows: Collection[str]) -> list[Place]:
        """Return the places of the batches that only the archive has, newest first."""
        files = self._archive()
        if files is None:
            return []
        backend = self._store().backend
        found = [place for name in workflows for place in only_archived(files, backend, name)]
        return sorted(found, reverse=True)

    def _read(
        self, places: Sequence[Place], search: BatchSearch, limit: int, *, most: int = MOST_READ
    ) -> ArchivedBatches:
        files = self._archive()
        if files is None or not places:
            return ArchivedBatches(found=[], complete_from=None)
        return read_archived(files, places, search, limit=limit, most=most)

    def workflows(self, query: HistoryQuery, *, only: Collection[str] | None = None) -> set[str]:
        """Return the workflows in Redis that a question is about."""
        found = {check_workflow_name(name) for name in query.workflows} or self._names.all()
        if only is not None:
            found &= {*only}
        if query.tag or query.owner:
            known = self._catalog.read().workflows
            found = {name for name in found if name in known and _is_of(known[name], query)}
        return found


def _is_of(workflow: Workflow, query: HistoryQuery) -> bool:
    model = workflow.model
    if model is None:
        return False
    return (not query.tag or query.tag in model.tags) and (not query.owner or query.owner in owners_of(model))


def _moment(text: str | None) -> datetime | None:
    return None if not text else read_date(text)
