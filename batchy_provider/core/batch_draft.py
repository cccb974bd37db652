# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write a batch whose windows are chosen: its jobs, its record, and the end of the batch that is still open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from batchy_provider.core.alike import for_each_pair, without_nulls
from batchy_provider.core.closing import abort
from batchy_provider.core.dates import day_of, format_date, unix_seconds
from batchy_provider.core.foreign_batches import record_foreign
from batchy_provider.core.hold_rules import active_hold, ignored_hold
from batchy_provider.core.holders import Lease, Sighting
from batchy_provider.core.holding import check_free, lease_of, never_closed
from batchy_provider.core.job_state import Fields, JobState, as_fields, opened_state
from batchy_provider.core.merged_jobs import merged_jobs
from batchy_provider.core.opening_notices import first_windows
from batchy_provider.core.presenters import event, unknown_workflow
from batchy_provider.core.repeated_requests import request_key
from batchy_provider.core.snapshot import NOTHING, UNCHANGED, Change, Decision, Owner, Snapshot, StoredConfig, Unchanged
from batchy_provider.core.statuses import status_of
from batchy_provider.core.values import Batch, BatchRecord, OpenRequest
from batchy_provider.core.vocabulary import Kind, Reason

LISTED_AFTER = 1e-6
"""How much the score of a history batch is above that of the batch before it: a double has room for this."""

Spans = Mapping[str, tuple[datetime, datetime]]
"""Job → (from_date, to_date), naive UTC."""


class BatchDraft:
    """A batch that is about to open.

    :param now: the Redis server's time, naive UTC.
    :param sighting: what this machine sees of the process that holds the live batch; None if nobody looked.
    :ivar left_out: jobs that take no part.
    :ivar end: where the windows end, naive UTC.
    :ivar more: more data is left after this window, and is to be loaded at once.
    """

    def __init__(self, state: Snapshot, request: OpenRequest, now: datetime, sighting: Sighting | None) -> None:
        self.state = state
        self.request = request
        self.now = now
        self.sighting = sighting
        self.warnings: list[str] = ignored_hold(state, now)
        self.jobs = merged_jobs(state, request.config)
        if not self.jobs:
            raise unknown_workflow(state.workflow)
        self.config = StoredConfig.of(request.config) if request.config else state.config
        self.left_out = (self.config.disabled | state.disabled) & self.jobs.keys()
        self.end = now
        self.more: bool | None = None
        self.loaded: Mapping[str, Sequence[str]] | None = None
        # Ids of live batches increase. The original takes the current second, without a look at history.
        highest = max(state.last_id, state.live_id or 0)
        self.batch_id = max(int(unix_seconds(now)), highest + 1)

    def live(self, spans: Spans, code: Reason, reason: str, *, moved: bool = False) -> Decision[Batch]:
        """Open the live batch, after the end of the batch before it.

        :param moved: the watermark goes to the end of this window, also backwards.
        """
        ending, is_taken_over = self._end_open_batch()
        before = record_foreign(self.state, self.now).then(ending)
        jobs = self._opened(self.jobs, spans)
        sentence = f"{reason}, taken over" if is_taken_over else reason
        record = self._record("live", code, sentence, moved=moved, taken_over=is_taken_over)
        opened = [name for name in jobs if name not in self.left_out] if self.left_out else jobs.keys()
        if code in (Reason.NEXT_WINDOW, Reason.NEXT_SLICE):
            self.warnings += first_windows(self.state, self.jobs, opened, self.config.window)
        return self._decision(
            jobs,
            record,
            before,
            live=jobs,
            owner=Owner(self.batch_id, self.request.holder, record),
            config=UNCHANGED if self.config.is_same(self.state.config) else self.config,
            lease=self._lease(),
            hold=UNCHANGED if self.state.hold is None or active_hold(self.state, self.now) else None,
        )

    def history(self, spans: Spans, code: Reason, reason: str) -> Decision[Batch]:
        """Open a batch that only the history and the ledger know.

        Its id is one that the original cannot take any more: it takes the current second.
        """
        if self.state.free_id is not None:
            self.batch_id = self.state.free_id
        jobs = self._opened({name: self.jobs[name] for name in spans}, spans)
        # It is listed as the newest, although its id is not the highest.
        listed = max(self.state.last_listed, float(self.batch_id)) + LISTED_AFTER
        return self._decision(jobs, self._record("history", code, reason, listed=listed))

    def _lease(self) -> Lease | Unchanged | None:
        if self.request.lease_seconds is not None:
            return lease_of(self.batch_id, self.request.lease_seconds, self.now)
        return UNCHANGED if self.state.lease is None else None

    def _end_open_batch(self) -> tuple[Change, bool]:
        """End a batch that is still open, if its holder is gone or the request takes over; otherwise refuse.

        :returns: the change that ends it, and whether there is one.
        """
        state, request = self.state, self.request
        if not state.is_open or state.live_id is None:
            return NOTHING, False
        check_free(state, request, self.sighting, self.now)
        self.warnings.insert(0, never_closed(state, self.sighting))
        ending = abort(state, self.now, by=request.holder.name, why=request.why, taken_over_by=self.batch_id)
        return ending, True

    def _opened(self, jobs: Mapping[str, JobState], spans: Spans) -> Mapping[str, JobState]:
        """Return jobs in the new batch."""
        states: dict[tuple[datetime, datetime], Fields] = {}

        def opened(job: JobState, span: tuple[datetime, datetime]) -> JobState:
            if span not in states:
                states[span] = opened_state(self.batch_id, format_date(span[0]), format_date(span[1]))
            return job.opened(states[span])

        taking_part = for_each_pair(without_nulls(jobs, self.left_out), spans, opened)
        if not self.left_out:
            return taking_part
        return {name: taking_part.get(name) or self._left_out(name, job) for name, job in jobs.items()}

    def _left_out(self, name: str, job: JobState) -> JobState:
        status = status_of(self.state.workflow, name, job)
        return job.left_out(self.batch_id, "failed" if status == "open" else status)

    def _record(self, kind: Kind, code: Reason, reason: str, **more: Any) -> BatchRecord:
        holder = self.request.holder
        return BatchRecord(
            kind=kind,
            started=format_date(self.now),
            to_date=format_date(self.end),
            day=self.request.day or day_of(self.end, self.config.timezone),
            reason=reason,
            reason_code=code.value,
            run=holder.run_name(self.state.workflow),
            deployment=holder.deployment,
            by=holder.name,
            why=self.request.why,
            left_out=tuple(sorted(self.left_out)),
            due=self.request.due,
            more=self.more if kind == "live" else None,
            loaded=self.loaded if kind == "live" else None,
            **more,
        )

    def _decision(
        self, jobs: Mapping[str, JobState], record: BatchRecord, before: Change = NOTHING, **live: Any
    ) -> Decision[Batch]:
        """Return the opening of the batch.

        :param before: what is to be recorded before it.
        :param live: further parts of the change, for a live batch.
        """
        asker = request_key(self.state.workflow, self.request)
        opened = Change(
            batches={self.batch_id: jobs},
            records={self.batch_id: record},
            history=[self.batch_id],
            runs={} if asker is None else {asker: self.batch_id},
            event=event(self.state.workflow, self.batch_id, "open", record.kind, self.now),
            **live,
        )
        batch = Batch(
            workflow=self.state.workflow,
            batch_id=self.batch_id,
            status="open",
            kind=record.kind,
            jobs=as_fields(jobs),
            record=record,
            warning="; ".join(self.warnings) or None,
        )
        return Decision(batch, before.then(opened))
