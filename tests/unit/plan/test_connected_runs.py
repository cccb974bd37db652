# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What connects the runs of the plan: failures, narrowed waits, catch-up. Each night can be reckoned by hand."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from planned_nights import LAST_NIGHT, near, nightly, plan, plan_input, running, task
from told_facts import HOUR, NIGHTLY, NOW, after, file, moment, state, workflow

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts, PoolFacts, RunFacts
from batchy_provider.plan.expected_runs import ExpectedRun, PlanInput, RunState
from batchy_provider.plan.why_facts import Dependency, Need

ONE_SLOT = AirflowFacts(pools={"db": PoolFacts(1, 0)})
IN_POOL = {"jobs": {"load": "db"}}
FAILED_LAST_NIGHT: dict[str, Any] = {"status": "failed", "began": "02:00", "ended": "02:30", "last_success": "28 02:30"}


def ends(*inputs: PlanInput, **more: Any) -> list[datetime | None]:
    return sorted((run.end_p50 for runs in plan(*inputs, **more).values() for run in runs), key=str)


# -- runs of Airflow -------------------------------------------------------------------------------------------


def test_a_run_that_a_person_has_started_is_there_without_a_schedule() -> None:
    made = RunFacts(run_id="manual__1", state="queued", since=moment("02:50"), due=moment("02:50"))
    (run,) = plan(nightly("sales", schedule=Schedule(), dag=DagFacts(runs=[made])), now=NOW, hours=2)["sales"]
    assert (run.state, run.due, run.start) == (RunState.PENDING, moment("02:50"), NOW)
    assert near(run.end_p50, moment("03:30"))


def test_queued_runs_come_one_after_the_other_and_backfills_do_not_count() -> None:
    runs = [RunFacts(run_id=f"manual__{n}", state="queued", due=moment("02:50")) for n in (1, 2)]
    runs.append(RunFacts(run_id="backfill__3", state="queued", due=moment("02:50")))
    found = plan(nightly("sales", schedule=Schedule(), dag=DagFacts(runs=runs)), now=NOW, hours=4)["sales"]
    assert [near(run.end_p50, moment(at)) for run, at in zip(found, ("03:30", "04:00"), strict=True)] == [True, True]


def test_a_wait_that_airflow_has_ended_is_over() -> None:
    tasks = [task("wait_for_erp", "success", role="wait", waits_for="erp"), task("open", "scheduled", role="open")]
    made = RunFacts(run_id="r1", state="running", since=moment("02:00"), due=moment("02:00"), tasks=tasks)
    sales = nightly("sales", 30, "erp", dag=DagFacts(next_run=moment("30 02:00"), runs=[made]))
    (run,) = plan(sales, nightly("erp", None), now=NOW, hours=2)["sales"]
    assert (run.start, run.waits_for) == (NOW, ())


# -- failures --------------------------------------------------------------------------------------------------


def test_a_run_that_fails_misses_its_deadline_and_so_does_what_waits_for_it() -> None:
    erp = nightly("erp", 30, file={"deadline": 4 * HOUR}, failure_chance=0.25)
    sales = nightly("sales", 30, "erp", file={"deadline": 4 * HOUR})
    runs = plan(erp, sales)
    assert runs["erp"][0].miss_probability == 0.25
    assert near(runs["erp"][0].end_p90, moment("02:31")), "it ends as failed after as long a time"
    (run,) = runs["sales"]
    assert run.miss_probability == 0.25
    assert (near(run.end_p50, moment("03:00")), run.end_p90) == (True, None)
    own = nightly("sales", 30, "erp", file={"deadline": 4 * HOUR}, failure_chance=0.5)
    missed = plan(erp, own)["sales"][0].miss_probability
    assert missed == pytest.approx(1 - 0.75 * 0.5, abs=0.06)


def test_a_failure_is_made_good_by_the_next_run_if_it_comes_in_time() -> None:
    hourly = Schedule(crons=("0 * * * *",))
    fresh = {"state": state("erp", began="28 20:00", ended="28 20:10")}
    erp = nightly("erp", 10, schedule=hourly, facts=fresh, failure_chance=0.5)
    (run,) = plan(erp, nightly("sales", 10, "erp", file={"deadline": 3 * HOUR}))["sales"]
    # Of the runs at 00:00, 01:00 … 04:00, one must succeed.
    assert run.miss_probability == pytest.approx(0.5**5, abs=0.03)


def test_a_failed_run_does_not_start_again_by_itself() -> None:
    failed = nightly("erp", 30, file={"deadline": 2 * HOUR}, facts={"state": state("erp", **FAILED_LAST_NIGHT)})
    sales = nightly("sales", 5, "erp", file={"deadline": 2 * HOUR})
    runs = plan(failed, sales, now=NOW, hours=4)
    (erp,) = runs["erp"]
    assert (erp.state, erp.due, erp.start, erp.end_p50) == (RunState.PENDING, moment("02:00"), None, None)
    assert (erp.miss_probability, erp.is_stuck) == (1.0, True)
    (run,) = runs["sales"]
    assert (run.waits_for, run.end_p50, run.miss_probability) == (("erp",), None, 1.0)
    tomorrow = plan(failed, sales, now=NOW, hours=30)["sales"][0]
    assert near(tomorrow.start, moment("30 02:30")), "the next run loads it all"
    # What comes after the plan may come before a deadline that is later still.
    far = nightly("sales", 5, "erp", file={"deadline": 48 * HOUR})
    assert plan(failed, far, now=NOW, hours=4)["sales"][0].miss_probability is None
    again = RunFacts(run_id="scheduled__1", state="running", due=moment("02:00"), since=moment("02:00"))
    cleared = nightly("erp", 30, dag=DagFacts(runs=[again]), facts={"state": state("erp", **FAILED_LAST_NIGHT)})
    assert near(plan(cleared, sales, now=NOW, hours=4)["sales"][0].start, moment("03:30"))


def test_a_run_that_airflow_has_skipped_or_failed_does_not_come() -> None:
    def found(last: str) -> list[ExpectedRun]:
        ended = RunFacts(run_id="r1", state=last, due=moment("02:00"), ended=moment("02:01"))
        dag = DagFacts(next_run=moment("30 02:00"), last_run=ended)
        return plan(nightly("sales", dag=dag), now=NOW, hours=4)["sales"]

    assert found("success") == [], "there was nothing to load"
    assert [run.end_p50 for run in found("failed")] == [None]
    due = DagFacts(next_run=moment("02:00"))
    assert near(plan(nightly("sales", dag=due), now=NOW, hours=4)["sales"][0].end_p50, moment("03:30"))


def test_a_wait_that_fails_with_its_workflow() -> None:
    need = Need(workflow="erp", by=Dependency.WAIT_FOR, fail_on_failed=True)
    sales = nightly("sales", 5, need, file={"deadline": 4 * HOUR})
    (run,) = plan(nightly("erp", 30, failure_chance=0.25), sales)["sales"]
    assert run.miss_probability == 0.25
    assert near(run.end_p90, moment("02:35")), "it ends, too: as failed"


def test_a_try_that_failed_costs_its_time_and_the_delay() -> None:
    half = nightly("sales", 30, retries={"load": [0.0, 3600.0]}, file={"deadline": HOUR})
    (run,) = plan(half)["sales"]
    assert (run.miss_probability, near(run.end_p90, moment("03:30"))) == (0.5, True)
    assert run.end_p50 is not None
    waits = running("sales", 30, task("load", "up_for_retry", "02:10", retry_at=moment("02:40")))
    (again,) = plan(waits, now=moment("02:20"), hours=1)["sales"]
    assert near(again.end_p50, moment("03:10"))


def test_lost_tries_of_a_job_beside_a_longer_one_delay_nothing() -> None:
    graph = {"long": (), "short": ()}
    more = {"durations_of": {"long": 60, "short": 10}, "graph": graph}
    assert near(plan(nightly("sales", 60, retries={"short": [1800.0]}, **more))["sales"][0].end_p50, moment("03:00"))
    assert near(plan(nightly("sales", 60, retries={"short": [6000.0]}, **more))["sales"][0].end_p50, moment("03:50"))


# -- waits -----------------------------------------------------------------------------------------------------


def narrowed(*jobs: str) -> Need:
    return Need(workflow="erp", by=Dependency.WAIT_FOR, jobs=jobs)


def test_a_wait_for_jobs_that_have_succeeded_today_is_over() -> None:
    jobs = {"orders": {}, "stock": {"batch_id": 6, "batch_end": "2026-11-27T02:30:00.000000"}}
    erp = nightly("erp", None, facts={"state": state("erp", jobs=jobs)})

    def start(*wanted: str) -> datetime | None:
        late = Schedule(crons=("0 5 * * *",))
        last = {"state": state("sales", began="28 05:00", ended="28 05:30")}
        return plan(erp, nightly("sales", 5, narrowed(*wanted), schedule=late, facts=last), now=NOW, hours=6)["sales"][
            0
        ].start

    assert start("orders") == moment("05:00")
    assert start("stock") is None, "it took no part in the latest batches, so the next one is unknown"
    assert start("orders", "stock") is None


def test_a_wait_for_a_job_that_is_disabled_or_is_not_there_is_never_over() -> None:
    def run(need: Need, **more: Any) -> ExpectedRun:
        jobs = {"orders": {}, "stock": {}}
        erp = nightly("erp", 30, facts={"state": state("erp", **LAST_NIGHT, jobs=jobs, **more)})
        return plan(erp, nightly("sales", 5, need))["sales"][0]

    off = {"disabled": frozenset({"orders"})}
    assert near(run(narrowed("orders")).start, moment("02:30"))
    assert run(narrowed("orders"), **off).start is None
    assert near(run(narrowed("orders", "stock"), **off).start, moment("02:30")), "disabled jobs do not count"
    assert run(narrowed("gone")).start is None
    assert run(narrowed(), disabled=frozenset({"orders", "stock"})).start is None


# -- schedules -------------------------------------------------------------------------------------------------


def test_a_schedule_by_batches_counts_what_has_succeeded_already() -> None:
    erp = nightly("erp", 120, facts={"state": state("erp", "open", began="02:00", last_success="28 04:00")})
    crm = nightly("crm", 10, facts={"state": state("crm", began="02:00", ended="02:10")})
    last = {"state": state("sales", began="28 04:00", ended="28 04:30")}
    sales = nightly("sales", 30, after("erp"), after("crm"), schedule=Schedule(), facts=last)
    first, *more = plan(erp, crm, sales, now=NOW, hours=24)["sales"]
    assert near(first.start, moment("04:00"))
    assert first.waits_for == ("erp",), "crm has succeeded"
    assert [near(run.start, moment("30 04:00")) for run in more] == [True]


def test_a_schedule_by_failures_is_never_expected_and_by_ends_it_is() -> None:
    def runs(result: str) -> list[ExpectedRun]:
        said = {"after_result": result}
        return plan(nightly("erp"), nightly("alert", 1, after("erp"), schedule=Schedule(), file=said))["alert"]

    assert runs("failed") == []
    assert [near(run.start, moment("02:30")) for run in runs("closed")] == [True]


def test_a_day_that_a_calendar_leaves_out_has_no_run_and_waits_know_it() -> None:
    stocktaking = Calendar(name="shop", weekend=frozenset(), add=frozenset({date(2026, 11, 29)}))
    closed = Schedule(crons=("0 2 * * *",), calendar=stocktaking)
    erp = nightly("erp", 30, schedule=closed)

    def sales(scope: Any) -> ExpectedRun:
        need = Need(workflow="erp", by=Dependency.WAIT_FOR, scope=scope)
        last = {"state": state("sales", began="28 05:00", ended="28 05:30")}
        own = nightly("sales", 5, need, schedule=Schedule(crons=("0 5 * * *",)), facts=last)
        return plan(erp, own, now=moment("28 22:00"), hours=40)["sales"][0]

    assert [run.due for run in plan(erp, hours=40)["erp"]] == [moment("30 02:00")]
    assert (sales("due").start, sales("due").waits_for) == (moment("05:00"), ())
    assert near(sales("today").start, moment("30 02:30")), "there is no success on this day"


def test_missed_runs_of_a_catch_up_come_one_after_the_other() -> None:
    old = state("sales", began="26 02:00", ended="26 02:30", record={"due": "2026-11-26T02:00:00.000000"})
    found = plan(nightly("sales", 30, facts={"state": old}, file={"catches_up": True}), now=NOW, hours=2)["sales"]
    assert [run.due for run in found] == [moment(f"{day} 02:00") for day in (27, 28, 29)]
    assert [near(run.end_p50, moment(at)) for run, at in zip(found, ("03:30", "04:00", "04:30"), strict=True)] == [
        True
    ] * 3


def test_more_slices_follow_the_one_that_runs() -> None:
    record = {"more": True, "due": "2026-11-29T02:00:00.000000"}
    now = state("sales", "open", began="02:00", last_success="26 02:30", record=record)
    # Its slice ends one and a half days before now: two more follow.
    for fields in now.jobs.values():
        fields["to_date"] = "2026-11-27T15:00:00.000000"
    sales = nightly("sales", 30, facts={"state": now}, slice_length=timedelta(days=1))
    need = Need(workflow="sales", by=Dependency.WAIT_FOR, scope="due")
    runs = plan(sales, nightly("report", 5, need), now=moment("02:10"), hours=4)
    first, rest = runs["sales"]
    assert (first.state, near(first.end_p50, moment("02:30"))) == (RunState.RUNNING, True)
    assert rest.state is RunState.PENDING
    assert near(rest.start, moment("02:30"))
    assert near(rest.end_p50, moment("03:30"))
    report = runs["report"][0]
    assert near(report.start, moment("03:30")), "all that was due is loaded with the last slice"


def test_the_file_says_that_it_starts_paused() -> None:
    new = plan_input(workflow("sales", file=file(schedule=NIGHTLY, starts_paused=True)), 30)
    assert plan(new)["sales"] == []
    assert len(plan(plan_input(workflow("sales", file=file(), state=None), 30))["sales"]) == 1


def test_the_draws_of_failures_show_the_chance_as_it_is() -> None:
    found = [
        plan(nightly(f"w{number}", file={"deadline": HOUR}, failure_chance=0.1))[f"w{number}"][0] for number in range(3)
    ]
    assert np.unique([run.miss_probability for run in found]).tolist() == [0.1]
