# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The frame of the nights: a workflow on a real server beside its model, and what must hold after each step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import redis
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from killed_process import DoomedConnection, Fuse, Killed
from state_model import Model, Setting, Span, joined
from state_worlds import WORKFLOW, Clock, Original, RealStore, World

from batchy_provider.core import values as words
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.plan.why import why
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Facts, FileFacts, WorkflowFacts

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
_OPEN = (WhyCode.RUNNING, WhyCode.HELD_BY_RUN, WhyCode.CATCHING_UP, WhyCode.LEFT_OPEN, WhyCode.HELD_BY_PROGRAM)


class NightMachine(RuleBasedStateMachine):
    """One workflow on a server, its model, how a step is done and killed, and what always holds."""

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

    # -- how a step is done, killed and done again ------------------------------------------------------------------

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

    # -- what always holds ------------------------------------------------------------------------------------------

    def live(self) -> dict[str, str]:
        return self.store.raw_live()

    @invariant()
    def all_is_well(self) -> None:
        self.the_model_and_the_store_agree()
        self.nothing_is_skipped()
        self.the_ledger_is_what_was_loaded()
        self.nothing_is_torn()
        self.history_knows_every_batch()
        self.why_has_an_answer()

    def why_has_an_answer(self) -> None:
        """No state is without an answer, with a schedule and without, and it says what the model knows."""
        found = self.store.scan([WORKFLOW])
        now = self.store.backend.server_time()
        for schedule in (NO_SCHEDULE, Schedule(crons=("0 2 * * *",))):
            known = WorkflowFacts(workflow=WORKFLOW, file=FileFacts(schedule=schedule), state=next(iter(found), None))
            answer = why(Facts(now=now, workflows={WORKFLOW: known}), WORKFLOW)
            assert answer.text.strip()
            assert [link.workflow for link in answer.chain] == [WORKFLOW]
            if self.model.is_open:
                assert answer.code in _OPEN
            assert answer.code not in (WhyCode.UNREADABLE_STATE, WhyCode.UNKNOWN_WORKFLOW)

    def the_model_and_the_store_agree(self) -> None:
        live = {name: json.loads(text) for name, text in self.live().items()}
        assert live.keys() == self.model.jobs.keys()
        for name, job in self.model.jobs.items():
            fields = live[name]
            assert {"failure": "failed"}.get(fields["status"], fields["status"]) == job.status, name
            if job.status == "success":
                assert date_of(fields.get("batch_start")) == job.end
            else:
                assert date_of(fields.get("from_date")) == job.start

    def nothing_is_skipped(self) -> None:
        for name, loaded in self.model.loaded.items():
            assert loaded.covers(self.model.jobs[name].position), name

    def the_ledger_is_what_was_loaded(self) -> None:
        """With what the original has closed since the last change of ours."""
        found = {name: [(each.start, each.end) for each in loaded] for name, loaded in self.store.ledger().items()}
        for name, span in self.model.unseen.items():
            found[name] = joined([*found.get(name, ()), span])
        expected = dict(self.model.ledger)
        for name, span in self.model.unseen.items():
            expected[name] = joined([*expected.get(name, ()), span])
        assert {name: spans for name, spans in found.items() if spans} == {n: s for n, s in expected.items() if s}

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


def spans_of(batch: words.Batch, left_out: set[str]) -> dict[str, Span]:
    return {
        name: (date_of(job["from_date"]), date_of(job["to_date"]))
        for name, job in batch.jobs.items()
        if name not in left_out
    }


def date_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
