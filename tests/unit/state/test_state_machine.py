# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights as they come: runs, retries, clears, backfills, kills, people, the original, and crashes at any byte.

Each step is done on the store, on a real server, and on the model. Then the two must agree, and the rules must hold:
nothing skipped, nothing doubled, nothing torn.

``BATCHY_TEST_EXAMPLES=20000 pytest tests/unit/state/test_state_machine.py`` looks further.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from night_holds import Holds
from night_machine import CRASHES, DAYS, JOBS, date_of
from redis_server import KIND
from state_model import Batch, Loaded
from state_worlds import WORKFLOW
from thoroughness import scaled

from batchy_provider.core import values as words
from batchy_provider.core.dates import from_unix, unix_seconds

_EXAMPLES = int(os.environ.get("BATCHY_TEST_EXAMPLES", "0"))
_STEPS = 40


class Nights(Holds):
    """One workflow, many nights."""

    # -- closing ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.is_open)
    @rule(result=st.sampled_from(["success", "success", "failed"]), named=st.booleans(), crash=CRASHES)
    def the_live_batch_closes(self, result: Any, named: bool, crash: Any) -> None:
        live = self.model.live
        assert live is not None
        request = words.CloseRequest(result=result, batch_id=live.batch_id if named else None)
        batch, _ = self.do(crash, lambda store: store.close(WORKFLOW, request))
        assert (batch.batch_id, batch.status) == (live.batch_id, result)
        self.model.closed(live, result)
        self.live_is_in_history = True

    @precondition(lambda self: self.model.batches)
    @rule(data=st.data(), result=st.sampled_from(["success", "failed"]), crash=CRASHES)
    def some_batch_is_closed_perhaps_again(self, data: Any, result: Any, crash: Any) -> None:
        model = self.model
        batch_id = data.draw(st.sampled_from(sorted(model.batches)))
        batch = model.batches[batch_id]
        request = words.CloseRequest(result=result, batch_id=batch_id)
        closable = batch.status == "open" and (batch is model.live or batch.kind == "history")
        try:
            closed, _ = self.do(crash, lambda store: store.close(WORKFLOW, request))
        except words_errors():
            assert not closable
            assert batch.status != result or not model.jobs
            return
        assert closed.status == result
        if closable:
            model.closed(batch, result)
            self.live_is_in_history = self.live_is_in_history or batch is model.live
        else:
            assert batch.status == result

    # -- steering ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), on=st.booleans(), crash=CRASHES)
    def a_job_is_switched(self, data: Any, on: bool, crash: Any) -> None:
        model = self.model
        job = data.draw(st.sampled_from(sorted(model.jobs)))
        if on and job in model.stored_off:
            return
        self.do(crash, lambda store: (store.enable if on else store.disable)(WORKFLOW, job, by="ops"))
        (model.off.discard if on else model.off.add)(job)
        model.alike = False

    @precondition(lambda self: self.model.batches)
    @rule(data=st.data(), job=st.sampled_from(JOBS), crash=CRASHES)
    def a_job_is_about_to_start(self, data: Any, job: str, crash: Any) -> None:
        model = self.model
        batch = model.batches[data.draw(st.sampled_from(sorted(model.batches)))]
        if batch.status != "open" or not (batch is model.live or batch.kind == "history"):
            return
        skipped, _ = self.do(crash, lambda store: store.skip_job(WORKFLOW, batch.batch_id, job))
        closed_alone = batch is model.live and job in batch.spans and model.jobs[job].status != "open"
        if job in batch.spans and not closed_alone:
            assert skipped == (job in model.off)
            if skipped:
                model.skipped(batch, job)

    @precondition(lambda self: self.model.jobs and not self.model.is_open)
    @rule(data=st.data(), start=DAYS, all_jobs=st.booleans(), crash=CRASHES)
    def a_window_is_set(self, data: Any, start: datetime, all_jobs: bool, crash: Any) -> None:
        model = self.model
        names = [] if all_jobs else [data.draw(st.sampled_from(sorted(model.jobs)))]
        if start > self.clock.now:
            return
        self.live_is_in_history = False
        self.do(crash, lambda store: store.set_window(WORKFLOW, start, jobs=names, by="ops"))
        model.window_set(names, start)
        model.alike = False

    @precondition(lambda self: not self.model.is_open or self.model.live.run is None)
    @rule(crash=CRASHES)
    def the_configuration_is_loaded(self, crash: Any) -> None:
        self.do(crash, lambda store: store.load(self.config(), by="ops"))
        self.model.reset()
        self.model.alike = False

    @precondition(lambda self: len(self.model.batches) > 2)
    @rule(keep=st.integers(1, 4))
    def history_is_pruned(self, keep: int) -> None:
        history, model = self.store.backend.keys(WORKFLOW).history, self.model
        newest = [int(i) for i in self.client.zrange(history, -keep, -1)]
        self.store.prune(WORKFLOW, keep=keep)
        left = [int(i) for i in self.client.zrange(history, 0, -1)]
        for batch_id in list(model.batches):
            batch = model.batches[batch_id]
            if batch_id not in left:
                assert batch_id not in newest
                assert batch.status != "open"
                assert batch is not model.live
                del model.batches[batch_id]

    # -- the original, in turns -------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.jobs)
    @rule()
    def the_original_opens(self) -> None:
        # What it opens over, of its own batches, no list and no ledger knows: `adopt` finds it.
        model, live = self.model, self.model.live
        if live is not None and live.batch_id in model.batches and live is not model.overtaken:
            model.overtaken, model.loaded_there = live, dict(model.unseen)
        self.clock.now = max(self.clock.now, from_unix(self.model.highest + 2))
        self.latest = max(self.latest, self.clock.now)
        try:
            batch_id = self.original.open()
        except (TypeError, ValueError):
            event("the original stumbles over its own date, or over a number in quotes")
            batch_id = int(unix_seconds(self.clock.now))
        self._follow_the_original(batch_id)

    @precondition(lambda self: self.model.is_open and self.model.live.spans)
    @rule(status=st.sampled_from(["success", "failure"]), killed=st.booleans())
    def the_original_closes(self, status: str, killed: bool) -> None:
        first = next(iter(self.live()))
        self.original.close(status, only=first if killed else None)
        self._follow_the_original(None)

    def _follow_the_original(self, opened: int | None) -> None:
        """Take over what it wrote; where it passed data over, that is its fault."""
        model = self.model
        model.alike = False
        took_part = model.live.spans.keys() if model.live is not None else ()
        found: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in self.live().items()}
        for name, fields in found.items():
            job = model.jobs[name]
            was, earlier = job.position, (job.status, job.start, job.end)
            job.status = {"failure": "failed"}.get(fields["status"], fields["status"])
            job.start, job.end = (date_of(fields.get(field)) for field in ("from_date", "batch_start"))
            if opened is None and job.status == "success" and name in took_part and job.start and job.end:
                model.unseen[name] = (job.start, job.end)
            if job.status != "success":
                model.unseen.pop(name, None)
            if name not in model.loaded and (job.status, job.start, job.end) == earlier:
                continue  # it came back with what its ledger says, took no part, and was not touched
            if job.start is not None or (job.status == "success" and job.end is not None):
                loaded = model.loaded.setdefault(name, Loaded(since=job.start or was))
                if job.position > was:
                    loaded.spans.append((was, job.position))
                loaded.since = min(loaded.since, job.position)
                if job.status != "success":
                    loaded.watermark = min(loaded.watermark, job.position)
        still_open = any(job.status == "open" for job in model.jobs.values())
        if opened is not None and any(fields.get("batch_id") == opened for fields in found.values()):
            # What we had open stays so in history: nobody will close it.
            spans = {n: (j.start, j.end) for n, j in model.jobs.items() if j.status == "open" and j.start and j.end}
            model.live = Batch(opened, "live", spans, None)
            model.highest = max(model.highest, opened)
        assert model.live is not None
        statuses = {model.jobs[name].status for name in model.live.spans}
        if not still_open and statuses and model.live.status == "open":
            model.live.status = "success" if statuses == {"success"} else "failed"
            for name in model.live.spans:
                if statuses == {"success"}:
                    model.loaded[name].watermark = model.jobs[name].position
        self.live_is_in_history = False


def words_errors() -> tuple[type[Exception], ...]:
    from batchy_provider.exceptions import NotOpenError, UnknownWorkflowError

    return NotOpenError, UnknownWorkflowError


@pytest.mark.slow
def test_nights_as_they_come(any_redis_url: str, request: pytest.FixtureRequest) -> None:
    of_kind = request.node.callspec.params["any_redis_url"]
    # The rules are the same on each server; the others must only answer as this one does.
    examples = _EXAMPLES or scaled(20 if of_kind == KIND else 6)
    run_state_machine_as_test(
        lambda: Nights(any_redis_url),
        # The same nights each time, so that a red build is the change's fault; a longer run looks for new ones.
        settings=settings(max_examples=examples, stateful_step_count=_STEPS, derandomize=not _EXAMPLES, database=None),
    )
