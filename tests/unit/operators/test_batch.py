# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening and closing as tasks: who gets which batch, whatever Airflow does with the run."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG
from airflow_runs import ALL_GOOD, Airflow, close_in, context, night, open_in
from redis import Redis

from batchy_provider.core.values import CloseRequest
from batchy_provider.dag_factory.loader import build_dags
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.state.store import Store

pytestmark = pytest.mark.usefixtures("redis_connection")


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

    def test_the_record_says_when_the_run_was_due(self, store: Store, airflow: Airflow) -> None:
        due = datetime(2026, 11, 12, 2, tzinfo=timezone.utc)
        told = open_in(night(), airflow, run_after=due)
        record = store.batch("wf", told["batch_id"]).record
        assert record is not None
        assert record.due == "2026-11-12T02:00:00.000000"
        interval = {"data_interval_start": due - timedelta(days=4), "data_interval_end": due - timedelta(days=3)}
        told = open_in(night(), airflow, "backfilled", run_type="backfill", **interval)
        record = store.batch("wf", told["batch_id"]).record
        assert record is not None
        assert record.due == "2026-11-09T02:00:00.000000"

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
        loaded = json.loads(store.backend.client.hget("wf:loaded", "extract") or "[]")
        assert loaded == [["2026-01-04T02:00:00.000000", "2026-01-05T02:00:00.000000"]]
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
        loaded = json.loads(store.backend.client.hget("wf:loaded", "extract") or "[]")
        assert loaded == [["2026-01-04T02:00:00.000000", "2026-01-09T02:00:00.000000"]]

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


def test_a_connection_is_left_after_each_task(redis_client: Redis, airflow: Airflow) -> None:
    before = {client["id"] for client in redis_client.client_list()}  # earlier tests of this process may hold some
    dag = night()
    open_in(dag, airflow)
    close_in(dag, airflow)
    left = [client for client in redis_client.client_list() if client["name"].startswith("batchy")]
    assert not [client for client in left if client["id"] not in before]


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
