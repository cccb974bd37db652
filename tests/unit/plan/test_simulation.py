# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The expected runs of the next hours: waits, schedules by batches, places for runs, slices, deadlines, the unknown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from planned_nights import LAST_NIGHT, near, nightly, plan
from told_facts import HOUR, NOW, after, moment, state, until

from batchy_provider.core.holds import Hold
from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.expected_runs import ExpectedRun, PathStep, RunState
from batchy_provider.plan.why_facts import Dependency, Need


def test_a_nightly_run() -> None:
    (run,) = plan(nightly("sales", file={"deadline": 4 * HOUR}))["sales"]
    assert (run.state, run.due, run.start) == (RunState.EXPECTED, moment("02:00"), moment("02:00"))
    assert near(run.end_p50, moment("02:30"))
    assert run.end_p50 is not None
    assert run.end_p90 is not None
    assert run.end_p50 <= run.end_p90
    assert (run.deadline, run.miss_probability, run.waits_for) == (moment("06:00"), 0.0, ())
    assert run.critical_path == (PathStep("sales", "load"),)


def test_the_same_seed_gives_the_same_plan_whatever_else_is_planned() -> None:
    alone = plan(nightly("sales"))["sales"]
    assert plan(nightly("sales"))["sales"] == alone
    assert plan(nightly("sales"), nightly("another"))["sales"] == alone


def test_a_run_waits_for_another_and_hangs_on_it() -> None:
    runs = plan(nightly("erp", 120), nightly("sales", 30, "erp", file={"deadline": 2 * HOUR}))
    (run,) = runs["sales"]
    assert near(run.start, moment("04:00"))
    assert near(run.end_p50, moment("04:30"))
    assert (run.waits_for, run.miss_probability) == (("erp",), 1.0)
    assert run.critical_path == (PathStep("erp", "load"), PathStep("sales", "load"))


def test_what_is_not_known_stays_unknown_and_so_does_what_waits_for_it() -> None:
    runs = plan(nightly("erp", None), nightly("sales", 30, "erp", file={"deadline": HOUR}), nightly("crm", 5, "nobody"))
    assert [run.end_p50 for name in runs for run in runs[name]] == [None, None, None]
    assert runs["erp"][0].start == moment("02:00")
    assert (runs["sales"][0].start, runs["sales"][0].miss_probability) == (None, None)
    assert (runs["sales"][0].waits_for, runs["crm"][0].waits_for) == (("erp",), ("nobody",))


def test_a_success_of_today_is_there_already() -> None:
    erp = nightly("erp", 30, facts={"state": state("erp", began="02:00", ended="02:30")})
    last = {"state": state("sales", began="28 05:00", ended="28 05:30")}
    sales = nightly("sales", 30, "erp", schedule=Schedule(crons=("0 5 * * *",)), facts=last)
    (run,) = plan(erp, sales, now=NOW, hours=6)["sales"]
    assert (run.start, run.waits_for) == (moment("05:00"), ())


@pytest.mark.parametrize(
    ("scope", "start"), [("today", "02:30"), ("due", "02:30"), ("any", "02:10"), ("since_last_run", "02:30")]
)
def test_the_scope_of_a_wait(scope: Any, start: str) -> None:
    need = Need(workflow="erp", by=Dependency.WAIT_FOR, scope=scope)
    last = {"state": state("sales", began="28 03:00", ended="28 03:10")}
    sales = nightly("sales", 5, need, schedule=Schedule(crons=("10 2 * * *",)), facts=last)
    (run,) = plan(nightly("erp"), sales)["sales"]
    assert near(run.start, moment(start))


def test_within_counts_from_the_run() -> None:
    def start(seconds: float) -> datetime | None:
        need = Need(workflow="erp", by=Dependency.WAIT_FOR, scope="within", within_seconds=seconds)
        (run,) = plan(nightly("erp"), nightly("sales", 5, need))["sales"]
        return run.start

    assert start(86_400) == moment("02:00")
    assert near(start(3600), moment("02:30"))


def test_a_schedule_by_batches_starts_when_all_have_succeeded() -> None:
    runs = plan(
        nightly("erp", 120),
        nightly("crm", 10),
        nightly("sales", 30, after("erp"), after("crm"), schedule=Schedule(), file={"deadline": HOUR}),
        nightly("alert", 1, after("erp"), after("crm"), schedule=Schedule(), file={"after_any": True}),
    )
    (run,) = runs["sales"]
    assert run.due is None
    assert near(run.start, moment("04:00"))
    assert (run.waits_for, run.miss_probability) == (("crm", "erp"), 0.0)
    assert run.critical_path[0] == PathStep("erp", "load")
    assert len(runs["alert"]) == 2


def test_windows_up_to_another_workflow_do_not_wait_for_it() -> None:
    (run,) = plan(nightly("erp", 120), nightly("sales", 30, until("erp")))["sales"]
    assert run.start == moment("02:00")


def test_one_run_at_a_time_and_more_where_the_file_says_so() -> None:
    hourly = Schedule(crons=("0 * * * *",))

    def starts(**more: Any) -> list[datetime | None]:
        facts = {"state": state("sales", began="28 20:00", ended="28 20:10")}
        return [run.start for run in plan(nightly("sales", 90, schedule=hourly, facts=facts, **more), hours=3)["sales"]]

    first, second = starts()
    assert first == moment("28 21:00")
    assert near(second, moment("28 22:30"))
    assert starts(max_active_runs=2) == [moment("28 21:00"), moment("28 22:00")]


def test_what_runs_ends_later_the_longer_it_runs_and_a_report_says_more() -> None:
    def ends(now: str, **more: Any) -> ExpectedRun:
        running = state("sales", "open", began="02:00", last_success="28 02:30", **more)
        (run,) = plan(nightly("sales", facts={"state": running}), now=moment(now), hours=1)["sales"]
        return run

    usual = ends("02:10")
    assert (usual.state, usual.start) == (RunState.RUNNING, moment("02:00"))
    assert near(usual.end_p50, moment("02:30"))
    late = ends("02:50").end_p50
    assert late is not None
    assert moment("02:51") <= late <= moment("03:30")
    report = {"load": {"batch_id": 7, "progress": 0.8, "at": "2026-11-29T04:00:00"}}
    assert near(ends("04:00", progress=report).end_p50, moment("04:30"))
    stale = {"load": {"batch_id": 6, "progress": 0.8, "at": "2026-11-29T02:10:00"}}
    assert ends("02:10", progress=stale) == usual


def test_a_run_that_was_due_and_is_not_there_is_pending() -> None:
    runs = plan(nightly("sales", file={"deadline": HOUR / 2}), now=NOW, hours=2)["sales"]
    assert [(run.state, run.due, run.start) for run in runs] == [(RunState.PENDING, moment("02:00"), NOW)]
    assert runs[0].miss_probability == 1.0
    (unknown,) = plan(nightly("sales", None, file={"deadline": HOUR / 2}), now=NOW, hours=2)["sales"]
    assert unknown.miss_probability == 1.0


def test_slices_take_as_long_as_all_of_them() -> None:
    old = {"state": state("sales", began="25 02:00", ended="25 02:30")}
    one = plan(nightly("sales", facts=old), now=NOW, hours=1)["sales"][0]
    sliced = plan(nightly("sales", facts=old, slice_length=timedelta(days=1)), now=NOW, hours=1)["sales"][0]
    assert near(one.end_p50, moment("03:30"))
    assert sliced.end_p50 is not None
    assert moment("05:20") <= sliced.end_p50 <= moment("05:40")


def test_a_hold_delays_and_one_without_an_end_leaves_all_unknown() -> None:
    def start(until_: str | None) -> datetime | None:
        hold = Hold(by="ops", why="move", since="2026-11-28T00:00:00", until=until_)
        return plan(nightly("sales", facts={"state": state("sales", **LAST_NIGHT, hold=hold)}))["sales"][0].start

    assert start("2026-11-29T06:00:00") == moment("06:00")
    assert start(None) is None


@pytest.mark.parametrize("said", [{"enabled": False}, {"fault": "line 3"}, {"has_dag": False}])
def test_what_cannot_run_is_not_expected(said: dict[str, Any]) -> None:
    assert plan(nightly("sales", file=said))["sales"] == []


def test_a_cycle_of_waits_is_no_endless_loop() -> None:
    runs = plan(nightly("a", 5, "b"), nightly("b", 5, "a"))
    assert [run.end_p50 for name in runs for run in runs[name]] == [None, None]
