# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a run means for a batch: its day, its window in a backfill, its name, whether it still runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Airflow, context
from airflow_versions import TIMETABLES, as_core

from batchy_provider.core.dates import to_utc
from batchy_provider.core.values import Holder
from batchy_provider.exceptions import ConfigError
from batchy_provider.operators.dag_run import Run, is_running

UTC = timezone.utc


def run(**parts: Any) -> Run:
    return Run.of(context(DAG("wf", schedule=None), Airflow(), **parts))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backfill(end: datetime, start: datetime | None = None) -> Run:
    return run(
        run_type="backfill",
        run_after=end,
        logical_date=start or end,
        data_interval_start=start or end,
        data_interval_end=end,
    )


@pytest.fixture(params=["sdk", "core"])
def timetables(request: pytest.FixtureRequest) -> Any:
    """A task sees the SDK's timetables, or, in older Airflow, the core's."""
    return as_core if request.param == "core" else lambda timetable: timetable


class TestDay:
    def test_is_when_the_run_was_to_start(self) -> None:
        late = run(run_after=at("2026-05-01T23:30:00"), logical_date=at("2026-01-01T00:00:00"))
        assert late.day("UTC") == "2026-05-01"
        assert late.day("Europe/Paris") == "2026-05-02"
        assert late.day("America/New_York") == "2026-05-01"

    def test_of_a_manual_run_without_a_logical_date(self) -> None:
        assert run(run_type="manual", run_after=at("2026-05-01T10:00:00")).day("UTC") == "2026-05-01"

    def test_in_a_backfill_is_that_of_the_data(self) -> None:
        assert backfill(at("2026-01-05T02:00:00")).day("UTC") == "2026-01-05"
        of = backfill(at("2026-01-05T02:00:00"), at("2026-01-04T02:00:00"))
        assert of.day("UTC") == "2026-01-05", "the day on which its window ends, as that of a live batch"
        assert of.day("America/New_York") == "2026-01-04"

    def test_is_the_same_live_and_in_a_backfill(self) -> None:
        """Or a backfilled wait would look for a day that no nightly run ever loads."""
        end = at("2026-01-05T02:00:00")
        for zone in ("UTC", "Europe/Paris", "America/New_York"):
            assert run(run_after=end).day(zone) == backfill(end, at("2026-01-04T02:00:00")).day(zone)


class TestBackfillWindow:
    def window(self, of: Run, timetable: Any) -> tuple[datetime, datetime]:
        found = of.backfill_window(timetable)
        return to_utc(found.from_date), to_utc(found.to_date)

    @pytest.mark.parametrize(
        ("cron", "zone", "fire", "before"),
        [
            ("0 2 * * *", "UTC", "2026-01-05T02:00:00", "2026-01-04T02:00:00"),
            ("0 2 * * 1", "UTC", "2026-01-05T02:00:00", "2025-12-29T02:00:00"),
            ("0 4 * * *", "Europe/Paris", "2026-03-29T02:00:00", "2026-03-28T03:00:00"),  # 23 hours
            ("0 4 * * *", "Europe/Paris", "2026-10-25T03:00:00", "2026-10-24T02:00:00"),  # 25 hours
            ("0 0 * * *", "Europe/Paris", "2026-03-29T22:00:00", "2026-03-28T23:00:00"),
            ("0 0 * * *", "America/Santiago", "2026-09-07T03:00:00", "2026-09-06T04:00:00"),  # a day without midnight
            ("*/15 * * * *", "Europe/Paris", "2026-10-25T01:00:00", "2026-10-25T00:45:00"),
            ("0 12 31 * *", "UTC", "2026-03-31T12:00:00", "2026-01-31T12:00:00"),
        ],
    )
    def test_of_a_cron_is_since_it_fired_before(
        self, timetables: Any, cron: str, zone: str, fire: str, before: str
    ) -> None:
        timetable = timetables(TIMETABLES.CronTriggerTimetable(cron, timezone=zone))
        assert self.window(backfill(at(fire)), timetable) == (to_utc(at(before)), to_utc(at(fire)))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("cron", "zone"),
        [
            (cron, zone)
            for cron in ("30 2 * * *", "0 0 * * *", "0 */6 * * *", "15 * * * *")
            for zone in ("UTC", "Europe/Paris", "America/New_York", "America/Santiago", "Australia/Lord_Howe")
            # Where clocks change by half an hour, Airflow itself fires an hourly cron at another minute for a while.
            if (cron, zone) != ("15 * * * *", "Australia/Lord_Howe")
        ],
    )
    def test_they_follow_one_another_as_airflow_fires(self, cron: str, zone: str) -> None:
        """No gap and no overlap about any change of clocks: each window begins where the last one ended."""
        from airflow.timetables.base import TimeRestriction
        from airflow.timetables.trigger import CronTriggerTimetable as CoreTimetable
        from pendulum import instance

        timetable = CoreTimetable(cron, timezone=zone)
        wrong = []
        changes = ("2026-03-08", "2026-03-29", "2026-04-05", "2026-09-06", "2026-10-04", "2026-10-25", "2026-11-01")
        for day in changes:
            begin = at(f"{day}T00:00:00") - timedelta(hours=36)
            restriction = TimeRestriction(earliest=instance(begin), latest=None, catchup=True)
            last = None
            while last is None or last.end < begin + timedelta(hours=72):
                info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
                assert info is not None
                end = info.data_interval.end
                if last is not None:
                    start, _ = self.window(backfill(end), timetable)
                    if start != to_utc(last.end):
                        wrong.append((day, str(end), str(start), str(last.end)))
                last = info.data_interval
        assert wrong == []

    def test_of_several_crons_is_since_any_fired(self, timetables: Any) -> None:
        timetable = timetables(TIMETABLES.MultipleCronTriggerTimetable("0 2 * * *", "0 14 * * *", timezone="UTC"))
        for fire, before in (
            ("2026-01-05T14:00:00", "2026-01-05T02:00:00"),
            ("2026-01-05T02:00:00", "2026-01-04T14:00:00"),
        ):
            assert self.window(backfill(at(fire)), timetable) == (to_utc(at(before)), to_utc(at(fire)))

    def test_of_a_data_interval_is_that(self, timetables: Any) -> None:
        start, end = at("2026-01-04T02:00:00"), at("2026-01-05T02:00:00")
        for timetable in (
            TIMETABLES.CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
            TIMETABLES.CronTriggerTimetable("0 2 * * *", timezone="UTC", interval=timedelta(days=1)),
            TIMETABLES.DeltaDataIntervalTimetable(timedelta(days=1)),
        ):
            assert self.window(backfill(end, start), timetables(timetable)) == (to_utc(start), to_utc(end))

    def test_of_no_cron_cannot_be_known(self) -> None:
        dag = DAG("wf", schedule=None)
        with pytest.raises(ConfigError, match=r"backfill run 'r1' has no data interval.*in the run's conf"):
            backfill(at("2026-01-05T02:00:00")).backfill_window(dag.timetable)


class TestNames:
    def test_of_the_workflows_own_dag(self) -> None:
        assert run().key("wf") == "r1"
        assert run().key("other") == "wf/r1"

    def test_holder(self) -> None:
        holder = run().holder()
        assert (holder.dag_id, holder.run_id, str(holder)) == ("wf", "r1", "run 'r1' of DAG 'wf'")


class TestAskedWindow:
    def test_none(self) -> None:
        for conf in (None, {}, {"from_date": None}, {"other": 1}):
            assert run(conf=conf).requested_window() is None

    def test_one_end_is_enough(self) -> None:
        window = run(conf={"from_date": "2026-01-01"}).requested_window()
        assert window is not None
        assert (window.from_date, window.to_date) == ("2026-01-01", None)


@pytest.mark.parametrize(
    ("state", "runs"), [("running", True), ("queued", True), ("failed", False), ("success", False), (None, False)]
)
def test_is_running(state: str | None, runs: bool) -> None:
    airflow = Airflow(runs={("wf", "r1"): state} if state else {})
    assert is_running(airflow, Holder(dag_id="wf", run_id="r1")) is runs
