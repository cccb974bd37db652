# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor: deferred, poking or rescheduled, it gives the same answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import lazy_object_proxy
import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from redis import Redis

from batchy_provider.batches.model import CloseRequest, Holder, OpenRequest, Result, Window, WorkflowConfig
from batchy_provider.batches.store import BatchStore
from batchy_provider.batches.waiting import Wait
from batchy_provider.sensors.waitsy import WaitsySensor
from batchy_provider.triggers.waitsy import WaitsyTrigger

MODES: list[dict[str, Any]] = [
    {"deferrable": True},
    {"deferrable": False, "mode": "poke"},
    {"deferrable": False, "mode": "reschedule"},
]


@pytest.fixture(autouse=True)
def _connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> BatchStore:
    return BatchStore(redis_client)


@pytest.fixture(params=MODES, ids=["deferrable", "poke", "reschedule"])
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


def sensor(**kwargs: Any) -> WaitsySensor:
    return WaitsySensor(**{"task_id": "wait", "workflow": "wf", "poke_interval": 0.05, "timeout": 20, **kwargs})


def context(*, run_after: datetime | None = None, **run: Any) -> Any:
    defaults = {
        "dag_id": "mine",
        "run_id": "r1",
        "run_type": "scheduled",
        "conf": None,
        "run_after": run_after or datetime.now(timezone.utc),
        "data_interval_start": None,
        "data_interval_end": None,
        "logical_date": None,
    }
    # Airflow's context holds a proxy, that is not None itself, where there was no run before.
    last = lazy_object_proxy.Proxy(lambda: run.pop("last", None))
    ti = SimpleNamespace(get_first_reschedule_date=lambda context: datetime.now(timezone.utc))
    return {"dag_run": SimpleNamespace(**{**defaults, **run}), "ti": ti, "prev_start_date_success": last}


def opened(store: BatchStore, **kwargs: Any) -> int:
    config = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}})
    return store.open("wf", OpenRequest(**{"config": config, "holder": Holder(by="test"), **kwargs})).batch_id


def closed(store: BatchStore, result: Result = "success", **kwargs: Any) -> int:
    batch_id = opened(store, **kwargs)
    store.close("wf", CloseRequest(result=result, batch_id=batch_id))
    return batch_id


def waits(task: WaitsySensor, of: Any) -> bool:
    """Run the sensor's first look; tell whether it goes on waiting."""
    if not task.deferrable and task.mode == "poke":
        return not task.poke(of).is_done
    try:
        task.execute(of)
    except (TaskDeferred, AirflowRescheduleException):
        return True
    return False


def deferred(task: WaitsySensor, of: Any) -> tuple[WaitsyTrigger, TaskDeferred]:
    with pytest.raises(TaskDeferred) as stop:
        task.execute(of)
    trigger = stop.value.trigger
    assert isinstance(trigger, WaitsyTrigger)
    return trigger, stop.value


class TestEveryMode:
    def test_done_at_once(self, store: BatchStore, mode: dict[str, Any]) -> None:
        batch_id = closed(store)
        assert sensor(**mode).execute(context()) == str(batch_id)

    def test_waits(self, store: BatchStore, mode: dict[str, Any]) -> None:
        assert waits(sensor(**mode), context()), "nothing is there"
        opened(store)
        assert waits(sensor(**mode), context())

    def test_another_day(self, store: BatchStore, mode: dict[str, Any]) -> None:
        closed(store)
        now = datetime.now(timezone.utc)
        assert waits(sensor(**mode), context(run_after=now + timedelta(days=1)))
        assert not waits(sensor(**mode), context(run_after=now - timedelta(days=1)))

    def test_the_day_is_that_of_the_timezone(
        self, store: BatchStore, mode: dict[str, Any], redis_client: Redis
    ) -> None:
        job = {"status": "success", "batch_id": 3, "batch_end": "2026-01-01T12:00:00"}
        redis_client.hset("wf", "a", json.dumps(job))
        run_after = datetime(2026, 1, 2, 2, tzinfo=timezone.utc)
        assert waits(sensor(**mode), context(run_after=run_after))
        assert not waits(sensor(**mode, timezone="America/New_York"), context(run_after=run_after))

    def test_failed(self, store: BatchStore, mode: dict[str, Any]) -> None:
        batch_id = closed(store, "failed")
        assert waits(sensor(**mode), context())
        with pytest.raises(AirflowFailException, match=f"batch {batch_id} failed at"):
            sensor(**mode, on_failed="fail").execute(context())

    def test_soft_fail_skips(self, store: BatchStore, mode: dict[str, Any], redis_client: Redis) -> None:
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

    def test_a_backfill_waits_for_its_own_day(self, store: BatchStore, mode: dict[str, Any]) -> None:
        run = {
            "run_type": "backfill",
            "data_interval_start": datetime(2026, 1, 4, 2, tzinfo=timezone.utc),
            "data_interval_end": datetime(2026, 1, 5, 2, tzinfo=timezone.utc),
        }
        closed(store)
        assert waits(sensor(**mode), context(**run))
        batch_id = closed(store, backfill=True, window=Window(from_date="2026-01-04T02:00", to_date="2026-01-05T02:00"))
        assert sensor(**mode).execute(context(**run)) == str(batch_id)

    def test_since_last_run(self, store: BatchStore, mode: dict[str, Any]) -> None:
        closed(store)
        now = datetime.now(timezone.utc)
        since = {**mode, "scope": "since_last_run"}
        assert not waits(sensor(**since), context()), "a DAG that never succeeded takes any success"
        assert not waits(sensor(**since), context(last=now - timedelta(minutes=1)))
        assert waits(sensor(**since), context(last=now + timedelta(minutes=1)))

    @pytest.mark.parametrize("within", ["12h", 43_200, 43_200.0, timedelta(hours=12)])
    def test_within(self, store: BatchStore, mode: dict[str, Any], within: Any) -> None:
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


class TestDeferring:
    def test_hands_over_the_whole_wait(self, store: BatchStore) -> None:
        run_after = datetime(2026, 3, 29, 23, 30, tzinfo=timezone.utc)
        task = sensor(
            jobs=["a"], timezone="Europe/Paris", on_failed="fail", redis_conn_id="redis_default", timeout=4 * 3600
        )
        trigger, stop = deferred(task, context(run_after=run_after))
        assert Wait(**trigger.wait) == Wait(
            workflow="wf", jobs=("a",), day="2026-03-30", timezone="Europe/Paris", fail_on_failed=True
        )
        assert (trigger.redis_conn_id, trigger.soft_fail) == ("redis_default", False)
        assert stop.timeout == timedelta(hours=4)
        assert stop.method_name == "execute_complete"

    def test_the_day_of_the_run_stays_although_it_is_looked_at_tomorrow(self, store: BatchStore) -> None:
        trigger, _ = deferred(sensor(), context(run_after=datetime(2026, 7, 1, 23, 59, tzinfo=timezone.utc)))
        assert trigger.wait["day"] == "2026-07-01"

    def test_soft_fail_goes_along(self, store: BatchStore) -> None:
        trigger, _ = deferred(sensor(soft_fail=True), context())
        assert trigger.soft_fail

    @pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
    def test_a_timeout_is_that_of_a_sensor(self, soft_fail: bool, error: type[Exception]) -> None:
        with pytest.raises(error):
            sensor(soft_fail=soft_fail).resume_execution("__fail__", {"error": "Trigger timeout"}, context())


class TestPoking:
    def test_until_it_is_done(self, store: BatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
        batch_id = opened(store)
        task = sensor(deferrable=False)
        looks: list[Any] = []
        original = task.poke

        def poke(of: Any) -> Any:
            looks.append(original(of))
            if len(looks) == 2:
                store.close("wf", CloseRequest(result="success"))
            return looks[-1]

        monkeypatch.setattr(task, "poke", poke)
        assert task.execute(context()) == str(batch_id)
        assert len(looks) == 3

    @pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
    def test_timeout(self, soft_fail: bool, error: type[Exception]) -> None:
        with pytest.raises(error):
            sensor(deferrable=False, timeout=0.1, soft_fail=soft_fail).execute(context())

    def test_leaves_no_connection_behind(self, redis_client: Redis) -> None:
        before = len(redis_client.client_list())
        for _ in range(3):
            sensor(deferrable=False).poke(context())
        assert len(redis_client.client_list()) == before


class TestWhenTheDagIsParsed:
    def test_on_failed(self) -> None:
        with pytest.raises(ValueError, match="on_failed is 'cry'; expected wait or fail"):
            sensor(on_failed="cry")

    @pytest.mark.parametrize(
        "scope",
        [
            "tomorrow",
            "within",
            "",
            7,
            None,
            {},
            {"within": "soon"},
            {"within": 0},
            {"within": "0s"},
            {"within": -3},
            {"within": None},
            {"since": "12h"},
            {"within": "12h", "also": 1},
            {"within": timedelta(0)},
        ],
        ids=repr,
    )
    def test_scope(self, scope: Any) -> None:
        with pytest.raises(ValueError, match=r"expected (today, since_last_run, any or|a duration such as 90s)"):
            sensor(scope=scope)

    def test_is_templated(self) -> None:
        task = sensor(workflow="{{ params.which }}", jobs=["{{ params.job }}"], redis_conn_id="{{ params.conn }}")
        task.render_template_fields({"params": {"which": "wf", "job": "a", "conn": "c"}})
        assert (task.workflow, task.jobs, task.redis_conn_id) == ("wf", ["a"], "c")

    def test_survives_the_serialization_of_dags(self) -> None:
        from airflow.sdk import DAG
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("mine", schedule=None) as dag:
            sensor(scope={"within": timedelta(hours=12)}, jobs=("a",))
        again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        task = again.get_task("wait")
        assert [link.name for link in task.operator_extra_link_dict.values()] == ["Workflow"]
