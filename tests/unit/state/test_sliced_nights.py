# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights of a workflow whose windows have a shape: everything is loaded once and in order, whatever happens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from state_worlds import WORKFLOW, Clock, PureStore, RealStore, World
from thoroughness import scaled

from batchy_provider.core.boundaries import boundary_at, later_by
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.intervals import Interval, merge
from batchy_provider.core.values import Batch
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import NothingToLoadError
from batchy_provider.state.connections import open_client

SINCE = datetime(2026, 3, 20, 10, 30)
"""Before clocks change in Europe."""

JOBS = ("extract", "load")

shapes = st.builds(
    WindowShape,
    delay=st.sampled_from([timedelta(), timedelta(minutes=15), timedelta(days=2)]),
    align=st.sampled_from([None, "hour", "day", "week", "month", "0 6 * * *"]),
    max=st.sampled_from([None, timedelta(hours=5), timedelta(days=1), timedelta(days=9)]),
)


class SlicedNights(RuleBasedStateMachine):
    """One workflow with two jobs, its nights, and what becomes of them."""

    store: PureStore | RealStore
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.world = World(type(self).store, type(self).clock)
        self.clock.now = SINCE + timedelta(days=1)
        self.number = 0
        self.open: Batch | None = None
        self.ready_at: str | None = None
        self.failed_run: str | None = None
        self.last: dict[str, tuple[datetime, datetime]] = {}
        """Job → the window that it took last, and that has failed."""
        self.first: dict[str, tuple[datetime, datetime]] = {}
        """Job → the window of `failed_run`."""
        self.before: dict[str, datetime] = {}
        """Job → where it was loaded to before `failed_run`."""
        self.watermark: dict[str, datetime] = {}
        self.loaded: dict[str, list[Interval]] = {job: [] for job in JOBS}
        """Job → the windows of its successes, live ones in order."""
        self.history: dict[str, list[Interval]] = {job: [] for job in JOBS}

    @initialize(
        shape=shapes,
        zone=st.sampled_from(["UTC", "Europe/Paris"]),
        overlap=st.sampled_from([0, 2, 40]),
        cut=st.booleans(),
    )
    def begin(self, shape: WindowShape, zone: str, overlap: int, cut: bool) -> None:
        """The windows of the first batch."""
        self.world.shape, self.world.timezone = shape, zone
        job = {"initial_date": format_date(SINCE), "reprocess_hours": overlap, "trunc_start": cut}
        self.world.jobs = {name: dict(job) for name in JOBS}
        self.overlap, self.cut, self.shape, self.zone = overlap, cut, shape, zone

    # -- what happens ---------------------------------------------------------------------------------------------

    @rule(hours=st.integers(1, 120), minutes=st.integers(0, 59))
    def time_passes(self, hours: int, minutes: int) -> None:
        """An outage, or the night after."""
        self.clock.now += timedelta(hours=hours, minutes=minutes)

    @rule(how=st.sampled_from(["success", "success", "success", "failed", "crash"]), known=st.booleans())
    def night(self, how: str, known: bool) -> None:
        """A run is due."""
        self.number += 1
        if not self.loaded["extract"] and not self.last:
            known = True
        taken_over = self.open is not None
        before = self.world.state()
        try:
            batch = self.world.open(f"run {self.number}", known=known, if_open="take_over")
        except NothingToLoadError as error:
            self.ready_at = error.ready_at
            assert self.world.state() == before, "nothing changes"
            assert not taken_over, "what was not loaded is still to be loaded"
            assert not self._must_load()
            return
        assert self._must_load()
        self._check(batch)
        self._end(batch, how)

    @precondition(lambda self: self.open is None and self.failed_run is not None)
    @rule(how=st.sampled_from(["success", "failed"]))
    def cleared(self, how: str) -> None:
        """A person clears the run that has failed last."""
        batch = self.world.open(self.failed_run)
        if batch.kind == "live":
            for name, start, end in self._windows(batch):
                assert start <= self._reached(name), "nothing is passed over"
                # A job that was switched on since joins with what it has not loaded.
                assert (start, end) == self.first.get(name, (start, end)), "a cleared run has its window again"
                self.watermark[name] = min(self._reached(name), self.before[name])
        self._end(batch, how, cleared=True)
        self.failed_run = None if how == "success" else self.failed_run

    @precondition(lambda self: self.open is None and any(self.loaded.values()))
    @rule(job=st.sampled_from(JOBS), on=st.booleans())
    def switched(self, job: str, on: bool) -> None:
        """A person switches a job off or on."""
        if on:
            self.world.store.enable(WORKFLOW, job, by="ops")
        elif not self._off():
            self.world.store.disable(WORKFLOW, job, by="ops")

    @precondition(lambda self: self.open is None and any(self.loaded.values()))
    @rule(ahead=st.integers(-5, 5), days=st.integers(1, 6))
    def backfill(self, ahead: int, days: int) -> None:
        """Old data is loaded again, or data that is not due yet."""
        self.number += 1
        start = self._reached("extract") + timedelta(days=ahead)
        window = (format_date(start), format_date(start + timedelta(days=days)))
        batch = self.world.open(f"run {self.number}", backfill=True, window=window)
        self.world.close("success", batch)
        for name, start_of_job, end in self._windows(batch):
            self.history[name].append(Interval(start_of_job, end))

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_is_what_succeeded(self) -> None:
        """No more and no less."""
        ledger = self.world.store.ledger()
        for job in JOBS:
            assert ledger.get(job, ()) == merge([*self.loaded[job], *self.history[job]])

    @invariant()
    def a_time_that_is_named_lies_ahead(self) -> None:
        """When there will be something to load."""
        if self.ready_at is not None:
            assert parse_date(self.ready_at) > self.clock.now
            self.ready_at = None

    def _check(self, batch: Batch) -> None:
        """Compare the windows of a new live batch with those before it."""
        windows = self._windows(batch)
        assert len({end for _, _, end in windows}) == 1, "they end at one moment"
        for name, start, end in windows:
            reached = self._reached(name)
            assert end > reached, "the watermark goes forward"
            assert start <= reached, "nothing is passed over"
            if name in self.last:
                assert start == self.last[name][0], "a retry has the same start"
                # A job that was switched on since may have older data, which comes first.
                if self.last_off == self._off():
                    assert end >= self.last[name][1], "and ends no earlier"
                    assert end == self.last[name][1] or name not in self.last_cut, "what was full is as it was"
            elif self.loaded[name] and not self.cut:
                floor = min(SINCE, reached)
                back = reached - timedelta(hours=self.overlap)
                if self.overlap and self.shape.align is not None:
                    back = boundary_at(self.shape.align, self.zone, back)
                assert start == max(back, floor), "windows touch, or reach back to a boundary"
            assert end <= self.clock.now - self.shape.delay
            if self.shape.align is not None:
                assert boundary_at(self.shape.align, self.zone, end) == end
            if self.shape.max is not None and self.shape.align in (None, "hour", "day"):
                full = later_by(reached, max(self.shape.max, timedelta(days=1)), self.zone)
                assert end <= full + timedelta(hours=2 if self.shape.align else 0)

    def _end(self, batch: Batch, how: str, *, cleared: bool = False) -> None:
        # A job that took no part may go further the next time: what was cut is the window of others.
        more = batch.record is not None and batch.record.more
        self.last_cut = {name for name, _, _ in self._windows(batch)} if more else set()
        self.last_off = self._off()
        if batch.kind == "live":
            for name, start, end in self._windows(batch):
                self.last[name] = (start, end)
        self.open = batch if how == "crash" else None
        if how == "crash":
            return
        self.clock.now += timedelta(minutes=20)
        self.world.close(how, batch)
        if how == "failed":
            if batch.kind == "live" and not cleared:
                self.failed_run = f"run {self.number}"
                self.first = {name: (start, end) for name, start, end in self._windows(batch)}
                self.before = {name: self._reached(name) for name in JOBS}
            return
        for name, start, end in self._windows(batch):
            (self.loaded if batch.kind == "live" else self.history)[name].append(Interval(start, end))
            if batch.kind == "live":
                self.last.pop(name, None)
                self.watermark[name] = end

    def _windows(self, batch: Batch) -> list[tuple[str, datetime, datetime]]:
        left_out = batch.record.left_out if batch.record else ()
        return [
            (name, parse_date(job["from_date"]), parse_date(job["to_date"]))
            for name, job in batch.jobs.items()
            if name not in left_out
        ]

    def _reached(self, name: str) -> datetime:
        """Up to where the live batches of a job have loaded."""
        first = boundary_at("day", self.zone, SINCE) if self.cut else SINCE
        return self.watermark.get(name, first)

    def _must_load(self) -> bool:
        """Tell whether some job has data that a window could take."""
        latest = self.clock.now - self.shape.delay
        if self.shape.align is not None:
            latest = boundary_at(self.shape.align, self.zone, latest)
        return any(self._reached(name) < latest for name in JOBS if name not in self._off())

    def _off(self) -> Any:
        return self.world.store.status(WORKFLOW).disabled if any(self.loaded.values()) else ()


def test_nights_with_slices_load_everything_once_and_in_order() -> None:
    class OnPlainData(SlicedNights):
        def __init__(self) -> None:
            clock = Clock()
            type(self).clock, type(self).store = clock, PureStore(clock)
            super().__init__()

    run_state_machine_as_test(
        OnPlainData, settings=settings(max_examples=scaled(30), stateful_step_count=25, report_multiple_bugs=False)
    )


@pytest.mark.slow
def test_nights_with_slices_on_a_real_store(redis_url: str) -> None:
    client = open_client(redis_url)

    class OnAServer(SlicedNights):
        def __init__(self) -> None:
            client.flushdb()
            clock = Clock()
            type(self).clock, type(self).store = clock, RealStore(client, clock=clock.read)
            super().__init__()

    try:
        run_state_machine_as_test(OnAServer, settings=settings(max_examples=scaled(10), stateful_step_count=20))
    finally:
        client.close()
