# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which re-runs count for a wait with scope ``today``, on a real server: those of runs of that day or later."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from redis import Redis
from waiting_world import KEYS, WF, World

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Holder, Window, WorkflowConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.exceptions import StateError


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


class TestRerunsOfAnEarlierDay:
    """A run of yesterday that is cleared today does not end today's waits."""

    def run(self, world: World, run_id: str, due: datetime, result: str | None = "success", **request: object) -> int:
        holder = Holder(dag_id=WF, run_id=run_id)
        batch_id = world.open(holder=holder, due=format_date(due), **request)
        if result is not None:
            world.close(batch_id, result)
        return batch_id

    def test_yesterdays_failed_batch_cleared_after_midnight(self, world: World) -> None:
        now = world.now()
        yesterday = now - timedelta(days=1)
        self.run(world, "yesterday", yesterday, "failed")
        cleared = self.run(world, "yesterday", yesterday)
        verdict = world.ask()
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.RERUN_OF_EARLIER_DAY)
        assert f"its last success, batch {cleared}, was at" in verdict.text
        assert "and re-ran a run of an earlier day than" in verdict.text
        assert world.ask(day=yesterday.date().isoformat()).batch_id == cleared, "for its own day it counts"
        tonight = self.run(world, "tonight", now)
        assert world.ask().batch_id == tonight
        # A later re-run does not hide it.
        again = self.run(world, "tonight", now, "failed")
        assert again > tonight
        assert world.ask().batch_id == tonight

    def test_nor_does_its_failure_end_them(self, at_rest: World) -> None:
        yesterday = at_rest.now() - timedelta(days=1)
        for _ in range(2):
            self.run(at_rest, "yesterday", yesterday, "failed")
        assert at_rest.ask(fail_on_failed=True).state == "waiting"
        assert at_rest.ask(fail_on_failed=True, day=yesterday.date().isoformat()).state == "failed"

    def test_in_the_history_too(self, at_rest: World) -> None:
        yesterday = at_rest.now() - timedelta(days=1)
        self.run(at_rest, "yesterday", yesterday, "failed")
        self.run(at_rest, "yesterday", yesterday)
        self.run(at_rest, "tonight", at_rest.now(), None)
        assert at_rest.ask().code is VerdictCode.BATCH_OPEN

    def test_a_late_first_run_counts(self, at_rest: World) -> None:
        batch_id = self.run(at_rest, "yesterday", at_rest.now() - timedelta(days=1))
        assert at_rest.ask().batch_id == batch_id

    def test_the_re_run_of_todays_run_counts(self, at_rest: World) -> None:
        self.run(at_rest, "tonight", at_rest.now(), "failed")
        batch_id = self.run(at_rest, "tonight", at_rest.now())
        assert at_rest.ask().batch_id == batch_id

    def test_what_a_person_or_the_original_opens_counts(self, at_rest: World) -> None:
        at_rest.batch(result="failed")
        batch_id = at_rest.batch()
        assert at_rest.ask().batch_id == batch_id
        now = format_date(at_rest.now())
        job = {"status": "success", "batch_id": batch_id + 5, "from_date": now, "batch_start": now, "batch_end": now}
        at_rest.write(a=job, b=job)
        assert at_rest.ask().batch_id == batch_id + 5

    def test_the_record_of_an_older_version_has_the_day_only(self, at_rest: World) -> None:
        today = at_rest.now().date()
        for day, expected in ((today - timedelta(days=1), "waiting"), (today, "done")):
            holder = Holder(dag_id=WF, run_id=f"of {day}")
            for result in ("failed", "success"):
                at_rest.close(at_rest.open(holder=holder, day=day.isoformat()), result)
            assert at_rest.ask().state == expected

    def test_the_day_is_that_of_the_timezone_of_the_wait(self, at_rest: World) -> None:
        now = at_rest.now()
        due = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.run(at_rest, "midnight", due, "failed")
        self.run(at_rest, "midnight", due)
        assert at_rest.ask(day=now.date().isoformat(), timezone="UTC").state == "done"
        # At midnight UTC it is still yesterday in New York.
        assert at_rest.ask(day=now.date().isoformat(), timezone="America/New_York").state == "waiting"

    def test_a_window_that_is_loaded_for_history_only_does_not_count(self, at_rest: World) -> None:
        yesterday = at_rest.now() - timedelta(days=1)
        self.run(at_rest, "asked", yesterday, window=Window(from_date="2026-01-01", to_date="2026-01-02"))
        assert at_rest.ask().state == "waiting"


def test_the_due_time_of_a_run_is_in_the_record_of_its_batch(at_rest: World) -> None:
    config = WorkflowConfig(name=WF, jobs={"a": {}})
    batch_id = at_rest.open(config=config, holder=Holder(dag_id=WF, run_id="r"), due="2026-11-12T02:00:00.000000")
    record = at_rest.store.batch(WF, batch_id).record
    assert record is not None
    assert record.due == "2026-11-12T02:00:00.000000"
    at_rest.client.hset(KEYS.meta, f"batch:{batch_id}", '{"due": "soon"}')
    with pytest.raises(StateError, match="has another form than this package writes"):
        at_rest.store.batch(WF, batch_id)
