# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide whether a batch may be opened, and which window it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.closing import abort
from batchy_provider.core.dates import day_of, format_date, parse_date, read_date, unix_seconds
from batchy_provider.core.foreign_batches import is_recorded_success, record_foreign
from batchy_provider.core.hold_rules import active_hold, check_not_on_hold, ignored_hold
from batchy_provider.core.holders import Lease, Sighting
from batchy_provider.core.holding import check_free, lease_of, never_closed
from batchy_provider.core.job_settings import initial
from batchy_provider.core.job_state import JobState, as_fields
from batchy_provider.core.merged_jobs import merged_jobs
from batchy_provider.core.opening_notices import first_windows
from batchy_provider.core.presenters import event, unknown_workflow
from batchy_provider.core.repeated_requests import (
    already_open,
    earlier_of_this_name,
    request_key,
    why_not_its_window,
    with_own,
)
from batchy_provider.core.shaped_windows import shaped_windows
from batchy_provider.core.snapshot import (
    UNCHANGED,
    Change,
    Decision,
    Owner,
    Snapshot,
    StoredBatch,
    StoredConfig,
    Unchanged,
)
from batchy_provider.core.statuses import status_of
from batchy_provider.core.values import (
    Batch,
    BatchRecord,
    OpenRequest,
    Window,
    WorkflowConfig,
)
from batchy_provider.core.vocabulary import Kind, Reason
from batchy_provider.core.windows import Position, position
from batchy_provider.exceptions import UnknownBatchError, WindowError

LISTED_AFTER = 1e-6
"""How much the score of a history batch is above that of the batch before it: a double has room for this."""

Spans = Mapping[str, tuple[datetime, datetime]]
"""Job → (from_date, to_date), naive UTC."""


def may_be_history(state: Snapshot, request: OpenRequest) -> bool:
    """Tell whether a request may open a batch that is history only, which needs `Snapshot.free_id`."""
    return request.backfill or state.own is not None or (request.window is not None and not request.move_watermark)


def open_batch(
    state: Snapshot, request: OpenRequest, now: datetime, sighting: Sighting | None = None
) -> Decision[Batch]:
    """Open a batch.

    :param now: the Redis server's time, naive UTC.
    :param sighting: what this machine sees of the process that holds the live batch; None if nobody looked.
    :raises BatchHeldError: if somebody holds the live batch open: another run that is not known to be gone, a program
        with a lease, or a process that is alive.
    :raises WorkflowOnHoldError: if a person has put the workflow on hold, and the request does not ignore that.
    :raises UnknownWorkflowError: if neither Redis nor the request knows any job.
    :raises WindowError: if the requested window is not possible.
    :raises UnknownBatchError: if the run's earlier batch has been pruned.
    :raises NothingToLoadError: if there is no new data, and the shape of the windows skips that.
    """
    if again := already_open(state, request):
        return Decision(again)
    check_not_on_hold(state, request, now)
    earlier = earlier_of_this_name(state, request)
    state = with_own(state, request)
    opening = _Opening(state, request, now, sighting)
    if request.backfill:
        return opening.history(opening.asked_spans(), Reason.BACKFILL, "backfill of the run's own data interval")
    if state.own is not None:
        return opening.rerun(state.own)
    if request.window is not None and not request.move_watermark:
        return opening.history(opening.asked_spans(), Reason.ONE_OFF, "one-off load of the window asked for")
    if request.window is not None:
        return opening.live(
            opening.asked_spans(), Reason.REQUESTED, "window asked for, and the watermark moves with it", moved=True
        )
    if earlier is not None and not (earlier.batch_id == state.live_id and state.is_open):
        opening.warnings.append(why_not_its_window(state.workflow, request, earlier))
    spans = opening.next_spans()
    if opening.more:
        return opening.live(spans, Reason.NEXT_SLICE, "first part of the next window, as much as its shape allows")
    return opening.live(spans, Reason.NEXT_WINDOW, "next window")


def opening_wants_ledger(state: Snapshot, config: WorkflowConfig | None) -> bool:
    """Tell whether an opening needs the ledger, unless its run has opened a batch before: then it does.

    It does not while all goes well: the last batch was closed here as success, so that its windows are in the ledger,
    and each job of the configuration goes on from that success.
    """
    if not is_recorded_success(state):
        return True
    jobs = state.jobs if config is None else config.jobs
    return any((known := state.jobs.get(name)) is None or known.status != "success" for name in jobs)


class _Opening:
    """One opening: the values that every kind of opening needs, and the change that each kind makes."""

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

    # -- which window ------------------------------------------------------------------------------------

    def next_spans(self) -> Spans:
        """Return the next window of each job: from where its data is loaded to, until now or as its shape allows."""
        for name in sorted(self.jobs.keys() - self.left_out):
            self._check_beginning(name, self.jobs[name])
        shaped = shaped_windows(self.state, self.request, self.config, self.jobs, self.left_out, self.now)
        if shaped is not None:
            self.more, self.loaded = shaped.more or None, shaped.loaded
            self.left_out |= self.jobs.keys() - shaped.spans.keys()
            self.end = max(end for _, end in shaped.spans.values())
            return shaped.spans
        last = self.state.last_success
        # A clock that was set back must not move the watermark back.
        end = max(self.now, parse_date(last.to_date)) if last is not None else self.now
        spans = {}
        for name, job in self.jobs.items():
            at = self._position(name, job)
            spans[name] = (at.start, max(end, at.watermark, at.start))
        self.end = max((end for name, (_, end) in spans.items() if name not in self.left_out), default=self.now)
        return spans

    def _check_beginning(self, name: str, job: JobState) -> None:
        """Refuse a first window that begins in the future: data that arrives until then would be skipped."""
        first = initial(self.state.workflow, name, job)
        if job.fields.get("from_date") is None and first is not None and first > self.now:
            raise WindowError(
                f"{self.state.workflow}, job {name!r}: initial_date {format_date(first)} lies in the future (it is "
                f"{format_date(self.now)} UTC), and no window can begin there yet; write a date that has passed"
            )

    def asked_spans(self) -> Spans:
        """Return the requested window, for every job."""
        window = self.request.window or Window()
        self.end = self.now if window.to_date is None else read_date(window.to_date)
        if self.request.move_watermark and self.end > self.now:
            raise WindowError(
                f"{self.state.workflow}: to_date {format_date(self.end)} lies in the future (it is "
                f"{format_date(self.now)} UTC); a watermark there would skip what arrives until then"
            )
        spans = {}
        for name, job in self.jobs.items():
            start = self._position(name, job).start if window.from_date is None else read_date(window.from_date)
            if start > self.end:
                raise WindowError(
                    f"{self.state.workflow}, job {name!r}: the window would start at {format_date(start)} and end "
                    f"before, at {format_date(self.end)}; give from_date and to_date (UTC) in order"
                )
            spans[name] = (start, self.end)
        return spans

    def rerun(self, own: StoredBatch) -> Decision[Batch]:
        """Take the window of the run's own earlier batch again."""
        record = own.record
        if not own.jobs or record is None:
            raise UnknownBatchError(
                f"{self.state.workflow}: this run opened batch {own.batch_id} before, which has been pruned, so its "
                "window is not known any more. Trigger a new run with the window in its conf: "
                '{"from_date": "…", "to_date": "…"}'
            )
        self.end = parse_date(record.to_date)
        self.more, self.loaded = record.more, record.loaded
        spans = {
            name: (parse_date(job.fields["from_date"]), parse_date(job.fields["to_date"]))
            for name, job in own.jobs.items()
            if name in self.jobs and name not in record.left_out and job.fields.get("from_date")
        }
        reason = f"window of batch {own.batch_id} again"
        if against := self._why_not_live(own, record, spans):
            # None of its jobs exists any more: an empty window for all, so that the run can continue.
            spans = spans or dict.fromkeys(self.jobs, (self.end, self.end))
            return self.history(spans, Reason.RERUN_HISTORY, f"{reason}, for history only: {against}")
        for name, job in self.jobs.items():
            if name in spans:
                continue
            at = self._position(name, job)
            if self._loaded_until(own, name, job, at) >= self.end:
                self.left_out |= {name}
            spans[name] = (at.start, self.end)
        return self.live(spans, Reason.RERUN, reason, moved=record.moved)

    def _why_not_live(self, own: StoredBatch, record: BatchRecord, spans: Spans) -> str | None:
        """Return why a re-run must not touch the live state; None if it may."""
        if record.kind == "history":
            return "that batch was so too"
        if not spans:
            return "none of its jobs is there any more"
        for name, (start, end) in spans.items():
            if name not in self.state.jobs and name not in self.state.ledger:
                continue
            job = self.jobs[name]
            at = self._position(name, job)
            if self._loaded_until(own, name, job, at) > end:
                return "a later batch has succeeded since"
            if at.watermark < start:
                # This window would move the watermark past data that was never loaded.
                return f"data from {format_date(at.watermark)} UTC is still to be loaded before it"
        return None

    def _loaded_until(self, own: StoredBatch, name: str, job: JobState, at: Position) -> datetime:
        """Return how far later batches than `own` have loaded a job."""
        state = self.state
        if status_of(state.workflow, name, job) == "success":
            return at.watermark
        if state.live_record is None and state.live_id is not None:
            # The original server opened the live batch: only its start is known.
            return at.watermark
        last = state.last_success
        if last is None or 0 < last.batch_id < own.batch_id:
            return at.watermark
        return max(at.watermark, parse_date(last.to_date))

    def _position(self, name: str, job: JobState) -> Position:
        return position(self.state.workflow, name, job, self.config.timezone)

    # -- what is written ---------------------------------------------------------------------------------

    def live(self, spans: Spans, code: Reason, reason: str, *, moved: bool = False) -> Decision[Batch]:
        """Open the live batch, after the end of the batch before it.

        :param moved: the watermark goes to the end of this window, also backwards.
        """
        ending, is_taken_over = self._end_open_batch()
        before = record_foreign(self.state, self.now).then(ending)
        jobs = {
            name: self._left_out(name, job) if name in self.left_out else self._opened(job, *spans[name])
            for name, job in self.jobs.items()
        }
        sentence = f"{reason}, taken over" if is_taken_over else reason
        record = replace(self._record("live", code, sentence), moved=moved, taken_over=is_taken_over)
        change = Change(
            live=jobs,
            owner=Owner(self.batch_id, self.request.holder, record),
            config=UNCHANGED if self.request.config is None else self.config,
            lease=self._lease(),
        )
        opened = [name for name in jobs if name not in self.left_out]
        if code in (Reason.NEXT_WINDOW, Reason.NEXT_SLICE):
            self.warnings += first_windows(self.state, self.jobs, opened)
        return self._decision(jobs, record, before.then(change))

    def history(self, spans: Spans, code: Reason, reason: str) -> Decision[Batch]:
        """Open a batch that only the history and the ledger know.

        Its id is one that the original cannot take any more: it takes the current second.
        """
        if self.state.free_id is not None:
            self.batch_id = self.state.free_id
        jobs = {
            name: self._left_out(name, self.jobs[name])
            if name in self.left_out
            else self._opened(self.jobs[name], *span)
            for name, span in spans.items()
        }
        # It is listed as the newest, although its id is not the highest.
        listed = max(self.state.last_listed, float(self.batch_id)) + LISTED_AFTER
        return self._decision(jobs, replace(self._record("history", code, reason), listed=listed), Change())

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
            return Change(), False
        check_free(state, request, self.sighting, self.now)
        self.warnings.insert(0, never_closed(state, self.sighting))
        ending = abort(state, self.now, by=request.holder.name, why=request.why, taken_over_by=self.batch_id)
        return ending, True

    def _opened(self, job: JobState, start: datetime, end: datetime) -> JobState:
        return job.opened(self.batch_id, format_date(start), format_date(end))

    def _left_out(self, name: str, job: JobState) -> JobState:
        status = status_of(self.state.workflow, name, job)
        return job.left_out(self.batch_id, "failed" if status == "open" else status)

    def _record(self, kind: Kind, code: Reason, reason: str) -> BatchRecord:
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
        )

    def _decision(self, jobs: dict[str, JobState], record: BatchRecord, change: Change) -> Decision[Batch]:
        asker = request_key(self.state.workflow, self.request)
        opened = Change(
            batches={self.batch_id: jobs},
            records={self.batch_id: record},
            history=[self.batch_id],
            runs={} if asker is None else {asker: self.batch_id},
            hold=UNCHANGED if self.state.hold is None or active_hold(self.state, self.now) else None,
            event=event(self.state.workflow, self.batch_id, "open", record.kind, self.now),
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
        return Decision(batch, change.then(opened))
