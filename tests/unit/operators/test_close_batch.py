# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Closing a batch as a task: outcomes, failures, mapped tasks."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import TaskInstanceState
from airflow_runs import ALL_GOOD, Airflow, close_in, context, night, open_in
from redis import Redis

from batchy_provider.assets import workflow_asset
from batchy_provider.core.dates import parse_date
from batchy_provider.operators.batch import BatchyCloseOperator
from batchy_provider.operators.task_instances import UnknownStatesError
from batchy_provider.state.store import Store

pytestmark = pytest.mark.usefixtures("redis_connection")


class TestClose:
    def test_success(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        airflow.tasks = dict(ALL_GOOD)
        of = context(dag, airflow)
        closed = dag.get_task("close").execute(of)
        assert closed == {**opened, "status": "success", "outcomes": {"extract": "success", "load": "success"}}
        extra = {name: opened[name] for name in ("batch_id", "from_date", "to_date")}
        assert of["outlet_events"].told == [(workflow_asset("wf").uri, extra)]

    @pytest.mark.parametrize(
        ("states", "outcomes", "why"),
        [
            ({"extract": "success", "load": "failed"}, ("success", "failed"), "load failed"),
            ({"extract": "failed", "load": "upstream_failed"}, ("failed", "aborted"), "extract failed, load aborted"),
            ({"extract": "success", "load": None}, ("success", "aborted"), "load aborted"),
            ({"extract": TaskInstanceState.FAILED, "load": "success"}, ("failed", "success"), "extract failed"),
            ({"extract": "skipped", "load": "failed"}, ("skipped", "failed"), "load failed"),
        ],
    )
    def test_a_failed_job_makes_batch_and_run_failed(
        self, store: Store, airflow: Airflow, states: Any, outcomes: tuple[str, str], why: str
    ) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        with pytest.raises(AirflowFailException, match=f"Batch {opened['batch_id']} of wf failed: {why}"):
            close_in(dag, airflow, states={"open": "success", **states})
        batch = store.batch("wf", opened["batch_id"])
        assert batch.status == "failed"
        assert tuple(batch.jobs[job]["outcome"] for job in ("extract", "load")) == outcomes

    def test_skipped_jobs_are_no_failure(self, airflow: Airflow) -> None:
        dag = night()
        open_in(dag, airflow)
        closed = close_in(dag, airflow, states={**ALL_GOOD, "load": "skipped"})
        assert closed["outcomes"] == {"extract": "success", "load": "skipped"}

    def test_tasks_after_or_beside_it_do_not_matter(self, airflow: Airflow) -> None:
        dag = night()
        open_in(dag, airflow)
        closed = close_in(dag, airflow, states={**ALL_GOOD, "close": "running", "mail": "failed", "mail_1": "failed"})
        assert closed["status"] == "success"

    def test_a_run_that_was_marked_as_failed(self, store: Store, airflow: Airflow) -> None:
        """Airflow skips what had not run yet, and runs the teardown."""
        dag = night()
        opened = open_in(dag, airflow)
        airflow.runs["wf", "r1"] = "failed"
        with pytest.raises(AirflowFailException, match="the run was marked as failed"):
            close_in(dag, airflow, states={**ALL_GOOD, "load": "skipped"})
        assert store.batch("wf", opened["batch_id"]).status == "failed"

    def test_a_retry_finds_it_closed(self, airflow: Airflow) -> None:
        dag = night()
        open_in(dag, airflow)
        assert close_in(dag, airflow) == close_in(dag, airflow)

    def test_a_retry_of_a_failure_fails_again(self, airflow: Airflow) -> None:
        dag = night()
        open_in(dag, airflow)
        for _ in range(2):
            with pytest.raises(AirflowFailException, match="load failed"):
                close_in(dag, airflow, states={**ALL_GOOD, "load": "failed"})

    def test_without_an_opening(self, redis_client: Redis, airflow: Airflow) -> None:
        with pytest.raises(
            AirflowFailException, match=r"run 'r1' has opened no batch.*put a BatchyOpenOperator before"
        ):
            close_in(night(), airflow)
        assert redis_client.dbsize() == 0

    @pytest.mark.parametrize(("status", "load"), [("success", "failed"), ("failed", "success")])
    def test_told_what_it_was(self, airflow: Airflow, status: str, load: str) -> None:
        dag = night()
        open_in(dag, airflow)
        dag.get_task("close").status = status
        closed = close_in(dag, airflow, states={**ALL_GOOD, "load": load})
        assert (closed["status"], closed["outcomes"]["load"]) == (status, load)

    def test_told_what_does_not_exist(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        dag.get_task("close").status = "perhaps"
        with pytest.raises(AirflowFailException, match="status is 'perhaps'; expected auto, success or failed"):
            close_in(dag, airflow)
        assert store.batch("wf", opened["batch_id"]).status == "open"

    def test_a_disabled_job_stays_where_it_was(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        open_in(dag, airflow, "r0")
        close_in(dag, airflow, "r0")
        store.disable("wf", "load", by="test")
        open_in(dag, airflow, "r1")
        closed = close_in(dag, airflow, "r1", states={**ALL_GOOD, "load": "skipped"})
        assert closed["outcomes"] == {"extract": "success", "load": "skipped"}
        store.enable("wf", "load", by="test")
        jobs = open_in(dag, airflow, "r2")["jobs"]
        assert parse_date(jobs["load"]["from_date"]) < parse_date(jobs["extract"]["from_date"])

    @pytest.mark.parametrize("states", ["removed", ["removed"]])
    def test_a_job_that_was_taken_out_of_the_file_meanwhile_stays_where_it_was(
        self, airflow: Airflow, states: Any
    ) -> None:
        opened = open_in(night(), airflow, "r0")
        closed = close_in(night(jobs={"extract": {}}), airflow, "r0", states={**ALL_GOOD, "load": states})
        assert closed["outcomes"] == {"extract": "success", "load": "skipped"}
        jobs = open_in(night(), airflow, "r1")["jobs"]
        assert jobs["extract"]["from_date"] == opened["jobs"]["extract"]["to_date"]
        assert jobs["load"]["from_date"] == opened["jobs"]["load"]["from_date"], "it may not have run at all"


class TestMappedTasks:
    """Airflow tells their instances as <task>_<index>."""

    @pytest.mark.parametrize(
        ("instances", "outcome"),
        [
            (["success", "success"], "success"),
            (["success", "skipped"], "success"),
            (["skipped", "skipped"], "skipped"),
            (["success", "removed"], "success"),
            (["success", "failed", "upstream_failed"], "failed"),
            (["success", None], "aborted"),
        ],
    )
    def test_the_worst_counts(self, store: Store, airflow: Airflow, instances: list[Any], outcome: str) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        states: dict[str, Any] = {"open": "success", "extract": "success", "load": instances}
        if outcome in ("failed", "aborted"):
            with pytest.raises(AirflowFailException, match=f"load {outcome}"):
                close_in(dag, airflow, states=states)
        else:
            close_in(dag, airflow, states=states)
        assert store.batch("wf", opened["batch_id"]).jobs["load"]["outcome"] == outcome

    @pytest.mark.parametrize("failed", ["load", "load_1"])
    def test_a_job_with_the_name_of_an_instance_hides_no_failure_and_no_failure_hides_it(
        self, store: Store, airflow: Airflow, failed: str
    ) -> None:
        dag = night(jobs={"load": {}, "load_1": {}})
        opened = open_in(dag, airflow)
        states: dict[str, Any] = {"open": "success", "load": ["success", "success"], "load_1": "success"}
        states[failed] = ["success", "failed"] if failed == "load" else "failed"
        with pytest.raises(AirflowFailException, match=f"failed: {failed} failed"):
            close_in(dag, airflow, states=states)
        jobs = store.batch("wf", opened["batch_id"]).jobs
        assert [name for name, job in jobs.items() if job["outcome"] == "failed"] == [failed]

    def test_a_job_without_any_instance_is_no_success(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        with pytest.raises(AirflowFailException, match="load has no instance in this run"):
            close_in(dag, airflow, states={"open": "success", "extract": "success"})
        assert store.batch("wf", opened["batch_id"]).status == "failed"

    def test_a_batch_stays_open_where_airflow_hides_an_instance(
        self, store: Store, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dag = night()
        opened = open_in(dag, airflow)
        monkeypatch.setattr(airflow, "get_ti_count", lambda **_: 4)
        with pytest.raises(UnknownStatesError, match="4 instances of extract, load, open"):
            close_in(dag, airflow)
        assert store.batch("wf", opened["batch_id"]).status == "open"

    def test_a_job_with_such_a_name_is_no_instance(self, store: Store, airflow: Airflow) -> None:
        dag = night(jobs={"load": {}, "load_1": {}})
        opened = open_in(dag, airflow)
        with pytest.raises(AirflowFailException, match="failed: load_1 failed"):
            close_in(dag, airflow, states={"open": "success", "load": "success", "load_1": "failed"})
        jobs = store.batch("wf", opened["batch_id"]).jobs
        assert {name: job["outcome"] for name, job in jobs.items()} == {"load": "success", "load_1": "failed"}


def test_a_close_of_a_templated_workflow_names_no_asset() -> None:
    assert not BatchyCloseOperator(task_id="close", workflow="{{ params.w }}").outlets
    assert [alias.name for alias in BatchyCloseOperator(task_id="close", workflow="wf").outlets] == ["batchy_wf_closed"]
