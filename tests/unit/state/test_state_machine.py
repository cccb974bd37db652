# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights as they come: runs, retries, clears, backfills, kills, people, the original, and crashes at any byte.

Each step is told to the store, on a real server, and to the model; then the two must agree, and what the design
promises must hold: nothing skipped, nothing doubled, nothing torn.

``BATCHY_TEST_EXAMPLES=20000 pytest tests/unit/state/test_state_machine.py`` looks further.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from state_model import Batch, Job, Loaded, Model, Setting, Span
from state_worlds import WORKFLOW, Clock, Original, RealStore, World
from thoroughness import scaled

from batchy_provider.core import values as words
from batchy_provider.core.dates import from_unix, unix_seconds
from batchy_provider.exceptions import BatchHeldError, UnknownBatchError

_EXAMPLES = int(os.environ.get("BATCHY_TEST_EXAMPLES", "0"))
_STEPS = 40

JOBS = ("a", "b", "c")
DAYS = st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 20))
SETTINGS = st.builds(
    Setting,
    reprocess_hours=st.sampled_from([0, 0, 1.5, "2", 30]),
    trunc_start=st.booleans(),
    initial_date=st.none() | DAYS,
)
CRASHES = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.just("sent"), st.integers(0, 4000)),
    st.tuples(st.just("read"), st.integers(0, 24)),
)
RUNS = st.sampled_from(["r1", "r2", "r3", "r4"])


class Killed(BaseException):
    """The process that talks to Redis is no more; nothing of ours can catch this."""


class Fuse:
    """How far the doomed process gets: so many bytes sent, or so many replies read."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count


class DoomedConnection(redis.Connection):
    """A connection whose process is killed when the fuse has burnt down."""

    fuse: Fuse | None = None

    def send_packed_command(self, command: Any, check_health: bool = True) -> Any:
        fuse = type(self).fuse
        data = command if isinstance(command, bytes) else b"".join(command)
        if fuse is not None and fuse.kind == "sent":
            if len(data) > fuse.count:
                if fuse.count:
                    super().send_packed_command([data[: fuse.count]], check_health=False)
                self._die(fuse)
            fuse.count -= len(data)
        return super().send_packed_command([data], check_health)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        fuse = type(self).fuse
        if fuse is not None and fuse.kind == "read":
            if fuse.count == 0:
                self._die(fuse)
            fuse.count -= 1
        return super().read_response(*args, **kwargs)

    def _die(self, fuse: Fuse) -> None:
        fuse.kind, fuse.count = "sent", 0
        self.disconnect()
        raise Killed


class Nights(RuleBasedStateMachine):
    """One workflow, many nights."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.client = redis.Redis.from_url(url)
        self.client.flushall()
        self.clock = Clock()
        self.clock.now = datetime(2026, 3, 25, 2, 0, 0, 250000)
        self.store = self.store_on(self.client)
        self.world = World(self.store, self.clock)
        self.original = Original(self.world)
        self.model = Model(config={"a": Setting(), "b": Setting(reprocess_hours=1.5)})
        self.live_is_in_history = True
        self.latest = self.clock.now

    def teardown(self) -> None:
        self.client.close()

    def store_on(self, client: redis.Redis) -> RealStore:
        return RealStore(client, clock=self.clock.read)

    # -- how a step is done, killed and done again ----------------------------------------------------------------

    def do(self, crash: tuple[str, int] | None, work: Callable[[RealStore], Any]) -> tuple[Any, bool]:
        """Do it; if its process is killed meanwhile, another does it again.

        :returns: the result, and whether the first one had done it already when it was killed.
        """
        if crash is None:
            return work(self.store), False
        pool = redis.ConnectionPool.from_url(self.url, connection_class=DoomedConnection, client_name="doomed")
        client = redis.Redis(connection_pool=pool)
        client.ping()
        before = self.everything()
        DoomedConnection.fuse = Fuse(*crash)
        try:
            return work(self.store_on(client)), False
        except Killed:
            pass
        finally:
            DoomedConnection.fuse = None
            client.close()
            pool.disconnect()
        while b"doomed" in self.client.execute_command("CLIENT", "LIST", parse=False):
            time.sleep(0.0005)
        after = self.everything()
        event("killed before its change" if after == before else "killed after its change")
        self.nothing_is_torn()
        result = work(self.store)
        if after != before:
            assert self.everything() == after, "doing it again after a kill changes nothing more"
        return result, after != before

    def everything(self) -> dict[bytes, Any]:
        keys = sorted(self.client.keys())
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            if key.endswith((b":history", b":closed")):
                pipe.zrange(key, 0, -1, withscores=True)
            else:
                pipe.hgetall(key)
        found = dict(zip(keys, pipe.execute(), strict=True))
        for stored in found.values():
            if isinstance(stored, dict):
                stored.pop(b"changes", None)
        return found

    def config(self) -> words.WorkflowConfig:
        model = self.model
        jobs = {
            name: {
                "reprocess_hours": s.reprocess_hours,
                "trunc_start": s.trunc_start,
                "initial_date": s.initial_date.isoformat() if s.initial_date else None,
                "note": "ü",
            }
            for name, s in model.config.items()
        }
        return words.WorkflowConfig(
            name=WORKFLOW, jobs=jobs, timezone=model.zone, disabled=frozenset(model.off_in_file)
        )

    # -- time and configuration -----------------------------------------------------------------------------------

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

    # -- opening --------------------------------------------------------------------------------------------------

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
        pruned = run in model.runs and own is None
        mine = own is not None and own.status == "open" and (own is model.live or own.kind == "history")
        jobs = {name: Job(**vars(job)) for name, job in model.merged(known).items()}
        zone, off = (model.zone, model.off_in_file) if known else (model.stored_zone, model.stored_off)
        rerun = own is not None and not mine
        history = rerun and own is not None and model.rerun_must_be_history(own, jobs)
        held = model.is_open and not mine and model.live is not None and model.live.run is not None and not insists
        try:
            batch, repeated = self.do(crash, lambda store: store.open(WORKFLOW, request))
        except BatchHeldError:
            assert held
            assert not history
            assert not pruned
            event("held")
            return
        except UnknownBatchError:
            assert pruned
            return
        assert not pruned
        if mine:
            assert own is not None
            assert batch.reused
            assert batch.batch_id == own.batch_id
            return
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
        spans = _spans(batch, left_out)
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
        batch, _ = self.do(crash, lambda store: store.open(WORKFLOW, request))
        assert self.live() == before, "history only"
        assert batch.kind == "history"
        if own is not None and own.status == "open":
            assert batch.batch_id == own.batch_id
            return
        spans = _spans(batch, set(batch.record.left_out))
        if backfill or own is None:
            assert set(spans.values()) <= {(start, end)}
        self.model.noted(Batch(batch.batch_id, "history", spans, run))

    # -- closing --------------------------------------------------------------------------------------------------

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

    # -- steering -------------------------------------------------------------------------------------------------

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

    # -- the original, in turns -----------------------------------------------------------------------------------

    @precondition(lambda self: self.model.jobs)
    @rule()
    def the_original_opens(self) -> None:
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
        found: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in self.live().items()}
        for name, fields in found.items():
            job = model.jobs[name]
            was = job.position
            job.status = {"failure": "failed"}.get(fields["status"], fields["status"])
            job.start, job.end = (_date(fields.get(field)) for field in ("from_date", "batch_start"))
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

    # -- what always holds ----------------------------------------------------------------------------------------

    def live(self) -> dict[str, str]:
        return self.store.raw_live()

    @invariant()
    def all_is_well(self) -> None:
        self.the_model_and_the_store_agree()
        self.nothing_is_skipped()
        self.nothing_is_torn()
        self.history_knows_every_batch()

    def the_model_and_the_store_agree(self) -> None:
        live = {name: json.loads(text) for name, text in self.live().items()}
        assert live.keys() == self.model.jobs.keys()
        for name, job in self.model.jobs.items():
            fields = live[name]
            assert {"failure": "failed"}.get(fields["status"], fields["status"]) == job.status, name
            if job.status == "success":
                assert _date(fields.get("batch_start")) == job.end
            else:
                assert _date(fields.get("from_date")) == job.start

    def nothing_is_skipped(self) -> None:
        for name, loaded in self.model.loaded.items():
            assert loaded.covers(self.model.jobs[name].position), name

    def nothing_is_torn(self) -> None:
        keys = self.store.backend.keys(WORKFLOW)
        live = self.live()
        ids = {json.loads(text).get("batch_id") for text in live.values()}
        if self.model.live is None or self.model.live.batch_id in self.model.batches:
            assert len(ids) <= 1, "all jobs stand in one batch"
        if self.live_is_in_history and len(ids) == 1 and (live_id := ids.pop()) is not None:
            stored = self.client.hgetall(keys.batch(live_id))
            if self.model.live is not None and self.model.live.batch_id == live_id:
                assert {k.decode(): v.decode() for k, v in stored.items()} == live

    def history_knows_every_batch(self) -> None:
        found = {batch.batch_id: batch for batch in self.store.history(WORKFLOW, limit=10_000)}
        for batch_id, batch in self.model.batches.items():
            assert batch_id in found
            if batch.kind == "history" or batch is not self.model.live:
                assert found[batch_id].status == batch.status
                assert found[batch_id].kind == batch.kind


def _spans(batch: words.Batch, left_out: set[str]) -> dict[str, Span]:
    return {
        name: (_date(job["from_date"]), _date(job["to_date"]))  # type: ignore[misc]
        for name, job in batch.jobs.items()
        if name not in left_out
    }


def _date(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def words_errors() -> tuple[type[Exception], ...]:
    from batchy_provider.exceptions import NotOpenError, UnknownWorkflowError

    return NotOpenError, UnknownWorkflowError


@pytest.mark.slow
def test_nights_as_they_come(any_redis_url: str) -> None:
    examples = _EXAMPLES or scaled(20)
    run_state_machine_as_test(
        lambda: Nights(any_redis_url),
        # The same nights each time, so that a red build is the change's fault; a longer run looks for new ones.
        settings=settings(max_examples=examples, stateful_step_count=_STEPS, derandomize=not _EXAMPLES, database=None),
    )
