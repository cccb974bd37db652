# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Closing a batch asks Airflow as seldom as it can, and never knows less for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Asset, DagRunState, TaskInstanceState
from airflow_runs import ALL_GOOD, Airflow, close_in, night, open_in

from batchy_provider.operators.batch import BatchyCloseOperator
from batchy_provider.state.store import Store

pytestmark = pytest.mark.usefixtures("redis_connection")

ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class Telling(Airflow):
    """An Airflow that also lists the ended tasks of a run, and counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: Counter[str] = Counter()

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        self.questions["ended"] += 1
        return [
            {"task_id": name, "map_index": index, "state": state, "duration": 1.5}
            for name, index, state in self.instances()
            if getattr(state, "value", state) in ENDED
        ]

    def get_task_states(self, **asked: Any) -> Any:
        self.questions["states"] += 1
        return super().get_task_states(**asked)

    def get_ti_count(self, **asked: Any) -> int:
        self.questions["count"] += 1
        return super().get_ti_count(**asked)

    def get_dr_count(self, **asked: Any) -> int:
        self.questions["run"] += 1
        return super().get_dr_count(**asked)


@pytest.fixture
def airflow() -> Telling:
    return Telling()


def test_a_good_run_is_one_question(store: Store, airflow: Telling) -> None:
    dag = night()
    open_in(dag, airflow)
    closed = close_in(dag, airflow, state="running")
    assert closed["outcomes"] == {"extract": "success", "load": "success"}
    assert airflow.questions == {"ended": 1}
    assert {job: found[0].seconds for job, found in store.durations("wf").items()} == {"extract": 1.5, "load": 1.5}


@pytest.mark.parametrize("failed", ["failed", TaskInstanceState.FAILED])
def test_a_failed_job_is_one_question(airflow: Telling, failed: Any) -> None:
    dag = night()
    open_in(dag, airflow)
    with pytest.raises(AirflowFailException, match="load failed"):
        close_in(dag, airflow, states={**ALL_GOOD, "load": failed}, state="running")
    assert airflow.questions == {"ended": 1}


@pytest.mark.parametrize(
    ("load", "why"),
    [
        ("running", "load aborted"),  # not in the list
        (None, "load aborted"),
        (["success", "failed"], "load failed"),  # mapped: some may be missing
        (["success", "running"], "load aborted"),
        ([], "load has no instance in this run"),
        ("removed", "load has no instance in this run"),
    ],
)
def test_what_the_list_does_not_say_for_sure_is_asked_and_counted(airflow: Telling, load: Any, why: str) -> None:
    dag = night()
    open_in(dag, airflow)
    with pytest.raises(AirflowFailException, match=why):
        close_in(dag, airflow, states={**ALL_GOOD, "load": load}, state="running")
    assert airflow.questions == {"ended": 1, "states": 1, "count": 1}


def test_a_job_that_left_the_file_is_asked_for(airflow: Telling) -> None:
    open_in(night(), airflow)
    closed = close_in(night(jobs={"extract": {}}), airflow, states={**ALL_GOOD, "load": "removed"}, state="running")
    assert closed["outcomes"] == {"extract": "success", "load": "skipped"}
    assert airflow.questions["states"] == 1


@pytest.mark.parametrize("state", ["failed", DagRunState.FAILED])
def test_a_run_that_was_marked_as_failed_says_so_itself(store: Store, airflow: Telling, state: Any) -> None:
    dag = night()
    opened = open_in(dag, airflow)
    with pytest.raises(AirflowFailException, match="the run was marked as failed"):
        close_in(dag, airflow, states={**ALL_GOOD, "load": "skipped"}, state=state)
    assert store.batch("wf", opened["batch_id"]).status == "failed"
    assert airflow.questions["run"] == 0


def test_airflow_is_asked_where_the_run_does_not_say(airflow: Telling) -> None:
    dag = night()
    open_in(dag, airflow)
    airflow.runs["wf", "r1"] = "failed"
    with pytest.raises(AirflowFailException, match="the run was marked as failed"):
        close_in(dag, airflow)
    assert airflow.questions["run"] == 1


def test_its_alias_is_left_out_until_it_runs(airflow: Telling) -> None:
    dag = night()
    open_in(dag, airflow)
    task = dag.get_task("close").prepare_for_execution()
    assert (list(task.inlets), list(task.outlets)) == ([], [])
    from airflow_runs import context

    airflow.tasks = dict(ALL_GOOD)
    of = context(dag, airflow, state="running")
    task.execute(of)
    assert [alias.name for alias in task.outlets] == ["batchy_wf_closed"]
    assert len(of["outlet_events"].told) == 1
    assert [alias.name for alias in dag.get_task("close").outlets] == ["batchy_wf_closed"]


def test_assets_are_checked_before_it_runs() -> None:
    task = BatchyCloseOperator(task_id="close", workflow="wf", outlets=[Asset("table")])
    assert len(task.prepare_for_execution().outlets) == 2
