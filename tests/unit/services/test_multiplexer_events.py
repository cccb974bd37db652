# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Events wake the waits that they name, and no event is lost."""

import asyncio
import json
import time
from typing import Any

import pytest
from multiplexed_waits import (
    close_batch,
    commands,
    first,
    multiplexer_at,
    open_batch,
    run,
    succeed,
    waiting,
)
from redis import Redis

from batchy_provider.services import question_rounds
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state.connections import Address, parse_url
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.store import Store


class TestEvents:
    def test_an_event_wakes_the_wait_at_once(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                batch_id = succeed(redis_client, "wf")
                verdict = await asyncio.wait_for(task, timeout=5)
                assert (verdict.state, verdict.batch_id) == ("done", batch_id)

        run(test())

    def test_only_waits_of_that_workflow_are_looked_at(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), *(f"wf{i}" for i in range(50))) as tasks:
                before = commands(redis_client, "hgetall")
                for _ in range(20):
                    redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "not-waited-for"}))
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "wf3"}))
                succeed(redis_client, "wf7")
                await asyncio.wait_for(tasks[7], timeout=5)
                # One a look, and some for opening and closing; all 50 would be 50.
                assert commands(redis_client, "hgetall") - before < 12

        run(test())

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b'"wf"',
            b"7",
            b"{}",
            b'{"workflow": null}',
            b'{"workflow": ["wf"]}',
            b'{"workflow": {"a": 1}}',
            b"[" * 100_000,
        ],
        ids=lambda message: repr(message[:20]),
    )
    def test_a_message_that_is_none_of_ours_harms_nobody(
        self, redis_url: str, redis_client: Redis, message: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                redis_client.publish(EVENTS_CHANNEL, message)
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=5)).state == "done"

        run(test())
        assert [record.name for record in caplog.records if "was dropped" not in record.message] == []

    @pytest.mark.slow
    def test_a_burst_of_5000_foreign_events_delays_nobody_for_long(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), *(f"wf{i}" for i in range(100))) as tasks:
                before = commands(redis_client, "hgetall")
                pipe = redis_client.pipeline(transaction=False)
                for i in range(5_000):
                    pipe.publish(EVENTS_CHANNEL, json.dumps({"workflow": f"foreign{i}", "event": "success"}))
                pipe.execute()
                longest = 0.0
                succeed(redis_client, "wf42")
                while not tasks[42].done():
                    since = time.monotonic()
                    await asyncio.sleep(0)
                    longest = max(longest, time.monotonic() - since)
                assert tasks[42].result().state == "done"
                assert commands(redis_client, "hgetall") - before < 12
                print(f"\nlongest pause of the event loop in a burst: {longest * 1000:.1f} ms")

        run(test())

    def test_a_burst_about_one_workflow_is_few_looks(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                before = commands(redis_client, "time")
                pipe = redis_client.pipeline(transaction=False)
                for _ in range(5_000):
                    pipe.publish(EVENTS_CHANNEL, json.dumps({"workflow": "wf", "event": "open"}))
                pipe.execute()
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=10)).state == "done"
                assert commands(redis_client, "time") - before < 5_000

        run(test())

    def test_between_the_look_and_the_sleep(self, redis_url: str, redis_client: Redis) -> None:
        """The batch succeeds after Redis has answered and before the multiplexer has heard the answer."""

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            original, done = question_rounds._ask_round, []

            async def late(client: Any, asking: Any) -> Any:
                left = await original(client, asking)
                if not done and not left:
                    done.append(succeed(redis_client, "wf"))
                return left

            question_rounds._ask_round = late
            try:
                verdict = await asyncio.wait_for(first(multiplexer, "wf"), timeout=5)
                assert verdict.batch_id == done[0]
            finally:
                question_rounds._ask_round = original

        run(test())

    def test_before_the_subscription_stands(self, redis_url: str, redis_client: Redis) -> None:
        """What is published while the connection is being made is gone: the state is read after it."""

        async def test() -> None:
            connecting = asyncio.Event()

            async def slowly() -> Address:
                connecting.set()
                await asyncio.sleep(0.2)
                return parse_url(redis_url)

            multiplexer = WaitMultiplexer(slowly)
            early = asyncio.create_task(first(multiplexer, "wf1"))
            await connecting.wait()
            late = asyncio.create_task(first(multiplexer, "wf2"))
            await asyncio.sleep(0)
            succeed(redis_client, "wf1")
            succeed(redis_client, "wf2")
            for task in (early, late):
                assert (await asyncio.wait_for(task, timeout=5)).state == "done"

        run(test())

    @pytest.mark.slow
    def test_closes_at_random_moments_are_all_seen(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            store = Store(redis_client)

            async def one(i: int) -> None:
                await asyncio.sleep((i * 37 % 100) / 200)
                assert (await first(multiplexer, f"wf{i}")).state == "done"

            async def closer(i: int) -> None:
                await asyncio.sleep((i * 61 % 100) / 200)
                await asyncio.to_thread(succeed, store.backend.client, f"wf{i}")

            await asyncio.wait_for(
                asyncio.gather(*(one(i) for i in range(200)), *(closer(i) for i in range(200))), timeout=20
            )

        run(test())

    @pytest.mark.slow
    def test_1000_waits_are_all_woken(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            names = [f"wf{i}" for i in range(1_000)]
            for name in names:
                open_batch(redis_client, name)
            since = time.monotonic()
            async with waiting(multiplexer_at(redis_url), *names) as tasks:
                ready = time.monotonic() - since
                await asyncio.to_thread(lambda: [close_batch(redis_client, name) for name in names[:-1]])
                since = time.monotonic()
                close_batch(redis_client, names[-1])
                verdicts = await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)
                woken = time.monotonic() - since
                assert {v.state for v in verdicts} == {"done"}
            print(
                f"\n1,000 waits: ready after {ready:.2f} s; done {woken * 1000:.0f} ms after the last of 1,000 closes"
            )

            async with waiting(multiplexer_at(redis_url), *(["one"] * 1_000)) as tasks:
                open_batch(redis_client, "one")
                await asyncio.sleep(0.5)
                since = time.monotonic()
                close_batch(redis_client, "one")
                await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)
                print(
                    f"1,000 waits for one workflow: all done {(time.monotonic() - since) * 1000:.0f} ms after its close"
                )

        run(test())
