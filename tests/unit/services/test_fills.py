# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fills: which runs are queued for which slices, and which are not since they exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_dag_runs import FakeDagRuns
from loaded_nights import ANN, SALES, load, with_gap

from batchy_provider.exceptions import BatchyError, NoDagError, UnknownWorkflowError, WindowError
from batchy_provider.services.answers import Audit
from batchy_provider.services.composition import Services
from batchy_provider.services.fill_requests import Fill, FillRequest
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

GAP = ["03-04", "04-05", "05-06"]


@pytest.fixture
def airflow() -> FakeDagRuns:
    return FakeDagRuns()


@pytest.fixture
def services(redis_url: str, cfg: Path, audits: list[Audit], airflow: FakeDagRuns) -> Iterator[Services]:
    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, audit=audits.append, dag_runs=airflow)
    yield services
    services.close()


def fill(services: Services, workflow: str = "sales", **asked: Any) -> Fill:
    return services.fills.fill(workflow, FillRequest(**asked), actor=ANN, why="late files")


def days(found: Fill) -> list[str]:
    return [f"{run.from_date[8:10]}-{run.to_date[8:10]}" for run in found.runs]


def codes(found: Fill) -> list[str]:
    return sorted({note.code for note in found.notes})


def test_each_day_of_a_gap_gets_a_run_with_its_window(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    found = fill(services)
    assert days(found) == GAP
    assert [run.run_id for run in found.runs] == list(airflow.runs) == found.created
    assert airflow.conf[found.created[0]] == {
        "from_date": "2026-11-03T00:00:00.000000",
        "to_date": "2026-11-04T00:00:00.000000",
    }


def test_the_runs_of_a_workflow_on_hold_wait_unless_a_person_says_otherwise(
    services: Services, airflow: FakeDagRuns
) -> None:
    with_gap(services)
    services.holds.hold("sales", actor=ANN, why="migration")
    (note,) = (note for note in fill(services, at_most=1).notes if note.code == "on_hold")
    assert note.text.endswith("until it is released, by ann: migration. The runs wait until then.")
    asked = fill(services, ignore_hold=True)
    assert "on_hold" not in codes(asked)
    assert ["ignore_hold" in airflow.conf[run.run_id] for run in asked.runs] == [False, True, True]
    assert airflow.conf[asked.created[0]]["ignore_hold"] is True


def test_a_second_fill_while_the_runs_are_queued_finds_them_and_queues_none(
    services: Services, airflow: FakeDagRuns
) -> None:
    with_gap(services)
    first = fill(services)
    for every in (timedelta(days=1), timedelta(hours=5)):
        again = fill(services, every=every)
        assert (again.runs, again.created, codes(again)) == (first.runs, [], ["already_queued"])
    assert len(airflow.runs) == 3


def test_a_run_that_another_fill_queues_in_the_same_moment_is_reported(
    services: Services, airflow: FakeDagRuns
) -> None:
    with_gap(services)
    first = fill(services)
    airflow.hidden = set(airflow.runs)  # queued after this fill has asked for the runs
    again = fill(services)
    assert (again.runs, again.created, codes(again)) == (first.runs, [], ["already_queued"])


def test_a_run_by_hand_that_loads_a_part_is_not_doubled(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    airflow.put("manual__1", "2026-11-03T12:00", "2026-11-05", "running")
    found = fill(services)
    assert days(found) == ["03-03", "03-05", "05-06"]
    assert found.runs[1].run_id == "manual__1"
    assert len(found.created) == 2


def test_when_the_runs_have_loaded_the_gap_nothing_is_left(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    fill(services)
    load(services, 3, 6, live=False)
    airflow.end("success")
    assert fill(services).runs == []


def test_a_failed_run_is_followed_by_another_one(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    first = fill(services)
    airflow.end("failed")
    second = fill(services)
    assert days(second) == GAP
    assert [run.run_id for run in second.runs] == [f"{run.run_id}__2" for run in first.runs]
    assert codes(second) == ["failed_before"]
    assert fill(services).created == []


def test_data_that_is_asked_for_again_after_a_fill_is_loaded_again(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    fill(services)
    load(services, 3, 6, live=False)
    airflow.end("success")
    services.workflows.set_window("sales", "2026-11-03", actor=ANN)
    services.workflows.set_window("sales", "2026-11-07", actor=ANN)
    again = fill(services)
    assert (days(again), len(again.created)) == ([*GAP, "06-07"], 4)


def test_a_range_that_a_fill_has_loaded_is_reported_and_not_loaded_again(
    services: Services, airflow: FakeDagRuns
) -> None:
    with_gap(services)
    asked = {"from_date": "2026-11-01", "to_date": "2026-11-03"}
    first = fill(services, **asked)
    assert days(first) == ["01-02", "02-03"]
    airflow.end("success")
    again = fill(services, **asked)
    assert (again.runs, again.created, codes(again)) == (first.runs, [], ["already_loaded"])


def test_a_range_without_an_end_ends_at_the_watermark(services: Services) -> None:
    with_gap(services)
    assert days(fill(services, from_date="2026-11-05T12:00")) == ["05-06", "06-07"]


def test_a_range_beyond_the_watermark_says_that_its_end_is_loaded_twice(services: Services) -> None:
    with_gap(services)
    found = fill(services, from_date="2026-11-06", to_date="2026-11-08")
    assert (days(found), codes(found)) == (["06-07", "07-08"], ["beyond_watermark"])


def test_at_most_takes_the_oldest_slices_and_counts_those_that_are_queued(services: Services) -> None:
    with_gap(services)
    found = fill(services, at_most=2)
    assert (days(found), codes(found)) == (["03-04", "04-05"], ["more_left"])
    again = fill(services, at_most=2)
    assert (days(again), again.created) == (["03-04", "04-05"], [])
    assert fill(services).created == [again.runs[0].run_id.replace("11-03", "11-05").replace("11-04", "11-06")]


def test_a_dry_run_shows_the_slices_and_starts_nothing(
    services: Services, airflow: FakeDagRuns, audits: list[Audit]
) -> None:
    with_gap(services)
    audits.clear()
    found = fill(services, dry_run=True)
    assert (days(found), {run.run_id for run in found.runs}) == (GAP, {None})
    assert (airflow.runs, audits, found.created) == ({}, [], [])


def test_a_dry_run_needs_no_airflow_and_a_fill_does(services: Services, redis_url: str) -> None:
    with_gap(services)
    alone = Services(store=lambda: Store(open_client(redis_url)))
    assert days(fill(alone, dry_run=True)) == GAP
    with pytest.raises(NoDagError, match="no Airflow"):
        fill(alone)
    alone.close()


def test_runs_of_a_paused_dag_are_queued_and_that_is_said(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    airflow.paused = True
    found = fill(services)
    assert (len(found.created), codes(found)) == (3, ["dag_paused"])


def test_gaps_of_disabled_jobs_are_not_loaded_since_runs_skip_them(services: Services) -> None:
    with_gap(services)
    for job in SALES.jobs:
        services.workflows.switch("sales", job, enabled=False, actor=ANN)
    found = fill(services)
    assert (found.runs, codes(found)) == ([], ["disabled_jobs"])
    assert "extract, load" in found.notes[0].text


def test_a_workflow_that_never_ran_takes_a_range_and_its_timezone_from_the_file(services: Services, cfg: Path) -> None:
    (cfg / "shop.yaml").write_text("timezone: Europe/Paris\njobs: {load: {bash: 'true'}}\n")
    found = fill(services, "shop", from_date="2026-10-24T22:00", to_date="2026-10-26T23:00")
    assert [run.to_date[:16] for run in found.runs] == ["2026-10-25T23:00", "2026-10-26T23:00"]
    assert fill(services, "shop").runs == []


def test_who_has_started_runs_and_why_is_recorded(services: Services, audits: list[Audit]) -> None:
    with_gap(services)
    audits.clear()
    found = fill(services)
    (entry,) = audits
    assert (entry.action, entry.actor, entry.why, entry.details["every"]) == ("fill", ANN, "late files", "1d")
    assert entry.details["runs"] == ", ".join(found.created)
    made = services.workflows.get("sales").changes[0]
    assert (made.by, made.why, made.what) == ("ann", "late files", f"fill: queued 3 runs, first {found.created[0]}")
    audits.clear()
    fill(services)
    assert audits == []


def test_what_was_started_before_an_error_is_recorded_and_the_next_fill_goes_on(
    services: Services, airflow: FakeDagRuns, audits: list[Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gap(services)
    audits.clear()
    create = airflow.create

    def broken(*arguments: Any) -> bool:
        if airflow.runs:
            raise BatchyError("the database has gone")
        return create(*arguments)

    monkeypatch.setattr(airflow, "create", broken)
    with pytest.raises(BatchyError, match="has gone"):
        fill(services)
    assert [entry.details["runs"] for entry in audits] == list(airflow.runs)
    monkeypatch.undo()
    assert len(fill(services).created) == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"every": timedelta()}, "no length"),
        ({"to_date": "2026-11-02"}, "from_date is missing"),
        ({"from_date": "2026-11-03", "to_date": "2026-11-03"}, "is empty"),
        ({"from_date": "2026-11-04", "to_date": "2026-11-03"}, "is empty"),
        ({"from_date": "soon"}, "is not a date"),
        ({"from_date": "2026-11-20"}, "not before the watermark"),
        ({"from_date": "2026-11-03", "to_date": "2999-01-01"}, "in the future"),
        ({"from_date": "2024-01-01", "every": timedelta(days=1)}, "more than 400 slices of 1d.*every 4w.*at most"),
        ({"from_date": "2026-11-01", "every": timedelta(microseconds=1)}, "more than 400 slices"),
        ({"from_date": "2024-01-01", "at_most": 1000}, "more than 400 slices"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything_starts(
    services: Services, airflow: FakeDagRuns, asked: dict[str, Any], message: str
) -> None:
    with_gap(services)
    with pytest.raises(WindowError, match=message):
        fill(services, **asked)
    assert airflow.runs == {}


def test_many_slices_are_fine_if_only_some_are_asked_for(services: Services) -> None:
    with_gap(services)
    assert len(fill(services, from_date="2024-01-01", at_most=5).created) == 5


def test_unknown_workflows_and_workflows_without_a_dag_are_refused(services: Services, airflow: FakeDagRuns) -> None:
    with pytest.raises(UnknownWorkflowError, match="neither Redis"):
        fill(services, "nobody")
    with_gap(services)
    airflow.paused = None
    with pytest.raises(NoDagError, match="no DAG 'sales'"):
        fill(services)


def test_while_a_rename_is_unfinished_nothing_is_started(services: Services, airflow: FakeDagRuns) -> None:
    with_gap(services)
    half = json.dumps({"old": "sales", "new": "orders", "moved": False})
    services.store.backend.client.hset(services.store.backend.keys("sales").meta, "rename", half)
    with pytest.raises(BatchyError, match="batchy rename sales orders"):
        fill(services)
    assert airflow.runs == {}
