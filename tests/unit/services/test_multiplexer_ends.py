# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How a watch ends: cancelled, or with an error that ends no other watch."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from multiplexed_waits import (
    first,
    multiplexer_at,
    run,
    succeed,
    waiting,
)
from redis import Redis

from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import BatchyError, StateError
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.wait_queries import check


class TestEnds:
    def test_a_cancelled_wait_leaves_nothing_behind(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, "wf", "wf", "other") as tasks:
                tasks[0].cancel()
                await asyncio.gather(tasks[0], return_exceptions=True)
                assert {
                    name: [len(each.watches) for each in of.values()] for name, of in multiplexer._questions.items()
                } == {"wf": [1], "other": [1]}
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(tasks[1], timeout=5)).state == "done"
            assert not multiplexer._questions
            assert not multiplexer._marked

        run(test())

    def test_cancelled_before_it_was_looked_at(self, redis_url: str) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            tasks = [asyncio.create_task(first(multiplexer, "wf")) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not multiplexer._questions
            assert not multiplexer._marked

        run(test())

    def test_a_key_of_the_wrong_type_ends_its_wait_with_words(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            redis_client.set("wf", "mine")
            with pytest.raises(StateError, match="'wf' does not hold what batchy keeps there"):
                await first(multiplexer, "wf")
            async with waiting(multiplexer, "later", "good") as (later, good):
                redis_client.rpush("later", "mine")
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "later"}))
                with pytest.raises(StateError, match="'later'"):
                    await asyncio.wait_for(later, timeout=5)
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    @pytest.mark.parametrize("stored", ["nonsense", "[]", '{"status": "success", "batch_id": 1, "batch_end": "soon"}'])
    def test_what_cannot_be_read_ends_its_wait_alone(self, redis_url: str, redis_client: Redis, stored: str) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            redis_client.hset("bad", "a", stored)
            wait = Wait(workflow="bad", day="2026-01-01")
            async with waiting(multiplexer, "good") as (good,):
                with pytest.raises(StateError, match="bad"):
                    async for _ in multiplexer.watch("bad", lambda keys: check(keys, wait)):
                        pass
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    def test_a_bug_in_one_wait_ends_that_one_alone(self, redis_url: str, redis_client: Redis) -> None:
        def broken(keys: Any, *, late: bool) -> Any:
            if late:
                yield [("TIME",)]
            raise ZeroDivisionError

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, "good") as (good,):
                for late in (False, True):
                    with pytest.raises(ZeroDivisionError):
                        async for _ in multiplexer.watch("bad", partial(broken, late=late)):
                            pass
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    def test_a_login_that_may_not_read_one_workflow(self, redis_url: str, redis_client: Redis) -> None:
        redis_client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~good*", "&*", "+@all")
        url = redis_url.replace("redis://", "redis://reader:pw@")

        async def test() -> None:
            multiplexer = multiplexer_at(url)
            async with waiting(multiplexer, "good") as (good,):
                with pytest.raises(BatchyError, match="ACL"):
                    await asyncio.wait_for(first(multiplexer, "secret"), timeout=5)
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        try:
            run(test())
        finally:
            redis_client.execute_command("ACL", "DELUSER", "reader")
