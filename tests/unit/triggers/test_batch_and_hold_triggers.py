# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Triggers of runs that wait for an open batch or a hold: each wakes the task, which looks for itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from fired_triggers import closed, fired, looked, opened, sent
from redis import Redis

from batchy_provider.core.values import Actor, CloseRequest
from batchy_provider.state.store import Store
from batchy_provider.triggers.batch import BatchFreeTrigger
from batchy_provider.triggers.hold import HoldOverTrigger

ANNA = Actor("anna", "cli")


@pytest.fixture(autouse=True)
def _connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


class TestSerialize:
    def test_hold_over(self) -> None:
        again = sent(HoldOverTrigger(workflow="wf", redis_conn_id="other"))
        assert (type(again), again.workflow, again.redis_conn_id) == (HoldOverTrigger, "wf", "other")

    def test_batch_free(self) -> None:
        again = sent(BatchFreeTrigger(workflow="wf", batch_id=7, redis_conn_id="other", look_again_seconds=9.5))
        assert type(again) is BatchFreeTrigger
        assert (again.workflow, again.batch_id, again.redis_conn_id, again.look_again_seconds) == (
            "wf",
            7,
            "other",
            9.5,
        )


class TestBatchFree:
    def test_closed(self, store: Store) -> None:
        batch_id = opened(store)
        trigger = sent(BatchFreeTrigger(workflow="wf", batch_id=batch_id))
        (event,) = fired(trigger, meanwhile=lambda: store.close("wf", CloseRequest(result="failed")))
        assert event.payload == {"text": f"wf: batch {batch_id} is not open any more"}

    def test_taken_over(self, store: Store) -> None:
        batch_id = opened(store)
        trigger = BatchFreeTrigger(workflow="wf", batch_id=batch_id)
        (event,) = fired(trigger, meanwhile=lambda: opened(store))
        assert "is not open any more" in event.payload["text"]

    def test_time_to_look_whether_the_holder_still_runs(self, store: Store) -> None:
        batch_id = opened(store)
        (event,) = fired(BatchFreeTrigger(workflow="wf", batch_id=batch_id, look_again_seconds=0.3))
        assert event.payload == {"text": f"wf: batch {batch_id} is still open; asking whether its holder still runs"}

    def test_state_that_cannot_be_read_is_left_to_the_task(self, redis_client: Redis) -> None:
        redis_client.set("wf", "mine")
        (event,) = fired(BatchFreeTrigger(workflow="wf", batch_id=3))
        assert "Another program uses this key" in event.payload["text"]


class TestHoldOver:
    def test_a_release_wakes_it(self, store: Store) -> None:
        closed(store)
        store.hold("wf", by=ANNA, why="migration", until="2999-01-01")
        trigger = sent(HoldOverTrigger(workflow="wf"))
        (event,) = fired(trigger, meanwhile=lambda: store.release("wf", by=ANNA))
        assert event.payload == {"text": "wf is not on hold any more"}

    def test_it_wakes_when_the_hold_ends_by_itself(self, store: Store) -> None:
        closed(store)
        store.hold("wf", by=ANNA, why="migration", until=store.backend.server_time("wf") + timedelta(seconds=1))
        (event,) = fired(HoldOverTrigger(workflow="wf"))
        assert event.payload == {"text": "wf is not on hold any more"}
        assert store.status("wf").hold is None

    def test_a_later_hold_that_ends_sooner_counts(self, store: Store) -> None:
        closed(store)
        store.hold("wf", by=ANNA, why="migration", until="2999-01-01")

        def sooner() -> None:
            store.hold("wf", by=ANNA, why="done soon", until=store.backend.server_time("wf") + timedelta(seconds=1))

        (event,) = fired(HoldOverTrigger(workflow="wf"), meanwhile=sooner)
        assert event.payload == {"text": "wf is not on hold any more"}

    def test_a_hold_that_is_made_longer_goes_on(self, store: Store) -> None:
        closed(store)
        store.hold("wf", by=ANNA, why="migration", until=store.backend.server_time("wf") + timedelta(seconds=1))

        async def test() -> None:
            task = asyncio.create_task(anext(HoldOverTrigger(workflow="wf").run()))
            await asyncio.wait_for(looked(), timeout=10)
            store.hold("wf", by=ANNA, why="migration takes longer", until="2999-01-01")
            ends = store.backend.server_time("wf") + timedelta(seconds=1.5)
            while store.backend.server_time("wf") < ends:
                await asyncio.sleep(0.1)
            assert not task.done()
            store.release("wf", by=ANNA)
            event = await asyncio.wait_for(task, timeout=10)
            assert event.payload == {"text": "wf is not on hold any more"}

        asyncio.run(test())

    def test_state_that_cannot_be_read_is_left_to_the_task(self, redis_client: Redis) -> None:
        redis_client.set("wf:meta", "mine")
        (event,) = fired(HoldOverTrigger(workflow="wf"))
        assert "Another program uses this key" in event.payload["text"]
