# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The steps of the nights that open: time, configuration, runs and people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from night_machine import CRASHES, DAYS, JOBS, RUNS, SETTINGS, NightMachine, spans_of
from state_model import Batch, Job, Setting, Span
from state_worlds import WORKFLOW

from batchy_provider.core import values as words
from batchy_provider.exceptions import BatchHeldError, UnknownBatchError, WindowError, WorkflowOnHoldError


class Openings(NightMachine):
    """Time passes, the configuration changes, and somebody opens."""

    # -- time and configuration -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1, 60, 3600, 6 * 3600, 86400, 86400, 5 * 86400]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([0.5, 3600, 3 * 86400]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.clock.now -= timedelta(seconds=seconds)

    @rule(
        config=st.dictionaries(st.sampled_from(JOBS), SETTINGS, min_size=1),
        zone=st.sampled_from(["UTC", "Europe/Paris"]),
        off=st.sets(st.sampled_from(JOBS), max_size=1),
    )
    def the_configuration_changes(self, config: dict[str, Setting], zone: str, off: set[str]) -> None:
        self.model.config, self.model.zone, self.model.off_in_file = config, zone, off
        self.model.alike = False

    # -- opening ----------------------------------------------------------------------------------------------------

    @rule(run=RUNS, how=st.sampled_from(["fail", "take_over", "gone"]), crash=CRASHES)
    def a_run_opens(self, run: str, how: str, crash: Any) -> None:
        holder = words.Holder(dag_id=WORKFLOW, run_id=run)
        live = self.model.live
        request = words.OpenRequest(
            holder=holder,
            config=self.config(),
            if_open="take_over" if how == "take_over" else "fail",
            gone=live.batch_id if how == "gone" and live is not None else None,
        )
        self._opens(request, run, crash, insists=how != "fail")

    @precondition(lambda self: self.model.jobs)
    @rule(known=st.booleans(), crash=CRASHES)
    def a_person_opens(self, known: bool, crash: Any) -> None:
        request = words.OpenRequest(holder=words.Holder(by="ops"), config=self.config() if known else None)
        self._opens(request, None, crash, insists=False, known=known)

    @rule(run=RUNS, days=st.tuples(DAYS, DAYS), how=st.sampled_from(["fail", "take_over"]), crash=CRASHES)
    def a_run_moves_the_watermark(self, run: str, days: Span, how: Any, crash: Any) -> None:
        start, end = sorted(days)
        if end > self.clock.now:
            return
        request = words.OpenRequest(
            holder=words.Holder(dag_id=WORKFLOW, run_id=run),
            config=self.config(),
            window=words.Window(from_date=start, to_date=end),
            move_watermark=True,
            if_open=how,
        )
        self.model.alike = False
        self._opens(request, run, crash, insists=how != "fail", asked=(start, end))

    def _opens(
        self,
        request: words.OpenRequest,
        run: str | None,
        crash: Any,
        *,
        insists: bool,
        known: bool = True,
        asked: Span | None = None,
    ) -> None:
        model, now = self.model, self.clock.now
        own = model.batches.get(model.runs[run]) if run in model.runs else None
        if own is not None and own.run != run:
            own = None  # it was pruned, and another batch has got its id
        pruned = run in model.runs and own is None
        mine = own is not None and own.status == "open" and (own is model.live or own.kind == "history")
        jobs = {name: Job(**vars(job)) for name, job in model.merged(known).items()}
        zone, off = (model.zone, model.off_in_file) if known else (model.stored_zone, model.stored_off)
        rerun = own is not None and not mine
        history = rerun and own is not None and model.rerun_must_be_history(own, jobs)
        held = model.is_open and not mine and model.live is not None and model.live.run is not None and not insists
        on_hold, before = model.is_held(now) and not mine, self.everything()
        try:
            batch, repeated = self.do(crash, lambda store: store.open(WORKFLOW, request))
        except WorkflowOnHoldError:
            assert on_hold
            assert self.everything() == before, "nothing opens, and nothing is ended"
            event("on hold")
            return
        except BatchHeldError:
            assert held
            assert not history
            assert not pruned
            event("held")
            return
        except UnknownBatchError:
            assert pruned
            return
        except WindowError:
            first = [
                job.setting.initial_date
                for name, job in jobs.items()
                if job.start is None and name not in off | model.off
            ]
            assert not asked
            assert any(date is not None and date > now for date in first)
            event("a first window that would begin in the future")
            return
        assert not pruned
        assert not on_hold
        if mine:
            assert own is not None
            assert batch.reused
            assert batch.batch_id == own.batch_id
            return
        model.holds = model.holds and model.is_held(now)  # what is over is over, also if the clock is set back
        assert batch.reused == repeated
        if rerun:
            event(f"re-run {batch.kind}, foreseen {'history' if history else 'live'}")
            assert batch.kind == "history" or not history
            assert batch.kind == "live" or history or not model.alike
        else:
            assert batch.kind == "live"
        assert not held or batch.kind == "history"
        left_out = set(batch.record.left_out)
        assert (off | model.off) & batch.jobs.keys() <= left_out
        spans = spans_of(batch, left_out)
        if rerun:
            assert own is not None
            for name in spans.keys() & own.spans.keys():
                assert spans[name] == own.spans[name], "a cleared run takes the window that it had"
        else:
            assert left_out == (off | model.off) & jobs.keys()
            expected = dict.fromkeys(jobs, asked) if asked else model.next_spans(jobs, zone, now)
            for name, span in spans.items():
                if asked or now >= self.latest:
                    assert span == expected[name]
                else:
                    assert span[0] == expected[name][0]
                    assert span[1] >= expected[name][1], "a clock set back does not take the watermark back"
        moved = asked is not None if not rerun else own is not None and own.moved
        opened = Batch(batch.batch_id, batch.kind, spans, run, moved=moved)
        if batch.kind == "history":
            model.noted(opened)
            return
        if left_out or asked:
            model.alike = False
        if known:
            model.stored_zone, model.stored_off = model.zone, set(model.off_in_file)
        model.opened(opened, jobs)
        self.latest = max(self.latest, now)
        self.live_is_in_history = True

    @rule(run=st.sampled_from(["b1", "b2"]), days=st.tuples(DAYS, DAYS), backfill=st.booleans(), crash=CRASHES)
    def a_run_loads_a_window_for_history(self, run: str, days: Span, backfill: bool, crash: Any) -> None:
        start, end = sorted(days)
        own = self.model.batches.get(self.model.runs.get(run, 0))
        if run in self.model.runs and not backfill and own is None:
            return
        before = self.live()
        request = words.OpenRequest(
            holder=words.Holder(dag_id=WORKFLOW, run_id=run),
            config=self.config(),
            window=words.Window(from_date=start, to_date=end),
            backfill=backfill,
        )
        mine = own is not None and own.status == "open"
        if self.model.is_held(self.clock.now) and not mine:
            with pytest.raises(WorkflowOnHoldError):
                self.do(crash, lambda store: store.open(WORKFLOW, request))
            return
        batch, _ = self.do(crash, lambda store: store.open(WORKFLOW, request))
        assert self.live() == before, "history only"
        assert batch.kind == "history"
        if own is not None and mine:
            assert batch.batch_id == own.batch_id
            return
        spans = spans_of(batch, set(batch.record.left_out))
        if backfill or own is None:
            assert set(spans.values()) <= {(start, end)}
        self.model.holds = self.model.is_held(self.clock.now)
        self.model.noted(Batch(batch.batch_id, "history", spans, run))
