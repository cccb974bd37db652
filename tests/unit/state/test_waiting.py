# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a wait is over, on a real server."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from redis import Redis
from waiting_world import WF, World, utc

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Window, WorkflowConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import BatchyError, ConfigError


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


class TestToday:
    def test_done_when_all_jobs_have_succeeded(self, world: World) -> None:
        batch_id = world.open()
        assert world.ask().state == "waiting"
        assert world.ask().code is VerdictCode.BATCH_OPEN
        assert f"batch {batch_id} is open since" in world.ask().text
        world.close(batch_id)
        verdict = world.ask()
        assert (verdict.state, verdict.code, verdict.batch_id) == ("done", VerdictCode.SUCCEEDED, batch_id)
        assert verdict.text.startswith(f"wf: batch {batch_id} succeeded at ")

    def test_yesterdays_success_does_not_count(self, world: World) -> None:
        midnight = world.now().replace(hour=0, minute=0, second=0, microsecond=0)
        batch_id = world.batch(ended=midnight - timedelta(microseconds=1))
        verdict = world.ask()
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.SUCCESS_TOO_OLD)
        assert f"its last success, batch {batch_id}, was at" in verdict.text
        assert f"a success counts from {format_date(midnight)} UTC on" in verdict.text
        world.ended(batch_id, midnight)
        assert world.ask().state == "done"

    def test_a_wait_across_midnight_ends(self, world: World) -> None:
        world.batch(ended=utc("2026-03-02T00:20:00"))
        assert world.ask(day="2026-03-01").state == "done"
        assert world.ask(day="2026-03-02").state == "done"
        assert world.ask(day="2026-03-03").state == "waiting"

    @pytest.mark.parametrize(
        ("zone", "day", "begins", "ends"),
        [
            ("UTC", "2026-03-29", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
            ("Europe/Paris", "2026-03-29", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),  # 23 hours
            ("Europe/Paris", "2026-10-25", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),  # 25 hours
            ("America/New_York", "2026-03-08", "2026-03-08T05:00:00", "2026-03-09T04:00:00"),
            ("America/New_York", "2026-11-01", "2026-11-01T04:00:00", "2026-11-02T05:00:00"),
            ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00", "2026-09-07T03:00:00"),  # no midnight
            ("Asia/Kolkata", "2026-01-01", "2025-12-31T18:30:00", "2026-01-01T18:30:00"),
            ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00", "2026-01-01T10:00:00"),
        ],
    )
    def test_the_day_is_that_of_the_timezone(self, at_rest: World, zone: str, day: str, begins: str, ends: str) -> None:
        batch_id = at_rest.batch(ended=utc(begins) - timedelta(microseconds=1))
        following = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
        assert at_rest.ask(day=day, timezone=zone).state == "waiting"
        at_rest.ended(batch_id, utc(begins))
        assert at_rest.ask(day=day, timezone=zone).state == "done"
        at_rest.ended(batch_id, utc(ends) - timedelta(microseconds=1))
        assert at_rest.ask(day=following, timezone=zone).state == "waiting"
        at_rest.ended(batch_id, utc(ends))
        assert at_rest.ask(day=following, timezone=zone).state == "done"

    def test_an_unknown_timezone_is_named(self, at_rest: World) -> None:
        at_rest.batch()
        with pytest.raises(BatchyError, match="'Mars/Base' is not a timezone"):
            at_rest.ask(day="2026-01-01", timezone="Mars/Base")


class TestAfterTheSuccess:
    """A success on the day stays one, whatever came after it."""

    def test_another_batch_is_open(self, world: World) -> None:
        first = world.batch()
        world.open()
        assert (world.ask().state, world.ask().batch_id) == ("done", first)

    def test_another_batch_has_failed(self, world: World) -> None:
        first = world.batch()
        world.batch(result="failed")
        assert world.ask().batch_id == first
        assert world.ask(fail_on_failed=True).state == "done"

    @pytest.mark.parametrize("failures", [1, 19, 20, 21, 45])
    def test_however_many_have_failed(self, at_rest: World, failures: int) -> None:
        first = at_rest.batch()
        for _ in range(failures):
            at_rest.batch(result="failed")
        assert at_rest.ask().batch_id == first

    def test_the_window_was_set_again(self, world: World) -> None:
        first = world.batch()
        world.store.set_window(WF, "2026-01-01", by="test")
        assert world.ask().batch_id == first

    def test_a_job_was_added_to_the_workflow(self, world: World) -> None:
        """The batch succeeded with all jobs that the workflow had; but not with one that is asked for by name."""
        first = world.batch("a")
        world.open("a", "b")
        assert world.ask().batch_id == first
        assert world.ask(jobs=["a", "b"]).state == "waiting"

    def test_a_window_that_was_set_since_yesterdays_success(self, world: World) -> None:
        world.batch(ended=world.now() - timedelta(days=1, seconds=1))
        world.store.set_window(WF, "2026-01-01", by="test")
        assert (world.ask().state, world.ask().code) == ("waiting", VerdictCode.WINDOW_SET)

    def test_on_the_same_day_only(self, world: World) -> None:
        world.batch(ended=utc("2026-03-02T00:20:00"))
        assert world.ask(day="2026-03-02", same_day=True).code is VerdictCode.SUCCEEDED
        over = world.ask(day="2026-03-01", same_day=True)
        assert (over.state, over.code) == ("failed", VerdictCode.DAY_OVER)

    def test_not_when_that_was_yesterday(self, world: World) -> None:
        world.batch(ended=world.now() - timedelta(days=1, seconds=1))
        world.batch(result="failed")
        assert world.ask().state == "waiting"

    def test_a_backfill_is_no_success_of_today(self, world: World) -> None:
        window = Window(from_date="2026-01-01", to_date="2026-01-02")
        world.batch(result="failed")
        batch_id = world.open(backfill=True, window=window)
        world.close(batch_id)
        assert world.ask().state == "waiting"
        assert world.ask(scope="any").state == "waiting"


class TestOtherScopes:
    def test_within(self, world: World) -> None:
        world.batch(ended=world.now() - timedelta(hours=12, seconds=5))
        assert world.ask(scope="within", within_seconds=12 * 3600).state == "waiting"
        assert world.ask(scope="within", within_seconds=12 * 3600 + 60).state == "done"

    def test_since_last_run(self, world: World) -> None:
        ended = utc("2026-02-03T04:05:06")
        batch_id = world.batch(ended=ended)
        assert world.ask(scope="since_last_run", since=format_date(ended + timedelta(seconds=1))).state == "waiting"
        assert world.ask(scope="since_last_run", since=format_date(ended - timedelta(seconds=1))).state == "done"
        assert world.ask(scope="since_last_run", since="2026-02-03T05:05:00+01:00").batch_id == batch_id
        assert world.ask(scope="since_last_run", since=None).state == "done", "a workflow that never ran takes any"

    def test_any(self, world: World) -> None:
        assert world.ask(scope="any").state == "waiting"
        world.batch(result="failed")
        assert world.ask(scope="any").state == "waiting"
        batch_id = world.batch(ended=utc("2001-01-01"))
        assert (world.ask(scope="any").state, world.ask(scope="any").batch_id) == ("done", batch_id)
        world.batch(result="failed")
        assert world.ask(scope="any").batch_id == batch_id

    def test_a_scope_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="no scope 'tomorrow'; use one of today, within, since_last_run, any"):
            Wait(workflow=WF, scope="tomorrow")
        for seconds in (None, 0, -1):
            with pytest.raises(ConfigError, match="needs a duration of more than 0"):
                Wait(workflow=WF, scope="within", within_seconds=seconds)
        with pytest.raises(ConfigError, match="scope today needs a day"):
            Wait(workflow=WF)


class TestJobs:
    def test_only_the_jobs_named(self, world: World) -> None:
        now = format_date(world.now())
        world.write(a={"status": "success", "batch_id": 5, "batch_end": now}, b={"status": "open", "batch_id": 5})
        assert world.ask().state == "waiting"
        assert world.ask(jobs=["a"]).state == "done"
        verdict = world.ask(jobs=["a", "b"])
        assert verdict.state == "waiting"
        assert "(jobs b)" in verdict.text

    def test_a_job_that_the_workflow_does_not_have(self, world: World) -> None:
        world.batch()
        verdict = world.ask(jobs=["a", "z"])
        assert (verdict.state, verdict.text) == ("waiting", "wf: has no job z; its jobs are a, b")
        assert (verdict.code, verdict.obstacle) == (VerdictCode.UNKNOWN_JOB, "job")

    def test_one_that_is_switched_off_is_not_waited_for(self, world: World) -> None:
        world.batch(ended=world.now() - timedelta(days=2))
        world.store.disable(WF, "b", by="test")
        batch_id = world.batch()
        assert world.ask().batch_id == batch_id
        assert world.ask(jobs=["a", "b"]).batch_id == batch_id
        world.store.enable(WF, "b", by="test")
        assert world.ask().state == "waiting", "b has not succeeded today, and counts again"

    def test_one_that_the_configuration_switches_off(self, world: World) -> None:
        batch_id = world.batch("a", "b", disabled=("b",))
        assert world.ask().batch_id == batch_id

    @pytest.mark.parametrize("jobs", [(), ("a",), ("b", "a")])
    def test_all_switched_off_is_never_done(self, world: World, jobs: tuple[str, ...]) -> None:
        world.batch()
        for job in ("a", "b"):
            world.store.disable(WF, job, by="test")
        verdict = world.ask(jobs=jobs)
        assert verdict.state == "waiting"
        assert verdict.text == "wf: every job waited for is switched off; enable one"
        assert (verdict.code, verdict.obstacle) == (VerdictCode.ALL_DISABLED, "disabled")

    def test_a_workflow_without_jobs_is_never_done(self, world: World) -> None:
        for scope in ("today", "any"):
            verdict = world.ask(scope=scope)
            assert verdict.state == "waiting"
            assert "not in Redis yet" in verdict.text
            assert (verdict.code, verdict.obstacle) == (VerdictCode.UNKNOWN_WORKFLOW, "workflow")

    def test_one_that_was_loaded_but_never_opened(self, world: World) -> None:
        world.store.load(WorkflowConfig(name=WF, jobs={"a": {}}), by="test")
        assert world.ask().text == "wf: no batch was opened yet"
        assert (world.ask().code, world.ask().obstacle) == (VerdictCode.NEVER_OPENED, None)


class TestFailed:
    def test_is_waited_for_as_it_may_be_run_again(self, world: World) -> None:
        batch_id = world.batch(result="failed")
        verdict = world.ask()
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.BATCH_FAILED)
        assert f"batch {batch_id} failed at" in verdict.text
        assert "waiting for a success" in verdict.text

    def test_ends_a_wait_that_asks_for_it(self, world: World) -> None:
        batch_id = world.batch(result="failed")
        verdict = world.ask(fail_on_failed=True)
        assert (verdict.state, verdict.code, verdict.batch_id) == ("failed", VerdictCode.FAILED, batch_id)
        assert verdict.is_over

    def test_not_if_that_was_yesterday(self, world: World) -> None:
        world.batch(result="failed", ended=world.now() - timedelta(days=1, seconds=1))
        assert world.ask(fail_on_failed=True).state == "waiting"

    def test_not_if_it_is_run_again(self, world: World) -> None:
        world.batch(result="failed")
        batch_id = world.open()
        assert world.ask(fail_on_failed=True).state == "waiting"
        world.close(batch_id)
        assert world.ask(fail_on_failed=True).state == "done"
