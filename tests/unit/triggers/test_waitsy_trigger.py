# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The trigger of a wait: made again in another triggerer, it ends the task by itself."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import Any

import pytest
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent
from fired_triggers import all_events, closed, fired, looked, opened, sent
from redis import Redis

from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import CloseRequest, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.state.store import Store
from batchy_provider.triggers import multiplexers as multiplexers_module
from batchy_provider.triggers.waitsy import WaitsyTrigger


@pytest.fixture(autouse=True)
def _connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


def waitsy(**kwargs: Any) -> WaitsyTrigger:
    soft_fail = kwargs.pop("soft_fail", False)
    wait = Wait(**{"workflow": "wf", "scope": "any", **kwargs})
    trigger: WaitsyTrigger = sent(WaitsyTrigger(wait=asdict(wait), soft_fail=soft_fail))
    return trigger


class TestSerialize:
    def test_waitsy(self) -> None:
        wait = asdict(
            Wait(workflow="wf", jobs=("a", "b"), day="2026-01-01", timezone="Europe/Paris", fail_on_failed=True)
        )
        trigger = WaitsyTrigger(wait=wait, redis_conn_id="other", soft_fail=True)
        again = sent(trigger)
        assert type(again) is WaitsyTrigger
        assert again.serialize()[0] == trigger.serialize()[0] == "batchy_provider.triggers.waitsy.WaitsyTrigger"
        one, other = (Wait(**{**t.wait, "jobs": tuple(t.wait["jobs"])}) for t in (trigger, again))
        assert one == other
        assert (again.redis_conn_id, again.soft_fail) == ("other", True)

    def test_waitsy_for_several_workflows(self) -> None:
        waits = [Wait(workflow=workflow, jobs=("a",), scope="any") for workflow in ("crm", "erp")]
        again = sent(WaitsyTrigger(wait=[asdict(wait) for wait in waits], began=1.5))
        assert [Wait(**fields) for fields in again.wait] == waits
        assert again.began == 1.5


class TestWaitsy:
    def test_done_already(self, store: Store) -> None:
        batch_id = closed(store)
        (event,) = fired(waitsy())
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms == {"return_value": batch_id}

    def test_done_later(self, store: Store) -> None:
        batch_id = opened(store)
        (event,) = fired(waitsy(), meanwhile=lambda: store.close("wf", CloseRequest(result="success")))
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms == {"return_value": batch_id}

    def test_with_scope_due_it_ends_when_the_interval_is_loaded(self, store: Store) -> None:
        schedule = Schedule(crons=("0 2 * * *",))
        config = WorkflowConfig(name="wf", jobs={"a": {}}, schedule=schedule)
        store.load(config, by="test")
        window = Window(from_date="2026-11-11T02:00", to_date="2026-11-12T02:00")
        batch_id = store.open("wf", OpenRequest(config=config, backfill=True, window=window)).batch_id
        (event,) = fired(
            waitsy(scope="due", due="2026-11-12T04:00"),
            meanwhile=lambda: store.close("wf", CloseRequest(result="success", batch_id=batch_id)),
        )
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms == {"return_value": batch_id}

    @pytest.mark.parametrize(("soft_fail", "kind"), [(False, TaskFailedEvent), (True, TaskSkippedEvent)])
    def test_failed(self, store: Store, soft_fail: bool, kind: type) -> None:
        opened(store)
        trigger = waitsy(fail_on_failed=True, soft_fail=soft_fail)
        (event,) = fired(trigger, meanwhile=lambda: store.close("wf", CloseRequest(result="failed")))
        assert type(event) is kind

    @pytest.mark.parametrize(("soft_fail", "kind"), [(False, TaskFailedEvent), (True, TaskSkippedEvent)])
    def test_state_that_cannot_be_read(
        self, redis_client: Redis, soft_fail: bool, kind: type, capsys: pytest.CaptureFixture[str]
    ) -> None:
        redis_client.set("wf", "mine")
        (event,) = fired(waitsy(soft_fail=soft_fail))
        assert type(event) is kind
        assert "Another program uses this key" in capsys.readouterr().out

    def test_a_wait_of_another_version_that_cannot_be(self, capsys: pytest.CaptureFixture[str]) -> None:
        (event,) = asyncio.run(all_events(WaitsyTrigger(wait={"workflow": "wf", "scope": "someday"})))
        assert type(event) is TaskFailedEvent
        assert "no scope 'someday'" in capsys.readouterr().out

    def test_says_what_it_waits_for_once_a_change(self, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        batch_id = opened(store)

        def meanwhile() -> None:
            for _ in range(5):
                store.backend.client.publish("batchy:events", json.dumps({"workflow": "wf"}))
            store.close("wf", CloseRequest(result="success"))

        fired(waitsy(), meanwhile=meanwhile)
        said = [line for line in capsys.readouterr().out.splitlines() if " wf: " in line]
        assert len(said) == 2
        assert f"wf: batch {batch_id} is open since " in said[0]
        assert f"wf: batch {batch_id} succeeded at " in said[1]

    def test_uses_the_recheck_of_the_configuration(self, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "0.2")

        def silently() -> None:
            redis_client.hset("wf", "a", json.dumps({"status": "success", "batch_id": 4}))

        (event,) = fired(waitsy(), meanwhile=silently)
        assert isinstance(event, TaskSuccessEvent)

    def test_cancelled_by_a_person(self, store: Store) -> None:
        opened(store)

        async def test() -> None:
            task = asyncio.create_task(all_events(waitsy()))
            await asyncio.wait_for(looked(), timeout=10)
            (multiplexer,) = multiplexers_module._multiplexers[asyncio.get_running_loop()].values()
            assert multiplexer._questions
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not multiplexer._questions

        asyncio.run(test())


def for_both(**kwargs: Any) -> WaitsyTrigger:
    waits = [Wait(workflow=workflow, scope="any", **kwargs) for workflow in ("crm", "erp")]
    trigger: WaitsyTrigger = sent(WaitsyTrigger(wait=[asdict(wait) for wait in waits]))
    return trigger


class TestSeveralWorkflows:
    def test_the_last_one_ends_it(self, store: Store) -> None:
        crm, erp = closed(store, workflow="crm"), opened(store, "erp")
        (event,) = fired(for_both(), meanwhile=lambda: store.close("erp", CloseRequest(result="success")))
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms == {"return_value": {"crm": crm, "erp": erp}}

    def test_any_that_fails_ends_it(self, store: Store) -> None:
        opened(store, "crm")
        opened(store, "erp")
        trigger = for_both(fail_on_failed=True)
        (event,) = fired(trigger, meanwhile=lambda: store.close("erp", CloseRequest(result="failed")))
        assert type(event) is TaskFailedEvent

    def test_state_that_cannot_be_read_in_one_ends_it(self, redis_client: Redis) -> None:
        redis_client.set("erp", "mine")
        (event,) = fired(for_both())
        assert type(event) is TaskFailedEvent


class TestWhatTheLogSays:
    def test_for_how_long_and_which_batch_ended_it(self, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        batch_id = closed(store)
        trigger = waitsy()
        trigger.began = time.time() - 3 * 3600 - 60
        fired(trigger)
        (said,) = (line for line in capsys.readouterr().out.splitlines() if " wf: " in line)
        assert f"wf: batch {batch_id} succeeded at " in said
        assert "; waited 3h1m" in said

    def test_what_keeps_it_from_ending_is_a_warning(self, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        batch_id = closed(store)
        store.disable("wf", "a", by="test")

        def switch_on() -> None:
            store.enable("wf", "a", by="test")
            store.backend.client.publish("batchy:events", json.dumps({"workflow": "wf"}))

        fired(waitsy(), meanwhile=switch_on)
        warned, ended = (line for line in capsys.readouterr().out.splitlines() if " wf: " in line)
        assert "warning" in warned
        assert "every job waited for is switched off" in warned
        assert f"batch {batch_id} succeeded at " in ended
