# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a wait with scope ``due`` is over, on a real server: all is loaded up to the last due time of the upstream.

2026-11-09 is a Monday.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from redis import Redis
from waiting_world import WF, World

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Window
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import ConfigError, StateError

NIGHTLY, HOURLY, WEEKLY, WEEKDAYS = "0 2 * * *", "0 * * * *", "0 6 * * 1", "0 2 * * 1-5"


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


def test_an_hourly_upstream_of_which_one_hour_is_loaded(world: World) -> None:
    world.schedule(HOURLY)
    world.loads("2026-11-12T00:00", "2026-11-12T01:00")
    verdict = world.due("2026-11-12T02:00")
    assert (verdict.state, verdict.code) == ("waiting", VerdictCode.DUE_NOT_LOADED)
    batch_id = world.loads("2026-11-12T01:00", "2026-11-12T02:00")
    verdict = world.due("2026-11-12T02:00")
    assert (verdict.state, verdict.code, verdict.batch_id) == ("done", VerdictCode.DUE_LOADED, batch_id)
    # In a backfill of the day, all its hours are wanted.
    backfill = world.due("2026-11-12T23:00", backfill=True)
    assert (backfill.state, backfill.code) == ("waiting", VerdictCode.DAY_NOT_LOADED)
    assert backfill.intervals[0].missing_time == timedelta(hours=22)
    world.loads("2026-11-12T02:00", "2026-11-12T23:00")
    assert world.due("2026-11-12T23:00", backfill=True).state == "waiting", "the hour before midnight is missing"
    world.loads("2026-11-11T23:00", "2026-11-12T00:00")
    assert world.due("2026-11-12T23:00", backfill=True).state == "done"


@pytest.mark.parametrize("scope", ["due", "today"])
@pytest.mark.parametrize("day", ["2026-11-07", "2026-11-08", "2026-11-09"])
def test_one_window_of_three_days_ends_the_waits_of_backfills_of_each_day(at_rest: World, scope: str, day: str) -> None:
    at_rest.schedule("0 0 * * *")
    wait = {"scope": scope, "day": day, "due": f"{day}T04:00", "backfill": True}
    assert at_rest.ask(**wait).state == "waiting"
    batch_id = at_rest.loads("2026-11-06", "2026-11-09")
    assert (at_rest.ask(**wait).state, at_rest.ask(**wait).batch_id) == ("done", batch_id)


@pytest.mark.parametrize("day", [20, 21, 22, 23, 24, 25])
def test_nights_after_an_outage_that_one_window_has_loaded(at_rest: World, day: int) -> None:
    at_rest.schedule(NIGHTLY)
    at_rest.loads("2026-11-19T02:00", "2026-11-20T02:00:07")
    at_rest.loads("2026-11-20T02:00:07", "2026-11-21T02:00:05")
    assert (at_rest.due(f"2026-11-{day}T04:00", backfill=True).state == "done") is (day < 22)
    at_rest.loads("2026-11-21T02:00:05", "2026-11-25T02:00:09")
    for backfill in (True, False):
        assert at_rest.due(f"2026-11-{day}T04:00", backfill=backfill).state == "done"


@pytest.mark.parametrize("schedule", [(WEEKLY,), ()])
def test_within_seven_days_on_a_weekly_upstream_in_a_backfill(at_rest: World, schedule: tuple[str, ...]) -> None:
    at_rest.schedule(*schedule)
    wait = {"scope": "within", "within_seconds": 7 * 86_400, "backfill": True}
    thursday = {**wait, "day": "2026-11-12", "due": "2026-11-12T04:00"}
    at_rest.loads("2026-10-26T06:00", "2026-11-02T06:00")
    assert at_rest.ask(**thursday).state == "waiting", "last week's load is missing"
    assert at_rest.ask(**wait, day="2026-11-05", due="2026-11-05T04:00").state == "done"
    at_rest.loads("2026-11-02T06:00", "2026-11-09T06:00")
    assert at_rest.ask(**thursday).state == "done"


class TestSchedules:
    @pytest.mark.parametrize(
        ("cron", "due", "loaded"),
        [
            (WEEKLY, "2026-11-12T04:00", ("2026-11-02T06:00", "2026-11-09T06:00")),
            (WEEKLY, "2026-11-09T06:00", ("2026-11-02T06:00", "2026-11-09T06:00")),  # due at the very moment
            (WEEKLY, "2026-11-09T05:59", ("2026-10-26T06:00", "2026-11-02T06:00")),
            (WEEKDAYS, "2026-11-08T04:00", ("2026-11-05T02:00", "2026-11-06T02:00")),  # Sunday: Friday's
            (WEEKDAYS, "2026-11-09T04:00", ("2026-11-06T02:00", "2026-11-09T02:00")),  # Monday's has the weekend
            ("30 23 * * *", "2026-11-12T00:30", ("2026-11-10T23:30", "2026-11-11T23:30")),  # across midnight
            ("0 6 1 * *", "2026-11-12T00:30", ("2026-10-01T06:00", "2026-11-01T06:00")),
        ],
    )
    def test_the_interval_ends_at_the_last_due_time(
        self, at_rest: World, cron: str, due: str, loaded: tuple[str, str]
    ) -> None:
        at_rest.schedule(cron)
        start, end = loaded
        assert at_rest.due(due).state == "waiting"
        just_before = format_date(datetime.fromisoformat(end) - timedelta(microseconds=1))
        at_rest.loads(start, just_before)
        assert at_rest.due(due).state == "waiting"
        at_rest.loads(just_before, end)
        assert at_rest.due(due).state == "done"

    def test_the_schedule_is_read_in_the_timezone_of_the_upstream(self, at_rest: World) -> None:
        at_rest.schedule(NIGHTLY, timezone="America/New_York")  # 07:00 UTC in winter
        at_rest.loads("2026-11-10T07:00", "2026-11-11T07:00")
        assert at_rest.due("2026-11-12T06:59", timezone="Europe/Paris").state == "done"
        assert at_rest.due("2026-11-12T07:00", timezone="Europe/Paris").state == "waiting"

    def test_without_a_schedule_the_day_counts_and_the_verdict_says_so(self, at_rest: World) -> None:
        at_rest.schedule()
        at_rest.loads("2026-11-10T02:00", "2026-11-11T02:00")
        verdict = at_rest.due("2026-11-12T04:00")
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.DAY_NOT_LOADED)
        assert verdict.text.startswith(
            "wf: waits for 2026-11-12 00:00 to 2026-11-13 00:00 UTC, the data of 2026-11-12, since no schedule of it is"
            " known; jobs a, b: nothing loaded, 1d missing"
        )
        at_rest.loads("2026-11-11T02:00", "2026-11-12T02:00")
        assert (at_rest.due("2026-11-12T04:00").state, at_rest.due("2026-11-12T04:00").code) == (
            "done",
            VerdictCode.DAY_LOADED,
        )

    def test_a_schedule_that_cannot_be_read_is_named(self, at_rest: World) -> None:
        at_rest.schedule("0 0 31 2 *")
        with pytest.raises(StateError, match=r"the schedule '0 0 31 2 \*' \(UTC\) has no fire before"):
            at_rest.due("2026-11-12T04:00")


class TestLive:
    """The upstream's own nights, with windows that end a little after it was due."""

    def test_a_live_batch_of_the_night(self, world: World) -> None:
        at = world.now()
        world.schedule(HOURLY)
        assert world.due(format_date(at)).state == "waiting"
        batch_id = world.batch(crons=(HOURLY,))
        verdict = world.due(format_date(at))
        assert (verdict.state, verdict.batch_id) == ("done", batch_id)

    def test_an_hour_that_history_has_loaded_does_not_hide_the_live_windows_that_failed(self, at_rest: World) -> None:
        """Everything must be loaded up to the last due time, not only the last hour."""
        at_rest.schedule(HOURLY, initial_date="2026-11-01")
        window = Window(from_date="2026-11-01", to_date="2026-11-11T20:00")
        at_rest.batch(window=window, move_watermark=True, crons=(HOURLY,))
        at_rest.loads("2026-11-12T01:00", "2026-11-12T02:00")
        verdict = at_rest.due("2026-11-12T02:00")
        assert verdict.state == "waiting"
        assert "jobs a, b: 5h missing: 2026-11-11 20:00 to 2026-11-12 01:00" in verdict.text
        at_rest.loads("2026-11-11T20:00", "2026-11-12T01:00")
        assert at_rest.due("2026-11-12T02:00").state == "done"

    def test_a_gap_before_the_watermark_that_a_person_made_does_not_count(self, at_rest: World) -> None:
        at_rest.schedule(NIGHTLY, initial_date="2026-11-01")
        at_rest.batch(window=Window(to_date="2026-11-03T02:00"), move_watermark=True, crons=(NIGHTLY,))
        skipping = Window(from_date="2026-11-08T02:00", to_date="2026-11-12T02:00")
        at_rest.batch(window=skipping, move_watermark=True, crons=(NIGHTLY,))
        assert at_rest.due("2026-11-12T04:00").state == "done"

    def test_what_a_person_has_set_back_is_waited_for_again(self, at_rest: World) -> None:
        due = format_date(at_rest.now())
        at_rest.batch(crons=(HOURLY,))
        assert at_rest.due(due).state == "done"
        at_rest.store.set_window(WF, "2026-01-01", by="test")
        assert at_rest.due(due).state == "waiting"

    def test_a_failed_batch_ends_it_where_asked(self, world: World) -> None:
        due = format_date(world.now())
        world.batch(result="failed", crons=(HOURLY,))
        assert world.due(due).state == "waiting"
        verdict = world.due(due, fail_on_failed=True)
        assert (verdict.state, verdict.code) == ("failed", VerdictCode.FAILED)
        later = format_date(world.now() + timedelta(hours=2))
        assert world.due(later, fail_on_failed=True).state == "waiting", "that failure was of an earlier due time"

    def test_the_open_batch_is_named(self, at_rest: World) -> None:
        batch_id = at_rest.open(crons=(HOURLY,))
        assert f"; batch {batch_id} is open since" in at_rest.due(format_date(at_rest.now())).text

    def test_data_before_initial_date_is_not_waited_for(self, at_rest: World) -> None:
        at_rest.schedule(WEEKLY, initial_date="2026-11-05")
        verdict = at_rest.due("2026-11-06T04:00")
        assert (verdict.state, verdict.text) == ("done", "wf: has no data to load before 2026-11-02 06:00 UTC")
        assert at_rest.due("2026-11-09T06:00").state == "waiting"
        at_rest.loads("2026-11-05", "2026-11-09T06:00")
        assert at_rest.due("2026-11-09T06:00").state == "done"
        assert at_rest.due("2026-11-09T06:00", backfill=True).state == "done"


class TestJobs:
    def test_only_those_that_are_named(self, at_rest: World) -> None:
        at_rest.schedule(NIGHTLY)
        at_rest.loads("2026-11-11T02:00", "2026-11-12T02:00", "a")
        assert at_rest.due("2026-11-12T04:00", jobs=["a"]).state == "done"
        verdict = at_rest.due("2026-11-12T04:00")
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.JOB_NOT_LOADED)
        assert "; job b: nothing loaded, 1d missing" in verdict.text
        assert "job a" not in verdict.text
        assert [(each.job, each.share) for each in verdict.intervals] == [("a", 1.0), ("b", 0.0)]

    def test_one_that_is_switched_off_is_not_waited_for(self, at_rest: World) -> None:
        at_rest.schedule(NIGHTLY)
        at_rest.loads("2026-11-11T02:00", "2026-11-12T02:00", "a")
        at_rest.store.disable(WF, "b", by="test")
        assert at_rest.due("2026-11-12T04:00").state == "done"
        at_rest.store.disable(WF, "a", by="test")
        assert at_rest.due("2026-11-12T04:00").code is VerdictCode.ALL_DISABLED

    def test_an_unknown_workflow_and_an_unknown_job(self, at_rest: World) -> None:
        assert at_rest.due("2026-11-12T04:00", jobs=["z"]).code is VerdictCode.UNKNOWN_WORKFLOW
        at_rest.schedule(NIGHTLY)
        verdict = at_rest.due("2026-11-12T04:00", jobs=["z"])
        assert (verdict.code, verdict.obstacle) == (VerdictCode.UNKNOWN_JOB, "job")


class TestOriginalServer:
    """Its nights touch each other, and it keeps no ledger."""

    def night(self, world: World, start: str, end: str, status: str = "success") -> None:
        job = {"status": status, "batch_id": 1794448800, "from_date": start, "batch_start": end, "batch_end": end}
        world.write(a=job, b=job)

    def test_with_a_schedule_that_was_loaded(self, world: World) -> None:
        world.schedule(NIGHTLY)
        self.night(world, "2026-11-11T02:00:07.500000", "2026-11-12T02:00:09.100000")
        verdict = world.due("2026-11-12T04:00")
        assert (verdict.state, verdict.batch_id) == ("done", 1794448800)
        assert world.due("2026-11-13T04:00").state == "waiting"

    def test_while_it_is_open_the_nights_before_are_loaded(self, at_rest: World) -> None:
        at_rest.schedule(NIGHTLY)
        self.night(at_rest, "2026-11-11T02:00:07.500000", "2026-11-12T02:00:09.100000", "open")
        assert at_rest.due("2026-11-11T04:00").state == "done"
        assert at_rest.due("2026-11-12T04:00").state == "waiting"
        self.night(at_rest, "2026-11-11T02:00:07.500000", "2026-11-12T02:00:09.100000", "failure")
        assert at_rest.due("2026-11-12T04:00").state == "waiting"

    def test_without_a_schedule_the_day_counts(self, at_rest: World) -> None:
        self.night(at_rest, "2026-11-11T02:00:07.500000", "2026-11-12T02:00:09.100000")
        assert at_rest.due("2026-11-12T04:00").state == "done"
        assert at_rest.due("2026-11-13T04:00").state == "waiting"


def test_what_is_waited_for_and_how_much_of_it_is_loaded(at_rest: World) -> None:
    at_rest.schedule("0 0 * * *")
    at_rest.loads("2026-11-12T00:00", "2026-11-12T01:00")
    verdict = at_rest.due("2026-11-13T00:30", jobs=["a"])
    assert verdict.text.startswith(
        "wf: waits for 2026-11-12 00:00 to 2026-11-13 00:00 UTC; job a: loaded until 2026-11-12 01:00, 23h missing"
    )
    (found,) = verdict.intervals
    assert (found.job, round(found.share, 3), found.loaded_until) == ("a", 0.042, datetime(2026, 11, 12, 1))


def test_a_wait_for_due_needs_the_due_time() -> None:
    with pytest.raises(ConfigError, match="scope due needs the time at which the run that waits was due"):
        Wait(workflow=WF, scope="due")
    with pytest.raises(ConfigError, match="same_day goes with scope today, not due"):
        Wait(workflow=WF, scope="due", due="2026-11-12T04:00", same_day=True)
    assert Wait(workflow=WF, scope="due", due="2026-11-12T23:30", timezone="Europe/Paris").day == "2026-11-13"
