# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Slots in the plan: of pools, of the executor, of a DAG. Each night can be reckoned by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from planned_nights import near, nightly, plan, running, task
from told_facts import HOUR, moment

from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.airflow_facts import AirflowFacts, PoolFacts
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.task_slots import Slots, ends_in_order

ONE_SLOT = AirflowFacts(pools={"db": PoolFacts(1, 0)})
IN_POOL = {"jobs": {"load": "db"}}


def ends(*inputs: PlanInput, **more: Any) -> list[datetime | None]:
    return sorted((run.end_p50 for runs in plan(*inputs, **more).values() for run in runs), key=str)


def test_jobs_in_a_pool_with_one_slot_run_one_after_the_other() -> None:
    night = [nightly(name, 30, **IN_POOL) for name in ("a", "b", "c")]
    found = ends(*night, airflow=ONE_SLOT)
    assert all(near(end, moment(at)) for end, at in zip(found, ("02:30", "03:00", "03:30"), strict=True)), found
    assert all(near(end, moment("02:30")) for end in ends(*night)), "without an Airflow, no pool is known"
    roomy = AirflowFacts(pools={"db": PoolFacts(3, 0)})
    assert all(near(end, moment("02:30")) for end in ends(*night, airflow=roomy))
    endless = AirflowFacts(pools={"db": PoolFacts(-1, 0)})
    assert all(near(end, moment("02:30")) for end in ends(*night, airflow=endless))


def test_a_job_in_another_pool_does_not_wait() -> None:
    night = [nightly("a", 30, **IN_POOL), nightly("b", 30, **IN_POOL), nightly("c", 30, jobs={"load": "other"})]
    found = ends(*night, airflow=ONE_SLOT)
    assert [near(end, moment("02:30")) for end in found] == [True, True, False]


def test_a_chain_through_a_pool_delays_what_waits_for_it() -> None:
    first = nightly("first", 60, **IN_POOL, schedule=Schedule(crons=("55 1 * * *",)))
    night = [first, nightly("erp", 30, **IN_POOL), nightly("sales", 10, "erp", file={"deadline": HOUR})]
    (sales,) = plan(*night, airflow=ONE_SLOT)["sales"]
    assert near(sales.start, moment("03:25"))
    assert sales.miss_probability == 1.0
    (alone,) = plan(*night)["sales"]
    assert (near(alone.start, moment("02:30")), alone.miss_probability) == (True, 0.0)


def test_slots_of_the_executor_count_for_all_jobs() -> None:
    night = [nightly(name, 30) for name in ("a", "b", "c")]
    two = ends(*night, airflow=AirflowFacts(parallelism=2))
    assert all(near(end, moment(at)) for end, at in zip(two, ("02:30", "02:30", "03:00"), strict=True)), two
    assert all(near(end, moment("02:30")) for end in ends(*night, airflow=AirflowFacts(parallelism=32)))


def wide(count: int, **more: Any) -> PlanInput:
    """Return a workflow of so many jobs of half an hour each, all at once."""
    names = [f"load{number}" for number in range(count)]
    return nightly("wide", 30, durations_of=names, graph=dict.fromkeys(names, ()), **more)


def test_a_dag_runs_as_many_tasks_as_it_allows() -> None:
    assert near(plan(wide(4, max_active_tasks=2), airflow=AirflowFacts())["wide"][0].end_p50, moment("03:00"))
    assert near(plan(wide(4, max_active_tasks=4), airflow=AirflowFacts())["wide"][0].end_p50, moment("02:30"))


def test_slots_that_other_programs_have_taken_are_not_free() -> None:
    night = [nightly("a", 30, **IN_POOL), nightly("b", 30, **IN_POOL)]
    one_left = AirflowFacts(pools={"db": PoolFacts(2, 1)})
    assert near(ends(*night, airflow=one_left)[1], moment("03:00"))
    none_left = AirflowFacts(pools={"db": PoolFacts(1, 1)})
    assert ends(*night, airflow=none_left) == [None, None], "nobody knows when it gets free"


def test_a_task_that_is_queued_for_a_pool_ends_after_the_one_that_has_the_slot() -> None:
    has = running("has", 30, task("load", "running", "02:05", pool="db"), **IN_POOL)
    waits = running("waits", 30, task("load", "scheduled", pool="db"), **IN_POOL)
    facts = AirflowFacts(pools={"db": PoolFacts(1, 1)}, dags={"has": has.dag, "waits": waits.dag})
    runs = plan(has, waits, airflow=facts, now=moment("02:20"), hours=2)
    assert near(runs["has"][0].end_p50, moment("02:35"))
    assert near(runs["waits"][0].end_p50, moment("03:05"))


def test_a_running_job_is_followed_by_those_that_wait_for_it() -> None:
    names = ["extract", "load"]
    more = {"durations_of": names, "graph": {"extract": (), "load": ("extract",)}}
    late = running("sales", 30, task("extract", "running", "02:40"), **more)
    (run,) = plan(late, now=moment("02:50"), hours=1, airflow=AirflowFacts(dags={"sales": late.dag}))["sales"]
    assert near(run.end_p50, moment("03:40")), "20 minutes of extract, and 30 of load"
    last = running("sales", 30, task("load", "running", "02:40"), **more)
    (run,) = plan(last, now=moment("02:50"), hours=1)["sales"]
    assert near(run.end_p50, moment("03:10"))


def test_a_report_of_a_running_job_says_how_long_it_takes() -> None:
    late = running("sales", 30, task("load", "running", "02:00"))
    report = {"load": {"batch_id": 7, "progress": 0.5, "at": "2026-11-29T04:00:00"}}
    from dataclasses import replace

    facts = replace(late.facts, state=replace(late.facts.readable, progress=report))
    (run,) = plan(replace(late, facts=facts), now=moment("04:00"), hours=1)["sales"]
    assert near(run.end_p50, moment("06:00")), "half of it took two hours"


def test_in_each_draw_the_job_that_is_ready_first_comes_first() -> None:
    ready, ten = [np.array([1.0, 5.0]), np.array([2.0, 3.0])], np.array([10.0, 10.0])
    first, second = ends_in_order([Slots(1, 2)], ready, [ten, ten])
    assert (first.tolist(), second.tolist()) == ([11.0, 23.0], [21.0, 13.0])
    first, second = ends_in_order([Slots(1, 2), Slots(2, 2)], ready, [ten, ten])
    assert (first.tolist(), second.tolist()) == ([11.0, 23.0], [21.0, 13.0])
    first, second = ends_in_order([Slots(2, 2)], ready, [ten, ten])
    assert (first.tolist(), second.tolist()) == ([11.0, 15.0], [12.0, 13.0])
