# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Load gaps, or any range of data: one history run of the workflow's DAG for each slice.

The id of a run follows from its slice. So a second call while the runs of the first are queued, or after a lost reply,
finds them and starts none of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from batchy_provider.config.durations import format_duration
from batchy_provider.core.dates import format_date, read_date
from batchy_provider.core.fill_slices import slices
from batchy_provider.core.hold_rules import active_hold
from batchy_provider.core.intervals import Interval, Intervals, merge
from batchy_provider.core.missing_data import current_ledger, disabled_jobs, lacks, merged_gaps, overlaps, without
from batchy_provider.core.names import check_workflow_name
from batchy_provider.core.unfinished_rename import check_finished
from batchy_provider.core.windows import watermarks
from batchy_provider.exceptions import NoDagError, UnknownWorkflowError, WindowError
from batchy_provider.services.answers import Audit
from batchy_provider.services.fill_requests import RUN_PREFIX, DagRuns, Fill, FillRequest, FillRun, KnownRun
from batchy_provider.state.ledger_scan import read_ledger

if TYPE_CHECKING:
    from batchy_provider.core.holds import Hold
    from batchy_provider.core.snapshot import Snapshot
    from batchy_provider.core.values import Actor, WorkflowConfig
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.state.store import Store

MAX_RUNS = 400
"""How many runs one fill may need: more than a year of days."""


class FillService:
    """Start runs that load gaps or ranges.

    :param store: returns the state in Redis.
    :param config: returns the configuration in a workflow's file, or None if there is no file.
    :param runs: the runs of this Airflow; None where there is none, so that only dry runs work.
    :param audit: called with each fill after its runs are queued.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        config: Callable[[str], WorkflowConfig | None],
        runs: DagRuns | None,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._config = config
        self._runs = runs
        self._audit = audit

    def fill(self, workflow: str, request: FillRequest, *, actor: Actor, why: str | None = None) -> Fill:
        """Queue one history run for each slice of the gaps, or of a range.

        :raises UnknownWorkflowError: neither Redis nor a file knows the workflow.
        :raises NoDagError: Airflow has no DAG of it.
        :raises UnfinishedRenameError: a rename of the workflow was interrupted.
        :raises WindowError: the range or the length of the slices is not valid, or there are too many slices.
        """
        check_workflow_name(workflow)
        if request.every <= timedelta():
            raise WindowError("a slice of no length holds no data; give a length above zero, for example every 1d")
        if self._runs is None and not request.dry_run:
            raise NoDagError("no Airflow can be reached from here, so no run can be started; only a dry run works")
        # The runs first: what a run has loaded when it ends is then in the ledger that is read after it.
        known = [] if self._runs is None else self._runs.with_windows(workflow)
        paused = None if self._runs is None else self._runs.is_paused(workflow)
        state = read_ledger(self._store().backend, workflow)
        check_finished(state.rename, workflow)
        zone, jobs = self._zone_and_jobs(state)
        if self._runs is not None and paused is None:
            raise NoDagError(f"Airflow has no DAG {workflow!r}, so no run can load the data. Is its file valid?")
        fill = Fill(workflow=workflow)
        wanted = self._wanted(fill, state, request)
        parts = _new_slices(fill, request, zone, wanted, [run for run in known if run.is_active])
        ledger = current_ledger(state)
        by_id = {run.run_id: run for run in known}
        try:
            for part in parts:
                run_id, before = _run_of(part, by_id, is_needed=lacks(ledger, jobs, part))
                _add(fill, request, part, run_id)
                if run_id in by_id:
                    text = f"Run {run_id} has loaded its slice. To load it again, clear this run in Airflow."
                    fill.note("already_loaded", text)
                elif not request.dry_run:
                    self._start(fill, request, part, run_id, before, actor)
        finally:
            if fill.created:
                self._record(state, request, fill.created, actor, why)
        if paused and fill.runs and not request.dry_run:
            fill.note("dag_paused", f"The DAG is paused. Its runs stay queued until: airflow dags unpause {workflow}")
        if fill.runs and not request.ignore_hold and (hold := self._hold_on(state)) is not None:
            fill.note("on_hold", f"{workflow} is {hold}. The runs wait until then.")
        fill.runs.sort(key=lambda run: (run.from_date, run.to_date))
        return fill

    def _hold_on(self, state: Snapshot) -> Hold | None:
        if state.hold is None:
            return None
        return active_hold(state, self._store().backend.server_time(state.workflow))

    def _zone_and_jobs(self, state: Snapshot) -> tuple[str, Collection[str]]:
        """Return the timezone of a workflow, and its enabled jobs."""
        if state.jobs:
            return state.config.timezone, state.jobs.keys() - disabled_jobs(state)
        config = self._config(state.workflow)
        if config is None:
            raise UnknownWorkflowError(
                f"workflow {state.workflow!r} is in neither Redis nor the folder of workflow files"
            )
        return config.timezone, config.jobs.keys() - config.disabled

    def _wanted(self, fill: Fill, state: Snapshot, request: FillRequest) -> Intervals:
        """Return what to load, oldest first."""
        if request.from_date is None and request.to_date is None:
            if off := merged_gaps(state, disabled=True):
                names = ", ".join(sorted({job for gap in off for job in gap.jobs}))
                fill.note("disabled_jobs", f"Runs skip disabled jobs, so the gaps of these stay: {names}.")
            return merge(gap.interval for gap in merged_gaps(state))
        if request.from_date is None:
            raise WindowError("from_date is missing: where does the range begin? Without both dates, fill loads gaps")
        off_jobs = disabled_jobs(state)
        mark = min((at for job, at in watermarks(state).items() if job not in off_jobs), default=None)
        whole = _range(state.workflow, request, mark, self._store().backend.server_time(state.workflow))
        if mark is not None and whole.end > mark:
            text = f"The next window starts at {format_date(mark)} UTC: its run loads what lies after that once more."
            fill.note("beyond_watermark", text)
        return (whole,)

    def _start(
        self, fill: Fill, request: FillRequest, part: Interval, run_id: str, before: KnownRun | None, actor: Actor
    ) -> None:
        """Queue the run of one slice.

        :param before: an earlier run of this slice that has not loaded it.
        """
        assert self._runs is not None  # see `fill`
        start, end = map(format_date, part)
        conf: dict[str, object] = {"from_date": start, "to_date": end}
        if request.ignore_hold:
            conf["ignore_hold"] = True
        if not self._runs.create(fill.workflow, run_id, conf, actor):
            fill.note("already_queued", f"Run {run_id} exists already: another fill has queued it a moment ago.")
            return
        fill.created.append(run_id)
        if before is not None and before.state == "failed":
            fill.note("failed_before", f"Run {before.run_id} has failed. Run {run_id} loads its slice.")

    def _record(
        self, state: Snapshot, request: FillRequest, created: Sequence[str], actor: Actor, why: str | None
    ) -> None:
        """Record who has started runs, and why, beside the other changes that people make.

        First in the log of Airflow, which has the runs: Redis may be gone by now.
        """
        given = {"from_date": request.from_date, "to_date": request.to_date}
        details = {name: str(value) for name, value in given.items() if value is not None}
        if request.ignore_hold:
            details["ignore_hold"] = "true"
        details |= {"every": format_duration(request.every), "runs": ", ".join(created)}
        self._audit(Audit(workflow=state.workflow, action="fill", actor=actor, why=why, details=details))
        if state.jobs:
            count = "1 run" if len(created) == 1 else f"{len(created)} runs"
            self._store().record(state.workflow, f"fill: queued {count}, first {created[0]}", by=actor, why=why)


def _range(workflow: str, request: FillRequest, mark: datetime | None, now: datetime) -> Interval:
    """Return the range that a request names.

    :param mark: the watermark: where a range without an end ends. None for a workflow that has none yet.
    """
    start = read_date(request.from_date)
    end = (now if mark is None else mark) if request.to_date is None else read_date(request.to_date)
    texts = f"from {format_date(start)} to {format_date(end)} UTC"
    if start >= end and request.to_date is None:
        raise WindowError(
            f"{workflow}: from_date {format_date(start)} is not before the watermark, {format_date(end)}; "
            "give to_date too"
        )
    if start >= end:
        raise WindowError(f"{workflow}: the range {texts} is empty; from_date (inclusive) must be before to_date")
    if end > now:
        raise WindowError(f"{workflow}: the range {texts} ends in the future (it is {format_date(now)} UTC)")
    return Interval(start, end)


def _new_slices(
    fill: Fill, request: FillRequest, zone: str, wanted: Intervals, active: Sequence[KnownRun]
) -> list[Interval]:
    """Return the slices that need a run. Add the active runs that load a part of it already to the fill."""
    busy = [
        (run, run.window)
        for run in active
        if run.window is not None and any(overlaps(run.window, each) for each in wanted)
    ]
    left = without(wanted, (window for _, window in busy))
    at_most = MAX_RUNS + 1 if request.at_most is None else request.at_most
    parts = chain.from_iterable(slices(each, request.every, zone) for each in left)
    new = list(islice(parts, min(at_most, MAX_RUNS) + 1))
    if len(new) > MAX_RUNS and at_most > MAX_RUNS:
        raise WindowError(
            f"{fill.workflow}: more than {MAX_RUNS} slices of {format_duration(request.every)}, and each needs a run. "
            "Make the slices longer (every 4w), or load the oldest ones first (at most 100, and then fill again)"
        )
    rows: list[tuple[KnownRun | None, Interval]] = [*busy, *((None, part) for part in new)]
    rows.sort(key=lambda row: row[1])
    for run, window in rows[:at_most]:
        if run is not None:
            _add(fill, request, window, run.run_id)
            fill.note("already_queued", f"Run {run.run_id} is {run.state}: it loads its slice.")
    if len(rows) > at_most:
        fill.note("more_left", "Data is left to load after these slices: fill again when they are loaded.")
    return [window for run, window in rows[:at_most] if run is None]


def _add(fill: Fill, request: FillRequest, part: Interval, run_id: str) -> None:
    start, end = map(format_date, part)
    fill.runs.append(FillRun(from_date=start, to_date=end, run_id=None if request.dry_run else run_id))


def _run_of(part: Interval, known: Mapping[str, KnownRun], *, is_needed: bool) -> tuple[str, KnownRun | None]:
    """Return the id of the run for a slice, and the last run of it that has not loaded it, if there is one.

    :param is_needed: the ledger lacks a part of the slice. So a run that has succeeded counts no more: a person has
        moved the watermark back since.
    """
    base = RUN_PREFIX + "__".join(each.isoformat() for each in part)
    run_id, number, before = base, 1, None
    while (run := known.get(run_id)) is not None and (run.state == "failed" or (run.state == "success" and is_needed)):
        number, before = number + 1, run
        run_id = f"{base}__{number}"
    return run_id, before
