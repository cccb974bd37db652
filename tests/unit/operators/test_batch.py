# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening and closing as tasks: who gets which batch, whatever Airflow does with the run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG, TaskInstanceState
from airflow_runs import Airflow, context, night
from redis import Redis

from batchy_provider.assets import workflow_asset
from batchy_provider.core.dates import parse_date
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.dag_factory.loader import build_dags
from batchy_provider.exceptions import BatchHeldError, RedisUnavailableError
from batchy_provider.operators.batch import HOLDER_CHECK_SECONDS, BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.task_instances import UnknownStatesError
from batchy_provider.state.store import Store
from batchy_provider.triggers.batch import BatchFreeTrigger

ALL_GOOD = {"open": "success", "extract": "success", "load": "success"}


@pytest.fixture(autouse=True)
def _connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def open_in(dag: DAG, airflow: Airflow, run_id: str = "r1", **run: Any) -> dict[str, Any]:
    result: dict[str, Any] = dag.get_task("open").execute(context(dag, airflow, run_id, **run))
    return result


def close_in(dag: DAG, airflow: Airflow, run_id: str = "r1", *, states: Any = ALL_GOOD, **run: Any) -> dict[str, Any]:
    airflow.tasks = dict(states)
    result: dict[str, Any] = dag.get_task("close").execute(context(dag, airflow, run_id, **run))
    return result


class TestOpen:
    def test_tells_the_window_of_the_batch_and_of_each_job(self, store: Store, airflow: Airflow) -> None:
        dag = night(jobs={"extract": {"initial_date": "2026-01-01"}, "load": {"region": "eu"}})
        told = open_in(dag, airflow)
        batch = store.batch("wf", told["batch_id"])
        assert told == {
            "workflow": "wf",
            "batch_id": batch.batch_id,
            "kind": "live",
            "from_date": "1776-07-04T23:59:00.000000",
            "to_date": batch.to_date,
            "jobs": {
                "extract": {"from_date": "2026-01-01T00:00:00.000000", "to_date": batch.to_date},
                "load": {"from_date": "1776-07-04T23:59:00.000000", "to_date": batch.to_date},
            },
        }
        assert batch.jobs["load"]["region"] == "eu"
        assert batch.record is not None
        assert (batch.record.run, batch.record.by) == ("r1", "run 'r1' of DAG 'wf'")

    def test_no_window_is_opened_for_a_script_that_bash_would_misread(
        self, store: Store, airflow: Airflow, tmp_path: Path
    ) -> None:
        script = tmp_path / "bundles" / "etl" / "script.sh"
        script.parent.mkdir(parents=True)
        (tmp_path / "wf.yaml").write_text("jobs: {load: {bundle: etl}, rest: {bash: 'true'}}\n")
        script.write_bytes(b"#!/bin/bash\r\necho loaded\r\n")
        (dag,) = build_dags(tmp_path)[0].values()
        with pytest.raises(AirflowFailException, match=r"No batch is opened\. job load, bundle .*etl"):
            open_in(dag, airflow)
        assert not store.workflows()
        script.write_bytes(b"#!/bin/bash\necho loaded\n")
        assert open_in(dag, airflow)["kind"] == "live"

    def test_a_retry_gets_the_same_batch(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        first = open_in(dag, airflow)
        assert open_in(dag, airflow) == first
        assert len(store.history("wf")) == 1

    def test_a_failed_window_is_loaded_again(self, airflow: Airflow) -> None:
        dag = night()
        first = open_in(dag, airflow)
        with pytest.raises(AirflowFailException):
            close_in(dag, airflow, states={**ALL_GOOD, "load": "failed"})
        airflow.runs["wf", "r1"] = "failed"
        second = open_in(dag, airflow, "r2")
        assert second["from_date"] == first["from_date"]
        assert second["to_date"] > first["to_date"]

    def test_the_next_window_begins_where_the_last_ended(self, airflow: Airflow) -> None:
        dag = night()
        first = open_in(dag, airflow)
        close_in(dag, airflow)
        assert open_in(dag, airflow, "r2")["from_date"] == first["to_date"]

    def test_a_cleared_run_takes_its_own_window_again(self, airflow: Airflow) -> None:
        dag = night()
        first = open_in(dag, airflow)
        close_in(dag, airflow)
        again = open_in(dag, airflow)
        assert again["batch_id"] > first["batch_id"]
        assert (again["from_date"], again["to_date"], again["kind"]) == (first["from_date"], first["to_date"], "live")
        close_in(dag, airflow)
        open_in(dag, airflow, "r2")
        close_in(dag, airflow, "r2")
        old = open_in(dag, airflow)
        assert (old["from_date"], old["to_date"], old["kind"]) == (first["from_date"], first["to_date"], "history")

    def test_a_dag_of_another_name_has_runs_of_its_own(self, store: Store, airflow: Airflow) -> None:
        told = open_in(night(dag_id="other"), airflow)
        found = store.batch_of_run("wf", "other/r1")
        assert found is not None
        assert found.batch_id == told["batch_id"]

    def test_without_jobs_it_opens_what_redis_knows(self, store: Store, airflow: Airflow) -> None:
        dag = night(jobs=None)
        with pytest.raises(AirflowFailException, match="'wf' is not in Redis; load its configuration"):
            open_in(dag, airflow)
        open_in(night(), airflow, "r0")
        store.close("wf", CloseRequest(result="success"))
        assert set(open_in(dag, airflow)["jobs"]) == {"extract", "load"}

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"jobs": {"a b": {}}}, "job name 'a b'"),
            ({"jobs": {"a": {"reprocess_hours": "many"}}}, "reprocess_hours"),
            ({"timezone": "Mars/Base", "jobs": {"a": {"trunc_start": True}}}, "'Mars/Base' is not a timezone"),
        ],
    )
    def test_what_no_retry_mends_fails_at_once(
        self, redis_client: Redis, airflow: Airflow, wrong: dict[str, Any], message: str
    ) -> None:
        jobs = wrong.pop("jobs")
        dag = night(**wrong)
        dag.get_task("open").jobs = jobs
        with pytest.raises(AirflowFailException, match=message):
            open_in(dag, airflow)
        assert redis_client.dbsize() == 0

    def test_redis_away_is_worth_a_retry(self, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://127.0.0.1:1")
        monkeypatch.setenv("AIRFLOW__BATCHY__REDIS_PATIENCE_SECONDS", "0.1")
        with pytest.raises(RedisUnavailableError, match=r"127\.0\.0\.1:1 cannot be used"):
            open_in(night(), airflow)
        assert night().get_task("open").retries > 0

    def test_told_otherwise_it_is_not_retried(self) -> None:
        assert BatchyOpenOperator(task_id="open", workflow="wf", retries=0).retries == 0

    def test_is_templated(self) -> None:
        task = BatchyOpenOperator(
            task_id="open",
            workflow="{{ params.w }}",
            jobs={"a": {"x": "{{ params.x }}"}},
            redis_conn_id="{{ params.c }}",
        )
        task.render_template_fields({"params": {"w": "wf", "x": 7, "c": "conn"}})
        assert (task.workflow, task.jobs, task.redis_conn_id) == ("wf", {"a": {"x": "7"}}, "conn")


class TestHeldByAnother:
    def test_fail_names_the_holder(self, airflow: Airflow) -> None:
        held = open_in(night(), airflow, "r1")
        with pytest.raises(AirflowFailException) as error:
            open_in(night(), airflow, "r2")
        assert f"batch {held['batch_id']} is open since" in str(error.value)
        assert "by run 'r1' of DAG 'wf'" in str(error.value)
        assert isinstance(error.value.__cause__, BatchHeldError)

    @pytest.mark.parametrize("state", ["queued", "running"])
    def test_wait_defers_until_it_is_closed(self, store: Store, airflow: Airflow, state: str) -> None:
        held = open_in(night(), airflow, "r1")
        airflow.runs["wf", "r1"] = state
        dag = night(if_open="wait")
        with pytest.raises(TaskDeferred) as stop:
            open_in(dag, airflow, "r2")
        trigger = stop.value.trigger
        assert isinstance(trigger, BatchFreeTrigger)
        assert (trigger.workflow, trigger.batch_id) == ("wf", held["batch_id"])
        assert trigger.look_again_seconds == HOLDER_CHECK_SECONDS
        assert stop.value.method_name == "execute_complete"
        assert stop.value.timeout is None
        task, of = dag.get_task("open"), context(dag, airflow, "r2")
        with pytest.raises(TaskDeferred):
            task.execute_complete(of, {"text": "still open"})
        store.close("wf", CloseRequest(result="success"))
        told = task.execute_complete(of, {"text": "closed"})
        assert told["from_date"] == held["to_date"]

    def test_take_over_takes_the_same_window(self, store: Store, airflow: Airflow) -> None:
        held = open_in(night(), airflow, "r1")
        told = open_in(night(if_open="take_over"), airflow, "r2")
        assert told["from_date"] == held["from_date"]
        assert store.batch("wf", held["batch_id"]).status == "failed"
        with pytest.raises(AirflowFailException, match=f"{held['batch_id']}.*{told['batch_id']}"):
            close_in(night(), airflow, "r1")
        assert store.batch("wf", told["batch_id"]).status == "open"

    @pytest.mark.parametrize("state", ["failed", "success", None])
    @pytest.mark.parametrize("if_open", ["fail", "wait", "take_over"])
    def test_a_holder_that_is_gone_holds_nothing(
        self, store: Store, airflow: Airflow, if_open: Any, state: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Killed, timed out, marked by hand, or deleted: its window is loaded by the next."""
        held = open_in(night(), airflow, "r1")
        if state is None:
            del airflow.runs["wf", "r1"]
        else:
            airflow.runs["wf", "r1"] = state
        told = open_in(night(if_open=if_open), airflow, "r2")
        assert told["from_date"] == held["from_date"]
        assert told["batch_id"] > held["batch_id"]
        assert store.batch("wf", held["batch_id"]).status == "failed"
        assert "by run 'r1' of DAG 'wf', and was never closed" in capsys.readouterr().out

    def test_what_no_run_holds_is_taken_over(self, store: Store, airflow: Airflow) -> None:
        open_in(night(), airflow, "r0")
        store.close("wf", CloseRequest(result="success"))
        held = store.open("wf", OpenRequest(holder=Holder(by="ada, by hand")))
        assert open_in(night(), airflow, "r1")["from_date"] == held.from_date

    def test_if_open_is_checked_when_the_dag_is_parsed(self) -> None:
        with pytest.raises(ValueError, match="if_open is 'push'; expected one of fail, wait, take_over"):
            BatchyOpenOperator(task_id="open", workflow="wf", if_open="push")  # type: ignore[arg-type]


class TestWindowOfTheConf:
    CONF: ClassVar = {"from_date": "2026-02-01", "to_date": "2026-02-02T12:00:00+02:00"}

    def test_is_a_one_off_load_for_history(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        live = open_in(dag, airflow, "r0")
        close_in(dag, airflow, "r0")
        told = open_in(dag, airflow, "r1", conf=self.CONF)
        assert (told["from_date"], told["to_date"]) == ("2026-02-01T00:00:00.000000", "2026-02-02T10:00:00.000000")
        assert told["kind"] == "history"
        closed = close_in(dag, airflow, "r1", conf=self.CONF)
        assert (closed["batch_id"], closed["kind"], closed["status"]) == (told["batch_id"], "history", "success")
        batch = store.status("wf").batch
        assert batch is not None
        assert batch.batch_id == live["batch_id"]

    def test_beside_a_batch_that_is_open(self, airflow: Airflow) -> None:
        open_in(night(), airflow, "r0")
        assert open_in(night(), airflow, "r1", conf=self.CONF)["kind"] == "history"

    def test_move_watermark(self, airflow: Airflow) -> None:
        dag = night()
        conf = {**self.CONF, "move_watermark": True}
        assert open_in(dag, airflow, "r1", conf=conf)["kind"] == "live"
        close_in(dag, airflow, "r1", conf=conf)
        assert open_in(dag, airflow, "r2")["from_date"] == "2026-02-02T10:00:00.000000"

    @pytest.mark.parametrize(
        ("conf", "message"),
        [
            ({"from_date": "soon"}, "'soon' is not a date"),
            ({"from_date": 20260101}, "20260101 is not a date"),
            ({"from_date": "2026-02-02", "to_date": "2026-02-01"}, "would start at"),
            ({"from_date": "2026-01-01", "to_date": "2999-01-01", "move_watermark": True}, "lies in the future"),
        ],
    )
    def test_one_that_cannot_be(self, redis_client: Redis, airflow: Airflow, conf: Any, message: str) -> None:
        with pytest.raises(AirflowFailException, match=message):
            open_in(night(), airflow, conf=conf)
        assert redis_client.dbsize() == 0


class TestBackfill:
    @staticmethod
    def run(when: datetime, *, interval: timedelta | None = None) -> dict[str, Any]:
        start = when if interval is None else when - interval
        return {
            "run_type": "backfill",
            "run_after": when,
            "logical_date": start,
            "data_interval_start": start,
            "data_interval_end": when,
        }

    def test_takes_the_time_since_the_fire_before(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        live = open_in(dag, airflow, "live")
        run = self.run(datetime(2026, 1, 5, 2, tzinfo=timezone.utc))
        told = open_in(dag, airflow, "b1", **run)
        assert (told["from_date"], told["to_date"]) == ("2026-01-04T02:00:00.000000", "2026-01-05T02:00:00.000000")
        assert told["kind"] == "history"
        close_in(dag, airflow, "b1", **run)
        assert store.backend.client.hgetall("wf:days") == {b"2026-01-05": str(told["batch_id"]).encode()}
        batch = store.status("wf").batch
        assert batch is not None
        assert (batch.batch_id, batch.status) == (live["batch_id"], "open")

    def test_many_at_once_in_any_order(self, store: Store, airflow: Airflow) -> None:
        dag = night()
        days = [datetime(2026, 1, day, 2, tzinfo=timezone.utc) for day in (9, 5, 7, 6, 8)]
        told = [open_in(dag, airflow, f"b{day.day}", **self.run(day)) for day in days]
        assert len({one["batch_id"] for one in told}) == 5
        for day in reversed(days):
            close_in(dag, airflow, f"b{day.day}", **self.run(day))
        windows = sorted((one["from_date"], one["to_date"]) for one in told)
        assert all(one[1] == following[0] for one, following in pairwise(windows))
        assert store.backend.client.hlen("wf:days") == 5

    def test_its_conf_says_otherwise(self, airflow: Airflow) -> None:
        run = self.run(datetime(2026, 1, 5, 2, tzinfo=timezone.utc))
        told = open_in(night(), airflow, conf={"from_date": "2026-01-01", "to_date": "2026-01-02"}, **run)
        assert (told["from_date"], told["kind"]) == ("2026-01-01T00:00:00.000000", "history")

    def test_tells_nobody_of_an_asset(self, airflow: Airflow) -> None:
        dag = night()
        run = self.run(datetime(2026, 1, 5, 2, tzinfo=timezone.utc))
        open_in(dag, airflow, **run)
        airflow.tasks = dict(ALL_GOOD)
        of = context(dag, airflow, **run)
        dag.get_task("close").execute(of)
        assert of["outlet_events"].told == []


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


def test_a_connection_is_left_after_each_task(redis_client: Redis, airflow: Airflow) -> None:
    dag = night()
    open_in(dag, airflow)
    close_in(dag, airflow)
    assert not [c for c in redis_client.client_list() if c["name"].startswith("batchy")]


def test_a_close_of_a_templated_workflow_names_no_asset() -> None:
    assert not BatchyCloseOperator(task_id="close", workflow="{{ params.w }}").outlets
    assert [alias.name for alias in BatchyCloseOperator(task_id="close", workflow="wf").outlets] == ["batchy_wf_closed"]


class TestRetries:
    """Opening and closing are patient, unless the DAG says otherwise."""

    def test_they_are_retried_for_minutes_where_nobody_said_anything(self) -> None:
        with DAG("patient", schedule=None):
            task = BatchyOpenOperator(task_id="open", workflow="patient")
        assert (task.retries, task.retry_delay, task.retry_exponential_backoff) == (6, timedelta(seconds=5), True)

    def test_what_the_dag_or_the_task_says_counts(self) -> None:
        with DAG("hasty", schedule=None, default_args={"retries": 1}):
            by_dag = BatchyOpenOperator(task_id="open", workflow="hasty")
            by_task = BatchyCloseOperator(task_id="close", workflow="hasty", retries=0)
        assert (by_dag.retries, by_task.retries) == (1, 0)
