# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Batches closed outside of Airflow become events: each at least once, also after a restart, and normally only once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from delivered_batches import CONFIG, PERSON, cursor, load, original_load, until, watching
from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window
from batchy_provider.core.vocabulary import Result
from batchy_provider.exceptions import InvalidNameError
from batchy_provider.state import deliveries
from batchy_provider.state.store import Store
from batchy_provider.triggers import closed as closed_module
from batchy_provider.triggers.closed import BatchClosedTrigger


@pytest.fixture(autouse=True)
def _settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "0.2")
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 0.1)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


def test_a_batch_of_a_person_is_delivered_with_its_window(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        load(store)  # closed before anybody watched: no news
        async with watching(redis_client) as delivered:
            batch_id = load(store)
            await until(lambda: delivered.events)
            (payload,) = delivered.events
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
        async with watching(redis_client) as delivered:
            batch_id = original_load(redis_client, 2_000_000_000)
            await until(lambda: delivered.ids == [batch_id])
            await until(lambda: cursor(redis_client)["told"] == batch_id)
            # This package opens next, and notes what the original did: that is no news any more.
            store.open("wf", OpenRequest(holder=PERSON))
            store.close("wf", CloseRequest(result="success"))
            await until(lambda: len(delivered.ids) == 2)
            assert delivered.ids[0] == batch_id

    asyncio.run(test())


def test_runs_of_airflow_are_delivered_only_if_asked_for(store: Store, redis_client: Redis) -> None:
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
        async with watching(redis_client, result=result) as delivered:
            results: list[Result] = ["failed", "success", "failed"]
            ids = [load(store, each) for each in results]
            await until(lambda: cursor(redis_client, f"airflow:{result}:outside")["told"] == ids[-1])
            assert delivered.ids == [ids[number] for number in expected]

    asyncio.run(test())


def test_what_was_closed_while_nobody_watched_is_delivered_afterwards(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client) as delivered:
            first = load(store)
            await until(lambda: cursor(redis_client)["told"] == first)
        missed = [load(store) for _ in range(3)]
        async with watching(redis_client) as delivered:
            await until(lambda: len(delivered.ids) == 3)
            assert delivered.ids == missed

    asyncio.run(test())


def test_a_restart_just_after_it_was_delivered_loses_none(
    store: Store, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow may not have stored the event, so it is delivered again when the dead subscriber's lease ends."""
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 100)
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 1)

    async def test() -> None:
        async with watching(redis_client) as delivered:
            batch_id = load(store)
            await until(lambda: delivered.ids == [batch_id])
        async with watching(redis_client) as delivered:
            await until(lambda: delivered.ids == [batch_id])

    asyncio.run(test())


def test_one_that_is_stopped_once_airflow_has_stored_the_event_tells_it_no_more(
    store: Store, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_module, "CONFIRM_SECONDS", 100)
    monkeypatch.setattr(closed_module, "STORED_SECONDS", 0.1)
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 1)

    async def test() -> None:
        async with watching(redis_client) as delivered:
            batch_id = load(store)
            await until(lambda: batch_id in delivered.ids)
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


def test_watches_with_names_of_their_own_are_each_delivered(store: Store, redis_client: Redis) -> None:
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
        async with watching(redis_client) as delivered:
            redis_client.rename("wf:told", "kept")
            redis_client.set("wf:told", "mine")
            load(store)
            await asyncio.sleep(0.5)
            assert not delivered.events
            redis_client.rename("kept", "wf:told")
            await until(lambda: delivered.events)

    asyncio.run(test())


def test_a_batch_that_is_confirmed_before_an_earlier_one_is_not_delivered_again(
    store: Store, redis_client: Redis
) -> None:
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
        async with watching(redis_client, result="closed", outside_only=False) as delivered:
            history = store.open("wf", OpenRequest(holder=PERSON, config=CONFIG, window=window, backfill=True))
            batch_id = load(store)
            await until(lambda: delivered.events)
            store.close("wf", CloseRequest(result="success", batch_id=history.batch_id))
            after = load(store)
            await until(lambda: len(delivered.events) == 2)
            assert delivered.ids == [batch_id, after]

    asyncio.run(test())


def test_a_workflow_that_does_not_exist_yet(store: Store, redis_client: Redis) -> None:
    async def test() -> None:
        async with watching(redis_client) as delivered:
            await asyncio.sleep(0.3)
            batch_id = load(store)
            await until(lambda: delivered.ids == [batch_id])
            assert store.workflows() == ["wf"]

    asyncio.run(test())


@pytest.mark.parametrize(
    ("wrong", "message"), [({"workflow": "a b"}, "workflow name 'a b'"), ({"result": "open"}, "result is 'open'")]
)
def test_mistakes_are_reported_when_the_dag_is_parsed(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, InvalidNameError), match=message):
        BatchClosedTrigger(**{"workflow": "wf", **wrong})


def test_it_can_watch_for_an_asset() -> None:
    from airflow.sdk import Asset, AssetWatcher

    asset = Asset("batchy://sales", watchers=[AssetWatcher(name="sales", trigger=BatchClosedTrigger(workflow="sales"))])
    assert asset.watchers[0].name == "sales"
