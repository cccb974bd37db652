# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide whether a batch may be opened, and which window it gets."""

from __future__ import annotations

from datetime import datetime

from batchy_provider.core.alike import different, for_each, grouped, regrouped, without_nulls
from batchy_provider.core.batch_draft import BatchDraft, Spans
from batchy_provider.core.dates import format_date, parse_date, read_date
from batchy_provider.core.foreign_batches import is_recorded_success
from batchy_provider.core.hold_rules import check_not_on_hold
from batchy_provider.core.holders import Sighting
from batchy_provider.core.job_settings import initial
from batchy_provider.core.job_state import JobState, by_state
from batchy_provider.core.repeated_requests import (
    already_open,
    earlier_of_this_name,
    why_not_its_window,
    with_own,
)
from batchy_provider.core.shaped_windows import shaped_windows
from batchy_provider.core.snapshot import Decision, Snapshot, StoredBatch
from batchy_provider.core.statuses import status_of
from batchy_provider.core.values import Batch, BatchRecord, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.vocabulary import Reason
from batchy_provider.core.windows import Position, position, position_key
from batchy_provider.exceptions import UnknownBatchError, WindowError


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
    and each job of the configuration goes on from that success. A success with an empty window may be the first one.
    """
    if not is_recorded_success(state):
        return True
    jobs = state.by_state
    if config is not None and config.jobs.keys() != jobs.keys():
        if not jobs.keys() >= config.jobs.keys():
            return True
        jobs = grouped({name: jobs[name] for name in config.jobs})
    return any(job.status != "success" or job.is_empty for job in jobs.different)


class _Opening(BatchDraft):
    """One opening: it chooses the windows."""

    def next_spans(self) -> Spans:
        """Return the next window of each job: from where its data is loaded to, until now or as its shape allows."""
        if any(job.has_no_start for job in by_state(self.jobs).different):
            beginning = {name for name, job in self.jobs.items() if job.has_no_start}
            for name in sorted(beginning - self.left_out):
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

        def next_span(name: str, job: JobState) -> tuple[datetime, datetime]:
            at = self._position(name, job)
            return (at.start, max(end, at.watermark, at.start))

        spans = for_each(regrouped(grouped(self.jobs), position_key), next_span)  # most jobs share one window
        self.end = max((end for _, end in different(without_nulls(spans, self.left_out))), default=self.now)
        return spans

    def _check_beginning(self, name: str, job: JobState) -> None:
        """Refuse a first window that begins in the future: data that arrives until then would be skipped."""
        first = initial(self.state.workflow, name, job)
        if first is not None and first > self.now:
            raise WindowError(
                f"{self.state.workflow}, job {name!r}: initial_date {format_date(first)} lies in the future (it is "
                f"{format_date(self.now)} UTC), and no window can begin there yet; write a date that has passed"
            )

    def asked_spans(self) -> Spans:
        """Return the requested window, for every job."""
        window = self.request.window or Window()
        self.end = self.now if window.to_date is None else read_date(window.to_date)
        if not self.request.backfill and self.end > self.now:
            harm = "a watermark there would skip what" if self.request.move_watermark else "what"
            rest = "" if self.request.move_watermark else " would count as loaded. Without to_date, it ends now"
            raise WindowError(
                f"{self.state.workflow}: to_date {format_date(self.end)} lies in the future (it is "
                f"{format_date(self.now)} UTC); {harm} arrives until then{rest}"
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
            name: (parse_date(start), parse_date(end))
            for name, job in own.jobs.items()
            if name in self.jobs and name not in record.left_out and (start := job.from_date) and (end := job.to_date)
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
        return position(self.state.workflow, name, job, self.config)
