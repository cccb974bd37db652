# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor as an operator: how it defers and pokes, and which arguments it refuses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
)
from redis import Redis
from sensor_runs import context, deferred, opened, sensor

from batchy_provider.core.values import CloseRequest
from batchy_provider.core.waits import Wait
from batchy_provider.sensors.waitsy import WaitsySensor
from batchy_provider.state.store import Store


class TestDeferring:
    def test_hands_over_all_waits_and_when_they_began(self, store: Store) -> None:
        of = context()
        trigger, _ = deferred(sensor(workflow=("crm", "erp")), of)
        assert [Wait(**wait).workflow for wait in trigger.wait] == ["crm", "erp"]
        assert trigger.began == of["ti"].start_date.timestamp()

    def test_hands_over_the_whole_wait(self, store: Store) -> None:
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

    def test_the_day_of_the_run_stays_although_it_is_looked_at_tomorrow(self, store: Store) -> None:
        trigger, _ = deferred(sensor(), context(run_after=datetime(2026, 7, 1, 23, 59, tzinfo=timezone.utc)))
        assert trigger.wait["day"] == "2026-07-01"

    def test_soft_fail_goes_along(self, store: Store) -> None:
        trigger, _ = deferred(sensor(soft_fail=True), context())
        assert trigger.soft_fail

    @pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
    def test_a_timeout_is_that_of_a_sensor(self, soft_fail: bool, error: type[Exception]) -> None:
        with pytest.raises(error):
            sensor(soft_fail=soft_fail).resume_execution("__fail__", {"error": "Trigger timeout"}, context())


class TestPoking:
    def test_until_it_is_done(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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
        task = sensor(workflow=["{{ params.which }}", "erp"])
        task.render_template_fields({"params": {"which": "wf"}})
        assert task.workflow == ["wf", "erp"]

    def test_same_day_goes_with_today(self) -> None:
        with pytest.raises(ValueError, match="same_day goes with scope today, not 'any'"):
            sensor(same_day=True, scope="any")

    def test_survives_the_serialization_of_dags(self) -> None:
        from airflow.sdk import DAG
        from airflow_versions import deserialized, serialized

        with DAG("mine", schedule=None) as dag:
            sensor(scope={"within": timedelta(hours=12)}, jobs=("a",))
        again = deserialized(json.loads(json.dumps(serialized(dag))))
        task = again.get_task("wait")
        assert [link.name for link in task.operator_extra_link_dict.values()] == ["Batch"]


def test_a_wait_whose_worker_was_killed_is_begun_again_unless_told_otherwise() -> None:
    from airflow.sdk import DAG

    assert WaitsySensor(task_id="wait", workflow="wf").retries == 6
    with DAG("waiting", default_args={"retries": 1}):
        assert WaitsySensor(task_id="wait", workflow="wf").retries == 1
    assert WaitsySensor(task_id="wait", workflow="wf", retries=0).retries == 0
