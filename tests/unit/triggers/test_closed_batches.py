# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Batches closed outside Airflow become events: each is told, also after a restart, and once in normal running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.exceptions import InvalidNameError
from batchy_provider.state import deliveries
from batchy_provider.state.store import Store
from batchy_provider.triggers import closed as closed_module
from batchy_provider.triggers.closed import BatchClosedTrigger

PERSON = Holder(by="ann, on the command line")
CONFIG = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}})


@pytest.fixture(autouse=True)
def _settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "0.2")
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 0.1)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


def load(store: Store, result: Result = "success", *, holder: Holder = PERSON) -> int:
    batch_id = store.open("wf", OpenRequest(config=CONFIG, holder=holder)).batch_id
    store.close("wf", CloseRequest(result=result, batch_id=batch_id))
    return batch_id


def original_load(client: Redis, batch_id: int, status: str = "success") -> int:
    """Write what the original server does, which publishes nothing and knows no index."""
    fields = {
        "batch_id": batch_id,
        "status": status,
        "batch_start": "2036-01-01T02:00:00",
        "to_date": "2036-01-01T02:00",
    }
    for job in ("a", "b"):
        client.hset("wf", job, json.dumps({**fields, "batch_end": "2036-01-01T03:00:00"}))
    return batch_id


class Told:
    """The events of a trigger that runs."""

    def __init__(self, **kwargs: Any) -> None:
        trigger = BatchClosedTrigger(**{"workflow": "wf", **kwargs})
        path, kwargs = trigger.serialize()
        assert path == "batchy_provider.triggers.closed.BatchClosedTrigger"
        self.events: list[Any] = []
        self._task = asyncio.create_task(self._run(BatchClosedTrigger(**kwargs)))

    async def _run(self, trigger: BatchClosedTrigger) -> None:
        async for event in trigger.run():
            self.events.append(event.payload)

    @property
    def ids(self) -> list[int]:
        return [payload["batch_id"] for payload in self.events]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def watching(client: Redis, **kwargs: Any) -> AsyncIterator[Told]:
    """A trigger that has had its first look."""
    told = Told(**kwargs)
    try:
        await until(lambda: client.hlen("wf:told") > 0)
        yield told
    finally:
        await told.stop()


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


def cursor(client: Redis, field: str = "airflow:success:outside") -> Any:
    return json.loads(client.hget("wf:told", field) or "{}")


def test_a_batch_of_a_person_is_told_with_its_window(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        load(store)  # closed before anybody watched: no news
        async with watching(redis_client) as told:
            batch_id = load(store)
            await until(lambda: told.events)
            (payload,) = told.events
            batch = store.batch("wf", batch_id)
            assert payload == {
                "workflow": "wf",
                "batch_id": batch_id,
                "status": "success",
                "from_date": batch.from_date,
                "to_date": batch.to_date,
                "batch_end": batch.batch_end,
            }

    asyncio.run(test())


def test_what_the_original_server_closed_is_found_by_the_recheck(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        load(store)
        async with watching(redis_client) as told:
            batch_id = original_load(redis_client, 2_000_000_000)
            await until(lambda: told.ids == [batch_id])
            await until(lambda: cursor(redis_client)["told"] == batch_id)
            # This package opens next, and notes what the original did: that is no news any more.
            store.open("wf", OpenRequest(holder=PERSON))
            store.close("wf", CloseRequest(result="success"))
            await until(lambda: len(told.ids) == 2)
            assert told.ids[0] == batch_id

    asyncio.run(test())


def test_runs_of_airflow_are_told_only_if_asked_for(store: Store, redis_client: Redis) -> None:
    run = Holder(dag_id="wf", run_id="r1")

    async def test() -> None:
        async with watching(redis_client) as outside, watching(redis_client, outside_only=False) as everything:
            await until(lambda: redis_client.hlen("wf:told") == 2)
            by_run, by_person = load(store, holder=run), load(store)
            await until(lambda: outside.events and len(everything.events) == 2)
            assert outside.ids == [by_person]
            assert everything.ids == [by_run, by_person]

    asyncio.run(test())


@pytest.mark.parametrize(("result", "expected"), [("success", [1]), ("failed", [0, 2]), ("closed", [0, 1, 2])])
def test_which_result(store: Store, redis_client: Redis, result: Any, expected: list[int]) -> None:
    async def test() -> None:
        async with watching(redis_client, result=result) as told:
            results: list[Result] = ["failed", "success", "failed"]
            ids = [load(store, each) for each in results]
            await until(lambda: cursor(redis_client, f"airflow:{result}:outside")["told"] == ids[-1])
            assert told.ids == [ids[number] for number in expected]

    asyncio.run(test())


def test_what_was_closed_while_nobody_watched_is_told_afterwards(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client) as told:
            first = load(store)
            await until(lambda: cursor(redis_client)["told"] == first)
        missed = [load(store) for _ in range(3)]
        async with watching(redis_client) as told:
            await until(lambda: len(told.ids) == 3)
            assert told.ids == missed

    asyncio.run(test())


def test_a_restart_just_after_it_was_told_loses_none(
    store: Store, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow may not have stored it: so it is told once more, when the claim of the dead one has lapsed."""
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 100)
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 1)

    async def test() -> None:
        async with watching(redis_client) as told:
            batch_id = load(store)
            await until(lambda: told.ids == [batch_id])
        async with watching(redis_client) as told:
            await until(lambda: told.ids == [batch_id])

    asyncio.run(test())


def test_one_that_is_stopped_once_airflow_has_stored_the_event_tells_it_no_more(
    store: Store, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 100)
    monkeypatch.setattr(closed_module, "STORED_SECONDS", 0.1)
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 1)

    async def test() -> None:
        async with watching(redis_client) as told:
            batch_id = load(store)
            await until(lambda: told.ids == [batch_id])
            await asyncio.sleep(0.2)
        assert cursor(redis_client) == {"told": batch_id, "claims": {}}

    asyncio.run(test())


def test_two_watchers_tell_each_batch_once(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client) as one, watching(redis_client) as other:
            ids = [load(store) for _ in range(20)]
            await until(lambda: cursor(redis_client)["told"] == ids[-1])
            assert sorted(one.ids + other.ids) == ids

    asyncio.run(test())


def test_watches_with_names_of_their_own_are_each_told(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client, name="one") as one, watching(redis_client, name="other") as other:
            await until(lambda: redis_client.hlen("wf:told") == 2)
            batch_id = load(store)
            await until(lambda: one.events and other.events)
            assert one.ids == other.ids == [batch_id]

    asyncio.run(test())


def test_state_that_cannot_be_read_does_not_end_it(
    store: Store, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_module, "_FAULT_PAUSE_SECONDS", 0.1)

    async def test() -> None:
        async with watching(redis_client) as told:
            redis_client.rename("wf:told", "kept")
            redis_client.set("wf:told", "mine")
            load(store)
            await asyncio.sleep(0.5)
            assert not told.events
            redis_client.rename("kept", "wf:told")
            await until(lambda: told.events)

    asyncio.run(test())


def test_a_batch_that_is_confirmed_before_an_earlier_one_is_not_told_again(store: Store, redis_client: Redis) -> None:
    backend = Store(redis_client).backend
    subscription = deliveries.Subscription(workflow="wf")
    assert deliveries.lease(backend, subscription, "one") == []
    first = load(store)
    assert [batch.batch_id for batch in deliveries.lease(backend, subscription, "one")] == [first]
    second = load(store)
    assert [batch.batch_id for batch in deliveries.lease(backend, subscription, "other")] == [second]
    deliveries.acknowledge(backend, subscription, [second])
    assert deliveries.lease(backend, subscription, "third") == []
    deliveries.acknowledge(backend, subscription, [first])
    assert cursor(redis_client) == {"told": second, "claims": {}}


def test_backfills_are_no_news(store: Store, redis_client: Redis) -> None:
    window = Window(from_date="2026-01-04T02:00", to_date="2026-01-05T02:00")

    async def test() -> None:
        async with watching(redis_client, result="closed", outside_only=False) as told:
            history = store.open("wf", OpenRequest(holder=PERSON, config=CONFIG, window=window, backfill=True))
            batch_id = load(store)
            await until(lambda: told.events)
            store.close("wf", CloseRequest(result="success", batch_id=history.batch_id))
            after = load(store)
            await until(lambda: len(told.events) == 2)
            assert told.ids == [batch_id, after]

    asyncio.run(test())


def test_a_workflow_that_does_not_exist_yet(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client) as told:
            await asyncio.sleep(0.3)
            batch_id = load(store)
            await until(lambda: told.ids == [batch_id])
            assert store.workflows() == ["wf"]

    asyncio.run(test())


@pytest.mark.parametrize(
    ("wrong", "message"), [({"workflow": "a b"}, "workflow name 'a b'"), ({"result": "open"}, "result is 'open'")]
)
def test_mistakes_are_told_when_the_dag_is_parsed(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, InvalidNameError), match=message):
        BatchClosedTrigger(**{"workflow": "wf", **wrong})


def test_it_can_watch_for_an_asset() -> None:
    from airflow.sdk import Asset, AssetWatcher

    asset = Asset("batchy://sales", watchers=[AssetWatcher(name="sales", trigger=BatchClosedTrigger(workflow="sales"))])
    assert asset.watchers[0].name == "sales"
