# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The days around today: when a workflow is due, and how the runs of the past weeks ended."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from loaded_nights import load

from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.exceptions import RedisUnavailableError, UnknownWorkflowError
from batchy_provider.services.calendar_days import CalendarDay, CalendarView
from batchy_provider.services.composition import Services

FILE = 'schedule: "{cron}"\ntimezone: Europe/Berlin\njobs: {{load: {{bash: "true"}}}}\n'
NOW = datetime(2026, 11, 29, 23, 30)  # half an hour past midnight in Berlin


def add(cfg: Path, cron: str, name: str = "sales") -> None:
    (cfg / f"{name}.yaml").write_text(FILE.format(cron=cron))


def day(found: CalendarView, name: str) -> CalendarDay:
    return next(each for each in found.days if each.day == name)


def test_whole_months_from_the_last_one_to_two_months_ahead_in_the_timezone_of_the_workflow(
    services: Services, cfg: Path
) -> None:
    add(cfg, "0 2 * * *")
    found = services.calendar_days.of("sales", now=NOW)
    assert (found.today, found.timezone, found.calendar) == ("2026-11-30", "Europe/Berlin", None)
    days = [each.day for each in found.days]
    assert (days[0], days[-1], len(days)) == ("2026-10-01", "2027-01-31", 31 + 30 + 31 + 31)
    assert found.schedule == "0 2 * * * Europe/Berlin"
    # From now on only: what was due before may have been another schedule.
    assert next(each.day for each in found.days if each.fires) == "2026-11-30"
    assert day(found, "2026-11-30").fires == ["2026-11-30T02:00:00+01:00"]
    assert {each.business_day for each in found.days} == {None}


@pytest.mark.parametrize(
    ("now", "last"), [(datetime(2026, 12, 31), "2027-02-28"), (datetime(2028, 1, 1), "2028-03-31")]
)
def test_months_at_the_end_of_a_year(services: Services, cfg: Path, now: datetime, last: str) -> None:
    add(cfg, "0 2 * * *")
    assert services.calendar_days.of("sales", now=now).days[-1].day == last


def test_a_day_with_many_fires_lists_some(services: Services, cfg: Path) -> None:
    add(cfg, "0 * * * *", "hourly")
    add(cfg, "*/30 * * * *", "often")
    hourly = day(services.calendar_days.of("hourly", now=NOW), "2026-12-01")
    often = day(services.calendar_days.of("often", now=NOW), "2026-12-01")
    assert (len(hourly.fires), hourly.more_fires) == (24, False)
    assert (len(often.fires), often.more_fires) == (24, True)


def test_runs_are_on_the_day_on_which_they_started(services: Services, cfg: Path) -> None:
    add(cfg, "0 2 * * *")
    load(services, 1, 2)
    load(services, 1, 2, live=False)
    batch = services.store.open("sales", OpenRequest())
    services.store.close("sales", CloseRequest(result="failed", batch_id=batch.batch_id))
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    runs = [run for each in services.calendar_days.of("sales", now=now).days for run in each.runs]
    assert sorted((run.status, run.kind) for run in runs) == [
        ("failed", "live"),
        ("success", "history"),
        ("success", "live"),
    ]
    assert runs[-1].batch_id == batch.batch_id
    assert runs[-1].started[-6:] in ("+01:00", "+02:00")
    # In another quarter there were none.
    later = services.calendar_days.of("sales", now=now + timedelta(days=100))
    assert [run for each in later.days for run in each.runs] == []


def test_a_workflow_that_was_never_loaded_has_its_fires_all_the_same(services: Services, cfg: Path) -> None:
    add(cfg, "0 2 * * *")
    found = services.calendar_days.of("sales", now=NOW)
    assert [run for each in found.days for run in each.runs] == []
    with pytest.raises(UnknownWorkflowError, match="did you mean 'sales'"):
        services.calendar_days.of("sale")


def test_a_workflow_by_hand_has_days_without_fires_and_a_note(services: Services, cfg: Path) -> None:
    (cfg / "sales.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    found = services.calendar_days.of("sales", now=NOW)
    assert [note.code.value for note in found.notes] == ["no_schedule"]
    assert not any(each.fires for each in found.days)


def test_redis_that_does_not_answer_is_no_calendar_without_runs(services: Services, cfg: Path) -> None:
    add(cfg, "0 2 * * *")
    services._store = None

    def gone() -> object:
        raise RedisUnavailableError("gone")

    services._make_store = gone
    with pytest.raises(RedisUnavailableError):
        services.calendar_days.of("sales", now=NOW)
    assert len(services.due_times.of("sales").times) == 10  # the schedule alone needs no Redis


def test_a_paused_dag_is_named_and_an_airflow_that_cannot_be_asked_is_not(redis_url: str, cfg: Path) -> None:
    class Runs:
        def __init__(self, answer: bool | Exception | None) -> None:
            self.answer = answer

        def is_paused(self, workflow: str) -> bool | None:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    add(cfg, "0 2 * * *")
    for answer, expected in ((True, ["paused"]), (False, []), (None, []), (RuntimeError("no database"), [])):
        services = Services(store=_no_store, cfg=cfg, dag_runs=Runs(answer))
        assert [note.code.value for note in services.due_times.of("sales").notes] == expected


def _no_store() -> object:
    raise AssertionError("nobody asks Redis")
