# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor: deferred, poking or rescheduled, it gives the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
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

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.local.ports import free_port
from batchy_provider.sensors.waitsy import WaitsySensor
from batchy_provider.state.store import Store
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
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


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
    now = datetime.now(timezone.utc)
    ti = SimpleNamespace(start_date=now, get_first_reschedule_date=lambda context: now)
    return {"dag_run": SimpleNamespace(**{**defaults, **run}), "ti": ti, "prev_start_date_success": last}


def opened(store: Store, workflow: str = "wf", **kwargs: Any) -> int:
    config = WorkflowConfig(name=workflow, jobs={"a": {}, "b": {}})
    return store.open(workflow, OpenRequest(**{"config": config, "holder": Holder(by="test"), **kwargs})).batch_id


def closed(store: Store, result: Result = "success", workflow: str = "wf", **kwargs: Any) -> int:
    batch_id = opened(store, workflow, **kwargs)
    store.close(workflow, CloseRequest(result=result, batch_id=batch_id))
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
        closed(store)
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


class TestWhatTheLogSays:
    @pytest.fixture
    def told(self, capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, str]]:
        """A function that returns what the sensor has said → as what."""
        line = re.compile(r"\[(\w+) *\] (.*) \[airflow.task.operators.batchy_provider")

        def read() -> dict[str, str]:
            found = [line.search(text) for text in capsys.readouterr().out.splitlines()]
            said = [(match[2], match[1]) for match in found if match and "Task Runner" not in match[2]]
            assert len(dict(said)) == len(said), "it repeats itself"
            return dict(said)

        return read

    def test_what_is_waited_for_and_how_it_stands(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        batch_id = opened(store)
        now = datetime.now(timezone.utc)
        assert waits(sensor(**mode, jobs=["a"]), context(run_after=now))
        waiting, state = told()
        assert waiting == f"wf: waiting until job a has succeeded on {now.date()} or later (UTC)"
        assert f"batch {batch_id} is open since" in state

    def test_for_how_long_and_which_batch_ended_it(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        batch_id = closed(store)
        of = context()
        of["ti"].start_date -= timedelta(hours=2, minutes=3, seconds=0.1)
        of["ti"].get_first_reschedule_date = lambda context: of["ti"].start_date
        sensor(**mode).execute(of)
        ending = next(text for text in told() if "; waited " in text)
        assert ending.startswith(f"wf: batch {batch_id} succeeded at ")
        assert "; waited 2h3m" in ending

    def test_a_poke_that_finds_nothing_new_says_nothing_new(
        self, store: Store, told: Callable[[], dict[str, str]]
    ) -> None:
        opened(store)
        with pytest.raises(AirflowSensorTimeout):
            sensor(deferrable=False, timeout=0.3).execute(context())
        assert len([text for text in told() if "is open since" in text]) == 1

    def warnings(self, told: dict[str, str]) -> list[str]:
        return [text for text, level in told.items() if level == "warning"]

    def test_a_workflow_of_no_config(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
        (tmp_path / "crm_extract.yaml").write_text("")
        assert waits(sensor(**mode, workflow="crm_extrakt"), context())
        assert self.warnings(told()) == [
            "crm_extrakt: not in Redis yet: no batch was ever opened, nor its config loaded "
            "(or `batchy restore crm_extrakt`)",
            f"crm_extrakt: no file in {tmp_path} defines it; did you mean 'crm_extract'?",
        ]

    def test_a_workflow_whose_first_batch_is_to_come(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
        (tmp_path / "crm.yaml").write_text("")
        assert waits(sensor(**mode, workflow="crm"), context())
        assert f"crm: {tmp_path / 'crm.yaml'} defines it, and no batch of it was opened yet" in told()

    def test_a_machine_without_the_files(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", "/nowhere")
        assert waits(sensor(**mode), context())
        assert "wf: whether a file defines it cannot be seen here: there is no folder /nowhere" in self.warnings(told())

    def test_all_jobs_are_disabled(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        closed(store)
        store.disable("wf", "a", by="test")
        store.disable("wf", "b", by="test")
        assert waits(sensor(**mode), context())
        assert self.warnings(told()) == ["wf: every job waited for is switched off; enable one"]

    def test_a_job_that_is_not_there(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        closed(store)
        assert waits(sensor(**mode, jobs=["c"]), context())
        assert self.warnings(told()) == ["wf: has no job c; its jobs are a, b"]


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
