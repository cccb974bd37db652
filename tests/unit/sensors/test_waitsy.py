# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor: deferred, poking or rescheduled, it gives the same answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
)
from redis import Redis
from sensor_runs import closed, context, opened, sensor, waits

from batchy_provider.core.values import Holder, Window
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.local.ports import free_port
from batchy_provider.state.store import Store


class TestEveryMode:
    def test_done_at_once(self, store: Store, mode: dict[str, Any]) -> None:
        batch_id = closed(store)
        assert sensor(**mode).execute(context()) == str(batch_id)

    def test_waits(self, store: Store, mode: dict[str, Any]) -> None:
        assert waits(sensor(**mode), context()), "nothing is there"
        opened(store)
        assert waits(sensor(**mode), context())

    def test_another_day(self, store: Store, mode: dict[str, Any]) -> None:
        closed(store)
        now = datetime.now(timezone.utc)
        assert waits(sensor(**mode), context(run_after=now + timedelta(days=1)))
        assert not waits(sensor(**mode), context(run_after=now - timedelta(days=1)))

    def test_the_day_is_that_of_the_timezone(self, store: Store, mode: dict[str, Any], redis_client: Redis) -> None:
        job = {"status": "success", "batch_id": 3, "batch_end": "2026-01-01T12:00:00"}
        redis_client.hset("wf", "a", json.dumps(job))
        run_after = datetime(2026, 1, 2, 2, tzinfo=timezone.utc)
        assert waits(sensor(**mode), context(run_after=run_after))
        assert not waits(sensor(**mode, timezone="America/New_York"), context(run_after=run_after))

    def test_failed(self, store: Store, mode: dict[str, Any]) -> None:
        batch_id = closed(store, "failed")
        assert waits(sensor(**mode), context())
        with pytest.raises(AirflowFailException, match=f"batch {batch_id} failed at"):
            sensor(**mode, on_failed="fail").execute(context())

    def test_soft_fail_skips(self, store: Store, mode: dict[str, Any], redis_client: Redis) -> None:
        closed(store, "failed")
        with pytest.raises(AirflowSkipException):
            sensor(**mode, on_failed="fail", soft_fail=True).execute(context())
        redis_client.flushall()
        redis_client.set("wf", "mine")
        with pytest.raises(AirflowSkipException):
            sensor(**mode, soft_fail=True).execute(context())

    def test_state_that_cannot_be_read_fails_with_words(self, redis_client: Redis, mode: dict[str, Any]) -> None:
        redis_client.set("wf", "mine")
        with pytest.raises(AirflowFailException, match="Another program uses this key"):
            sensor(**mode).execute(context())

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"workflow": "a b"}, "workflow name 'a b' holds ' '"),
            ({"workflow": "wf-17"}, "how the key of an old batch ends"),
            ({"timezone": "Mars/Base"}, "'Mars/Base' is not a timezone"),
        ],
    )
    def test_bad_input_fails_with_words(self, mode: dict[str, Any], wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(AirflowFailException, match=message):
            sensor(**mode, **wrong).execute(context())

    def test_redis_away_does_not_end_a_wait(self, mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://127.0.0.1:1")
        assert waits(sensor(**mode), context())

    def test_a_backfill_waits_for_its_own_day(self, store: Store, mode: dict[str, Any]) -> None:
        run = {
            "run_type": "backfill",
            "data_interval_start": datetime(2026, 1, 4, 2, tzinfo=timezone.utc),
            "data_interval_end": datetime(2026, 1, 5, 2, tzinfo=timezone.utc),
        }
        closed(store, window=Window(from_date="2026-02-01"), move_watermark=True)
        assert waits(sensor(**mode), context(**run))
        batch_id = closed(store, backfill=True, window=Window(from_date="2026-01-04T02:00", to_date="2026-01-05T02:00"))
        assert sensor(**mode).execute(context(**run)) == str(batch_id)

    def test_since_last_run(self, store: Store, mode: dict[str, Any]) -> None:
        closed(store)
        now = datetime.now(timezone.utc)
        since = {**mode, "scope": "since_last_run"}
        assert not waits(sensor(**since), context()), "a DAG that never succeeded takes any success"
        assert not waits(sensor(**since), context(last=now - timedelta(minutes=1)))
        assert waits(sensor(**since), context(last=now + timedelta(minutes=1)))

    def test_since_the_own_workflows_last_success_each_is_taken_once(self, store: Store, mode: dict[str, Any]) -> None:
        since = {**mode, "scope": "since_last_run", "own_workflow": "mine"}
        closed(store)
        assert not waits(sensor(**since), context(run_id="first")), "who never succeeded takes any success"
        mine = {"holder": Holder(dag_id="mine", run_id="first")}
        closed(store, "failed", "mine", **mine)
        assert not waits(sensor(**since), context(run_id="second")), "what it has taken, and failed with, counts again"
        mine = {"holder": Holder(dag_id="mine", run_id="second")}
        closed(store, workflow="mine", **mine)
        assert waits(sensor(**since), context(run_id="third", last=datetime.now(timezone.utc) - timedelta(days=1)))
        assert not waits(sensor(**since), context(run_id="second")), "cleared, it takes again what it took"
        asked = context(run_id="third", conf={"from_date": "2026-01-01", "to_date": "2026-01-02"})
        assert not waits(sensor(**since), asked), "a window of its own waits for nothing new"
        closed(store)
        assert not waits(sensor(**since), context(run_id="third"))

    def test_who_cannot_ask_for_the_own_last_success_is_tried_again_and_does_not_take_any(
        self, mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", f"redis://127.0.0.1:{free_port()}")
        monkeypatch.setenv("AIRFLOW__BATCHY__REDIS_PATIENCE_SECONDS", "0")
        task = sensor(**mode, scope="since_last_run", own_workflow="mine")
        with pytest.raises(RedisUnavailableError):
            waits(task, context())

    @pytest.mark.parametrize("within", ["12h", 43_200, 43_200.0, timedelta(hours=12)])
    def test_within(self, store: Store, mode: dict[str, Any], within: Any) -> None:
        closed(store)
        assert not waits(sensor(**mode, scope={"within": within}), context())

    def test_jobs(self, redis_client: Redis, mode: dict[str, Any]) -> None:
        redis_client.hset("wf", "a", json.dumps({"status": "success", "batch_id": 3}))
        redis_client.hset("wf", "b", json.dumps({"status": "open", "batch_id": 3}))
        any_of = {**mode, "scope": "any"}
        assert not waits(sensor(**any_of, jobs=["a"]), context())
        assert not waits(sensor(**any_of, jobs="a"), context())
        assert waits(sensor(**any_of, jobs=["a", "b"]), context())
        assert waits(sensor(**any_of), context())


class TestSeveralWorkflows:
    def test_all_must_have_succeeded(self, store: Store, mode: dict[str, Any]) -> None:
        both = sensor(**mode, workflow=["crm", "erp"])
        assert waits(both, context())
        crm = closed(store, workflow="crm")
        assert waits(both, context())
        erp = closed(store, workflow="erp")
        assert json.loads(both.execute(context())) == {"crm": crm, "erp": erp}

    def test_a_list_of_one_gives_an_object_too(self, store: Store, mode: dict[str, Any]) -> None:
        batch_id = closed(store)
        assert json.loads(sensor(**mode, workflow=["wf"]).execute(context())) == {"wf": batch_id}

    def test_any_that_fails_fails_all(self, store: Store, mode: dict[str, Any]) -> None:
        closed(store, workflow="crm")
        batch_id = closed(store, "failed", workflow="erp")
        assert waits(sensor(**mode, workflow=["crm", "erp"]), context())
        with pytest.raises(AirflowFailException, match=f"erp: batch {batch_id} failed at"):
            sensor(**mode, workflow=["crm", "erp"], on_failed="fail").execute(context())

    def test_none_is_a_mistake(self, mode: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="workflow is empty"):
            sensor(**mode, workflow=[])

    def test_one_that_is_named_twice_is_waited_for_once(self, store: Store, mode: dict[str, Any]) -> None:
        batch_id = closed(store)
        assert json.loads(sensor(**mode, workflow=["wf", "wf"]).execute(context())) == {"wf": batch_id}


class TestTheVeryDay:
    def test_only_a_success_of_the_day_itself_counts(self, store: Store, mode: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc)
        yesterday = now - timedelta(days=1)
        assert waits(sensor(**mode, same_day=True), context())
        batch_id = closed(store)
        assert sensor(**mode, same_day=True).execute(context()) == str(batch_id)
        assert not waits(sensor(**mode), context(run_after=yesterday)), "without it, a later one counts too"
        with pytest.raises(AirflowFailException, match=r"has not succeeded on .*, and that day is over"):
            sensor(**mode, same_day=True).execute(context(run_after=yesterday))

    def test_a_day_that_is_over_is_skipped_with_soft_fail(self, store: Store, mode: dict[str, Any]) -> None:
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        with pytest.raises(AirflowSkipException):
            sensor(**mode, same_day=True, soft_fail=True).execute(context(run_after=yesterday))

    def test_a_run_that_is_cleared_next_week_finds_the_success_of_its_day(
        self, store: Store, mode: dict[str, Any], redis_client: Redis
    ) -> None:
        run_after = datetime(2026, 1, 2, 2, tzinfo=timezone.utc)
        of_the_day = {"status": "success", "batch_id": 1767322800, "batch_end": "2026-01-02T03:00:00"}
        redis_client.hset("wf-1767322800", "a", json.dumps(of_the_day))
        redis_client.zadd("wf:closed", {"1767322800": 1767322800})
        redis_client.hset(
            "wf", "a", json.dumps({**of_the_day, "batch_id": 1767999999, "batch_end": "2026-01-09T03:00"})
        )
        same_day = sensor(**mode, same_day=True)
        assert same_day.execute(context(run_after=run_after)) == "1767322800"
